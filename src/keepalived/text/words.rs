//! A line → its words and braces.

use super::line::Line;
use crate::keepalived::finding::{Findings, Rule};
use crate::keepalived::place::Place;

/// A word as it stands: without its double quotes, with its backslashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Where it begins.
    pub place: Place,
    /// It stood in double quotes, or a part of it.
    pub quoted: bool,
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A word.
    Word(Word),
    /// `{`
    Open(Place),
    /// `}`
    Close(Place),
}

/// Splits a line. A word ends at white space, at a brace, and where a quoted one meets another one.
pub fn split(line: &Line, findings: &mut Findings) -> Vec<Piece> {
    let text = &line.text;
    let mut pieces = Vec::new();
    let mut places = line.places();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '{' => {
                pieces.push(Piece::Open(places.of(at)));
                at += 1;
            }
            '}' => {
                pieces.push(Piece::Close(places.of(at)));
                at += 1;
            }
            '"' => {
                let place = places.of(at);
                let inside = &text[at + 1..];
                let (inside, next) = match quote_end(inside) {
                    Some(end) => (&inside[..end], at + end + 2),
                    None => {
                        findings.error(Rule::Text, place, "the quote has no end on this line");
                        (inside, text.len())
                    }
                };
                pieces.push(Piece::Word(Word { text: inside.to_owned(), place, quoted: true }));
                at = next;
            }
            c if c.is_whitespace() => at += c.len_utf8(),
            _ => {
                let rest = &text[at..];
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | '"'))
                    .unwrap_or(rest.len());
                let place = places.of(at);
                pieces.push(Piece::Word(Word { text: rest[..end].to_owned(), place, quoted: false }));
                at += end;
            }
        }
    }
    pieces
}

/// The byte of the quote that ends a quoted text; one after a backslash does not.
fn quote_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

impl Word {
    /// The text with its escapes resolved as keepalived.conf(5) says: `\a \b \E \f \n \r \t \v`, `\nnn`, `\xXX`, `\cC`, `\C`.
    pub fn unescaped(&self) -> String {
        if !self.text.contains('\\') {
            return self.text.clone();
        }
        let mut bytes = Vec::new();
        let mut rest = self.text.as_bytes();
        while let Some((&first, more)) = rest.split_first() {
            rest = more;
            bytes.push(if first == b'\\' { escape(&mut rest) } else { first });
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The words of a command line, as keepalived takes it apart: white space ends a word, quotes of both kinds hold it together,
/// and escapes count in and out of them. A quote that opens at the very end is nothing; None if another one has no end.
pub fn arguments(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = line.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        match first {
            b'\\' => word.get_or_insert_default().push(escape(&mut rest)),
            _ if quote == Some(first) => quote = None,
            b'"' | b'\'' if quote.is_none() && rest.is_empty() => {}
            b'"' | b'\'' if quote.is_none() => {
                quote = Some(first);
                word.get_or_insert_default();
            }
            b'\t'..=b'\r' | b' ' if quote.is_none() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(first),
        }
    }
    words.extend(word);
    let words = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    quote.is_none().then_some(words)
}

/// The byte that an escape stands for, read from behind its backslash on. With nothing behind it, it stands for itself.
fn escape(rest: &mut &[u8]) -> u8 {
    let here = *rest;
    let Some((&letter, more)) = here.split_first() else { return b'\\' };
    *rest = more;
    match letter {
        b'a' => 7,
        b'b' => 8,
        b'E' => 27,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'x' if more.first().is_some_and(u8::is_ascii_hexdigit) => digits(rest, 16, 2),
        b'c' => match more.split_first() {
            Some((&letter, more)) => {
                *rest = more;
                letter & 31
            }
            None => b'c',
        },
        b'0'..=b'7' => {
            *rest = here;
            digits(rest, 8, 3)
        }
        other => other,
    }
}

/// The number of the digits that stand next, at most so many; the low byte of it.
fn digits(rest: &mut &[u8], radix: u32, most: usize) -> u8 {
    let mut value = 0u32;
    for _ in 0..most {
        let Some(digit) = rest.first().and_then(|byte| char::from(*byte).to_digit(radix)) else { break };
        value = value * radix + digit;
        *rest = &rest[1..];
    }
    value as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut findings = Findings::default();
        let pieces = split(&Line::new(0, 1, text.to_owned()), &mut findings);
        let words = pieces.iter().map(|piece| match piece {
            Piece::Word(word) => format!("{}@{}", word.text, word.place.column),
            Piece::Open(place) => format!("<@{}", place.column),
            Piece::Close(place) => format!(">@{}", place.column),
        });
        words.chain(findings.0.iter().map(|_| "error".to_owned())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn braces_and_quotes_end_a_word() {
        assert_eq!(shown("foo{a  b}c"), "foo@1 <@4 a@5 b@8 >@9 c@10");
        assert_eq!(shown("a \"b { # c\" d"), "a@1 b { # c@3 d@13");
        assert_eq!(shown("a\"b c\"d"), "a@1 b c@2 d@7");
        assert_eq!(shown("\"a\\\"b\" c"), "a\\\"b@1 c@8");
        assert_eq!(shown("a \"b"), "a@1 b@3 error");
        assert_eq!(shown("\"\""), "@1");
    }

    /// Each line and its words were seen with keepalived 2.2.7.
    #[test]
    fn a_command_line_comes_apart_as_with_keepalived() {
        for (line, words) in [
            (r#"show qup 'a b' "c d" e"#, &["show", "qup", "a b", "c d", "e"][..]),
            ("show a\tb \\x 'q'\n", &["show", "a", "b", "x", "q"]),
            (r#"show a="b c" 'd'e"#, &["show", "a=b c", "de"]),
            (r#"chk \t \\ 'a\'b' "a'b" 'a"b' ''"#, &["chk", "\t", "\\", "a'b", "a'b", "a\"b", ""]),
            (r#"show x\ y "a""b" c"d e"f"#, &["show", "x y", "ab", "cd ef"]),
            ("show 'a'b'", &["show", "ab"]),
            ("  ", &[]),
        ] {
            let expected: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(arguments(line), Some(expected), "{line}");
        }
        assert_eq!(arguments("show 'it' 's"), None);
    }

    #[test]
    fn escapes_are_those_of_the_manual() {
        let word =
            |text: &str| Word { text: text.to_owned(), place: Place::default(), quoted: true }.unescaped();
        assert_eq!(word(r"\101\x42\tc\\\q\n"), "AB\tc\\q\n");
        assert_eq!(word(r"\cA\x\"), "\u{1}x\\");
        assert_eq!(word("plain"), "plain");
    }
}
