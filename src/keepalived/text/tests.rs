//! What comes of whole files. Where keepalived 2.2.7 shows what it makes of a line (`Unknown keyword …`), the same is asked of ours.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::keepalived::finding::Severity;

/// Files in memory; a machine called `vm`.
#[derive(Default)]
struct Memory(BTreeMap<&'static str, &'static str>);

impl Outside for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = path.to_str().and_then(|path| self.0.get(path)).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes().to_vec())
    }

    fn matches(&self, pattern: &str) -> Vec<PathBuf> {
        let pattern = glob::Pattern::new(pattern).unwrap();
        self.0.keys().filter(|path| pattern.matches(path)).map(PathBuf::from).collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn random(&self, least: u32, _: u32) -> u32 {
        least
    }

    fn config_id(&self) -> &str {
        "vm"
    }
}

fn read_in(memory: &Memory, text: &str, limits: Limits) -> (Vec<String>, Vec<String>) {
    let (mut findings, mut lines) = (Findings::default(), Vec::new());
    let sources =
        read(Path::new("/etc/main.conf"), text.as_bytes(), memory, limits, &mut findings, &mut |pieces| {
            let shown = pieces.iter().map(|piece| match piece {
                Piece::Word(word) => word.text.clone(),
                Piece::Open(_) => "{".to_owned(),
                Piece::Close(_) => "}".to_owned(),
            });
            let place = match &pieces[0] {
                Piece::Word(word) => word.place,
                Piece::Open(place) | Piece::Close(place) => *place,
            };
            let file = if place.file == 0 { String::new() } else { format!("{}:", place.file) };
            lines.push(format!(
                "{file}{}:{} {}",
                place.line,
                place.column,
                shown.collect::<Vec<_>>().join(" ")
            ));
        });
    assert_eq!(sources.path(0), Path::new("/etc/main.conf"));
    let findings = findings.0.iter().filter(|finding| finding.severity != Severity::Note);
    (lines, findings.map(|finding| format!("{}: {}", finding.place.line, finding.message)).collect())
}

fn lines(text: &str) -> String {
    let (lines, findings) = read_in(&Memory::default(), text, Limits::default());
    [lines, findings].concat().join(" | ")
}

#[test]
fn variables_are_replaced_late_and_again_and_again() {
    assert_eq!(lines("$A=1 2\nx$A y\n ${A}x $Ax"), "2:1 x1 2 y | 3:2 1 2x $Ax");
    assert_eq!(lines("$I=$A\n$A=3\n$I"), "3:1 3");
    assert_eq!(lines("$B=10.2.${S}\n$S=0\n${B}.1\n$S=10\n${B}.1"), "3:1 10.2.0.1 | 5:1 10.2.10.1");
    assert_eq!(lines("$A=x\n$D $A\n$D=y # z\n$D"), "2:1 $D x | 4:1 y");
    assert_eq!(lines("$G=\n$G\n${G}k\n$H = 5"), "3:5 k | 4:1 $H = 5");
    assert_eq!(
        lines("$A=1\nx$A) x$A. x$A, $A$A ${A}${A} \"q${A}r\" \"q$A\""),
        "2:1 x1) x$A. x1, $A1 11 q1r q$A"
    );
    assert_eq!(lines("foo ${C}"), "1:1 foo $ { C }");
    assert_eq!(lines("$A=B\n$B=C\n${${A}} $1 ${"), "3:1 C $1 $ {");
}

#[test]
fn a_definition_may_have_many_lines() {
    let block = "$A= \\\n one two \\\n $N=zz \\ # c\n three $N {\\\n }\nfour\n$A";
    assert_eq!(lines(block), "6:1 four | 7:1 one two | 7:1 three zz { | 7:1 }");
    assert_eq!(lines("$A=x \\\n foo \\\n\n bar\n$A"), "4:2 bar | 5:1 x | 5:1 foo");
    assert_eq!(lines("$A= \\\n foo \\\n@vm bar \\\n@other no \\\n baz\n$A"), "6:1 foo | 6:1 bar | 6:1 baz");
    assert_eq!(
        lines("$A= \\\n ~SEQ(I,1,2) x${I} \\\n y\n~SEQ(J,1,2) $A"),
        ["4:13 x1 | 4:13 x2 | 4:13 y"; 2].join(" | ")
    );
    assert_eq!(lines("$A= \\\n foo \\"), "");
}

#[test]
fn conditions_are_for_one_machine_or_for_all_others() {
    let text =
        "@foo x1\n@^foo x2\n@vm x3\n@ x4\n@^ x5\nx6 @foo y\n@^foo\n$S=@foo\n$S x8\n@vm $Q=1\n$Q\n\"@foo\" x9";
    assert_eq!(lines(text), "2:7 x2 | 3:5 x3 | 5:4 x5 | 6:1 x6 @foo y | 11:1 1 | 12:1 @foo x9");
    assert_eq!(lines("@^foo ~SEQ(J,1,2) a${J}\n~SEQ(K,1,2) @foo b"), "1:19 a1 | 1:19 a2");
}

#[test]
fn generators_nest() {
    assert_eq!(
        lines("~SEQ(Q,1,2) ~LST(R,a,b) q${Q}.${R} # x"),
        "1:25 q1.a | 1:25 q1.b | 1:25 q2.a | 1:25 q2.b"
    );
    assert_eq!(lines("$J=2\n~SEQ(I,$J)n${I}\n${I}"), "2:11 n1 | 2:11 n2 | 3:1 2");
    assert_eq!(lines("~SEQ(I,5,1,1) x\ny"), "2:1 y | 1: this cannot be generated: 5 never reaches 1 by 1");
    assert_eq!(lines("~FOO(x) y"), "1:1 ~FOO(x) y");
    assert_eq!(lines("~SEQ(I,1,2) $X=a${I}\n$X"), "2:1 a2");
}

#[test]
fn what_keepalived_defines_itself() {
    assert_eq!(
        lines("${_PWD} ${_INSTANCE} \"${_HASH}x\" ${_BANG} ${_RANDOM 5 9} ${_RANDOM}"),
        "1:1 /etc vm #x ! 5 0"
    );
    assert_eq!(lines("${_ENV HOME} ${_ENV NONE}"), "1:1 /root $ { _ENV NONE }");
}

#[test]
fn includes_are_relative_to_their_own_file() {
    let memory = Memory(BTreeMap::from([
        ("/etc/inc/a.conf", "inca $V\ninclude sub/c.conf\nincb"),
        ("/etc/inc/sub/c.conf", "$V=9\nincc {"),
        ("/etc/loop.conf", "include loop.conf\nx"),
    ]));
    let read = |text: &str| {
        let (lines, findings) = read_in(&memory, text, Limits::default());
        [lines, findings].concat().join(" | ")
    };
    assert_eq!(
        read("$V=1\n include inc/a.conf # c\nend $V }"),
        "1:1:1 inca 1 | 2:2:1 incc { | 1:3:1 incb | 3:1 end 9 }"
    );
    assert_eq!(read("include inc/[ab].conf"), "1:1:1 inca $V | 2:2:1 incc { | 1:3:1 incb");
    assert_eq!(
        read("include none.conf\ninclude none*\nincluder none*\nincludeb {inc/a,b}*.c\n"),
        "4: no file matches `inc/a*.c` | 4: no file matches `b*.c`"
    );
    assert_eq!(read("includew none*\n"), "1: no file matches `none*`");
    assert!(read("includer none.conf\n").starts_with("1: /etc/none.conf cannot be included"));
    assert!(read("include loop.conf").contains("one includes itself"));
}

#[test]
fn what_expands_without_end_is_an_error_at_its_place() {
    assert!(lines("$A=${A}\nx\n$A").starts_with("2:1 x | 3: a variable in this line expands without end"));
    assert!(lines("$A=${A}${A}x\n$A\ny").starts_with("3:1 y | 2: a variable"));
    let limits = Limits { steps: 1_000, ..Limits::default() };
    let (_, findings) = read_in(&Memory::default(), "x\n~SEQ(I,1,99999999999999)\ny", limits);
    assert_eq!(findings, ["2: the config has become too large here; the rest of it is not read"]);
    let block = "$A= \\\n $A \\\n $A\n$A";
    let (_, findings) = read_in(&Memory::default(), block, limits);
    assert_eq!(findings.len(), 1);
}

proptest! {
    #[test]
    fn any_text_is_read_to_its_end(text in "([$~@{}\"\\\\ \n#=(),A-C1-3]|\\$\\{A\\}|~SEQ\\(A,|~LST\\(|include |\\$A=){0,60}") {
        let limits = Limits { steps: 2_000, bytes: 1 << 20, ..Limits::default() };
        read_in(&Memory::default(), &text, limits);
    }

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut findings = Findings::default();
        read(Path::new("x"), &bytes, &Memory::default(), Limits::default(), &mut findings, &mut |_| {});
    }
}

/// The pieces of a text, line by line.
pub(in crate::keepalived) fn pieces(text: &str) -> Vec<Vec<Piece>> {
    let mut lines = Vec::new();
    let memory = Memory::default();
    read(
        Path::new("x"),
        text.as_bytes(),
        &memory,
        Limits::default(),
        &mut Findings::default(),
        &mut |line| lines.push(line),
    );
    lines
}
