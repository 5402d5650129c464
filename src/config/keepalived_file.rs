//! A keepalived.conf as a config: translated to TOML, read as that, and what is wrong told at its place in keepalived.conf.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use super::report::{Place, Problems, Sources};
use super::{LoadError, Loaded, Report, toml_file, validate};
use crate::core::{desired, model::Config};
use crate::keepalived::{self, File, Lvs, Machine, Method, Note, Rule, Target, Verdict};

/// A keepalived.conf, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Imported {
    /// As ipvsd.toml, as far as it can be taken.
    pub toml: String,
    /// What there is to say about its keywords, by place.
    pub notes: Vec<Note>,
    /// The files that the notes are about.
    pub sources: keepalived::Sources,
    /// The servers under NAT whose replies ipvsd rewrites, and their VIPs: those of one-packet services.
    pub rewritten: Rewritten,
    /// The config, or why there is none.
    pub judged: Result<Loaded, Report>,
}

/// Both ends of what ipvsd rewrites.
#[derive(Clone, Debug, Default)]
pub struct Rewritten {
    /// The servers.
    pub servers: BTreeSet<SocketAddr>,
    /// The VIPs.
    pub vips: BTreeSet<SocketAddr>,
}

/// Reads a keepalived.conf with all that it includes, as keepalived does on this machine.
///
/// # Errors
/// The main file cannot be read.
pub fn import(path: &Path) -> Result<Imported, LoadError> {
    let machine = Machine::new(None);
    let unread = |error| LoadError::unread(path, error);
    let whole = std::path::absolute(path).map_err(unread)?;
    let file = keepalived::load(&whole, &machine).map_err(unread)?;
    let translation = keepalived::translate(&file, &machine);
    let text = &translation.written.text;

    let (mut sources, mut places) = (Sources::default(), Places::default());
    for (path, text) in file.sources.files() {
        places.add(sources.add(&path.display().to_string(), &hidden(text)), text);
    }
    let mut problems = Problems::default();
    let draft = toml_file::read(text, &mut problems);
    let nothing = file.lvs.virtual_servers.is_empty();
    let config = if nothing { None } else { validate::validate(&draft, &mut problems) };
    problems.move_to(|toml| places.of(translation.written.origin(toml.start)));
    if nothing {
        let first = places.of(keepalived::Place { file: 0, line: 1, column: 1 });
        problems
            .error(first, "there is no virtual_server with real servers: nothing here is for ipvsd")
            .help("VRRP stays with `keepalived -P`");
    }
    findings(&file, &places, &mut problems);
    for note in translation.notes.iter().filter(|note| note.verdict == Verdict::Refused) {
        for place in &note.places {
            problems.error(places.of(*place), format!("`{}`: {}", note.keyword, note.said));
        }
    }
    let rewritten = rewritten(config.as_ref(), &file.lvs);
    let errors = problems.has_errors();
    let report = Report::of(sources, problems);
    let judged = match config.filter(|_| !errors) {
        Some(config) => Ok(Loaded {
            config,
            warnings: report,
            files: file.sources.files().map(|(path, _)| path.to_owned()).collect(),
            notes: lines(&translation.notes, &file.sources),
        }),
        None => Err(report),
    };
    let (toml, notes) = (translation.written.text, translation.notes);
    Ok(Imported { toml, notes, rewritten, sources: file.sources, judged })
}

/// As the config has it; as the file says where there is none.
fn rewritten(config: Option<&Config>, lvs: &Lvs) -> Rewritten {
    if let Some(config) = config {
        let rules = desired::rules_of(config);
        return Rewritten { servers: rules.replies.into_keys().collect(), vips: rules.requests };
    }
    let mut rewritten = Rewritten::default();
    for server in lvs.virtual_servers.iter().filter(|server| server.ops.is_some()) {
        let under_nat = server.real_servers.iter().filter(|server| server.method.value == Method::Nat);
        rewritten.servers.extend(under_nat.map(|server| SocketAddr::new(server.address, server.port)));
        if let Target::Address(ip, port) = server.target {
            rewritten.vips.insert(SocketAddr::new(ip, port));
        }
    }
    rewritten
}

/// Notes as lines, but for those of what is refused.
fn lines(notes: &[Note], sources: &keepalived::Sources) -> Vec<String> {
    let notes = notes.iter().filter(|note| note.verdict != Verdict::Refused);
    notes.map(|note| note.line(sources)).collect()
}

/// What keepalived complains of, or passes over. It runs all the same, and so do we, but for what would lose services.
fn findings(file: &File, places: &Places<'_>, problems: &mut Problems) {
    for finding in &file.findings {
        let place = places.of(finding.place);
        match finding.rule {
            Rule::Limit | Rule::Unread | Rule::MissingValue => problems.error(place, &*finding.message),
            _ => problems.warning(place, &*finding.message),
        };
    }
}

/// Where the places of a keepalived.conf are in the texts of a report.
#[derive(Default)]
struct Places<'a>(Vec<Text<'a>>);

struct Text<'a> {
    /// Where it begins among the texts.
    start: usize,
    text: &'a str,
    /// Where its lines begin.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn add(&mut self, start: usize, text: &'a str) {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.0.push(Text { start, text, lines });
    }

    /// The word that begins there.
    fn of(&self, place: keepalived::Place) -> Place {
        let Some(file) = self.0.get(place.file as usize) else { return Place { start: 0, end: 0 } };
        let line = file.lines.get(place.line.saturating_sub(1) as usize).copied().unwrap_or(file.text.len());
        let text = file.text[line..].split('\n').next().unwrap_or_default();
        let column = text.char_indices().nth(place.column.saturating_sub(1) as usize);
        let at = column.map_or(text.trim_end().len(), |(at, _)| at);
        let word = text[at..].split(char::is_whitespace).next().unwrap_or_default();
        let start = file.start + line + at;
        Place { start, end: start + word.len() }
    }
}

/// The text without the values of `password` and `auth_pass`: all else stays at its place.
fn hidden(text: &str) -> String {
    let line = |line: &str| {
        let words = line.trim_start();
        let secret = ["password", "auth_pass"].into_iter().find(|word| words.starts_with(word));
        let Some(keep) = secret.map(|word| line.len() - words.len() + word.len()) else {
            return line.to_owned();
        };
        let star = |c: char| if c.is_whitespace() { c.to_string() } else { "*".repeat(c.len_utf8()) };
        line[..keep].to_owned() + &line[keep..].chars().map(star).collect::<String>()
    };
    text.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalived::tests::sample;

    const NOT_THERE: [&str; 6] = [
        "a check gives weights, which `dh` ignores",
        "could never reach its quorum",
        "a reply can be given the address of one VIP only",
        "has port 0, and a check needs a port",
        "adds up weights",
        "unknown key `timeouts`",
    ];

    #[test]
    fn samples_are_valid_but_for_what_ipvsd_does_not_have() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keepalived.conf");
        let mut valid = 0;
        for seed in 0..300 {
            std::fs::write(&path, sample::valid(seed)).expect("a file");
            let imported = import(&path).expect("a file");
            match imported.judged {
                Ok(_) => valid += 1,
                Err(report) => {
                    let errors = report.problems().filter(|it| it.severity == crate::config::Severity::Error);
                    for problem in errors {
                        let known = NOT_THERE.iter().any(|words| problem.message.contains(words));
                        assert!(known, "seed {seed}: {report}\n{}", imported.toml);
                    }
                }
            }
        }
        assert!(valid > 100, "{valid}");
    }

    #[test]
    fn what_is_wrong_is_told_where_it_stands() {
        let folder = tempfile::tempdir().expect("a folder");
        let (main, part) = (folder.path().join("keepalived.conf"), folder.path().join("part.conf"));
        std::fs::write(&main, "include part.conf\nSSL {\n  password geheim\n}\n").expect("a file");
        let server = "virtual_server 192.0.2.1 53 {\n  lvs_sched rr\n  lvs_method DR\n  protocol UDP\n  ops\n  \
                      real_server 0.0.0.0 53 {\n  }\n}\n";
        std::fs::write(&part, server).expect("a file");
        let imported = import(&main).expect("a file");
        let report = imported.judged.expect_err("errors");
        let problems: Vec<_> = report
            .problems()
            .map(|at| (at.file.rsplit('/').next().unwrap_or_default(), at.line, at.column))
            .collect();
        assert_eq!(problems, [("keepalived.conf", 3, 3), ("part.conf", 6, 3)], "{report}");
        assert!(!report.render(false).contains("geheim"), "{report}");
    }

    #[test]
    fn an_include_is_refused_where_keepalived_does_not_start() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("folder")).expect("a folder");
        let server = "virtual_server 192.0.2.1 53 {\n  lvs_sched rr\n  lvs_method DR\n  protocol UDP\n  \
                      real_server 192.0.2.9 53 {\n  }\n}\n";
        std::fs::write(folder.path().join("server"), server).expect("a file");
        let main = folder.path().join("keepalived.conf");
        let starts = |line: &str| {
            std::fs::write(&main, format!("include server\n{line}\n")).expect("a file");
            import(&main).expect("a file").judged.is_ok()
        };
        // As seen of keepalived 2.2.7, whose exit status is 6 where it stops.
        for (what, starting) in [
            ("none", ["include", "includer", "includeb"].as_slice()),
            ("none*", &["include", "includer", "includem", "includeb"]),
            ("none{1,2}", &["include", "includer", "includem", "includew"]),
            ("folder", &["include"]),
            ("fold*", &["include"]),
        ] {
            for word in ["include", "includer", "includem", "includew", "includeb", "includea"] {
                assert_eq!(starts(&format!("{word} {what}")), starting.contains(&word), "{word} {what}");
            }
        }
    }
}
