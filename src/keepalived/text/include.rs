//! `include` and its variants: which files a line means, and what is wrong if there are none.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::keepalived::finding::{Findings, Rule};
use crate::keepalived::outside::Outside;
use crate::keepalived::place::Place;

/// So many patterns may come of the braces of one line.
const MOST_PATTERNS: usize = 1_000;

/// What an include line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Include<'a> {
    kind: Kind,
    pattern: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Readable,
    Match,
    Wildcard,
    Brace,
    All,
}

/// The include line that a text is.
pub fn include(text: &str) -> Option<Include<'_>> {
    let (word, pattern) = text.trim().split_once(char::is_whitespace)?;
    let kind = match word {
        "include" => Kind::Plain,
        "includer" => Kind::Readable,
        "includem" => Kind::Match,
        "includew" => Kind::Wildcard,
        "includeb" => Kind::Brace,
        "includea" => Kind::All,
        _ => return None,
    };
    Some(Include { kind, pattern: pattern.trim() })
}

impl Include<'_> {
    /// The files to read, each with its text.
    pub fn files(
        &self,
        directory: &Path,
        place: Place,
        outside: &dyn Outside,
        findings: &mut Findings,
    ) -> Vec<(PathBuf, Vec<u8>)> {
        let mut patterns = Vec::new();
        expand_braces(self.pattern, &mut patterns);
        if patterns.len() >= MOST_PATTERNS {
            findings.error(Rule::Limit, place, format!("`{}` stands for too many files", self.pattern));
            return Vec::new();
        }
        let braces = patterns.len() > 1;
        let mut files = Vec::new();
        for pattern in &patterns {
            let path = directory.join(pattern);
            let wild = pattern.contains(['*', '?', '[']);
            let paths = if wild { outside.matches(&path.to_string_lossy()) } else { vec![path] };
            if wild && paths.is_empty() && matches!(self.kind, Kind::Wildcard | Kind::All) {
                let rule = if braces { Rule::Include } else { Rule::Unread };
                findings.error(rule, place, format!("no file matches `{pattern}`"));
            } else if paths.is_empty() && braces && self.kind == Kind::Brace {
                findings.error(Rule::Include, place, format!("no file matches `{pattern}`"));
            }
            for path in paths {
                match outside.read(&path) {
                    Ok(bytes) => files.push((path, bytes)),
                    Err(error) => self.unread(&path, &error, braces, place, findings),
                }
            }
        }
        files
    }

    /// What keepalived does not start with is [`Rule::Unread`], what it goes on without [`Rule::Include`].
    fn unread(
        &self,
        path: &Path,
        error: &std::io::Error,
        braces: bool,
        place: Place,
        findings: &mut Findings,
    ) {
        let message = format!("{} cannot be included: {error}", path.display());
        let demanded = match error.kind() {
            ErrorKind::NotFound if braces => matches!(self.kind, Kind::Brace | Kind::All),
            ErrorKind::NotFound => matches!(self.kind, Kind::Match | Kind::Wildcard | Kind::All),
            ErrorKind::IsADirectory => self.kind != Kind::Plain,
            _ => true,
        };
        let rule = if demanded { Rule::Unread } else { Rule::Include };
        let missing = error.kind() == ErrorKind::NotFound;
        let quiet = self.kind == Kind::Plain || (missing && braces && !demanded);
        if quiet && error.kind() != ErrorKind::IsADirectory {
            findings.note(rule, place, message);
        } else {
            findings.error(rule, place, message);
        }
    }
}

/// `a{b,c}d` → `abd`, `acd`, as csh does; braces may be nested.
fn expand_braces(pattern: &str, out: &mut Vec<String>) {
    if out.len() >= MOST_PATTERNS {
        return;
    }
    let Some((start, parts, end)) = first_brace(pattern) else {
        out.push(pattern.to_owned());
        return;
    };
    for part in parts {
        expand_braces(&format!("{}{part}{}", &pattern[..start], &pattern[end..]), out);
    }
}

/// The first outer brace with its parts, and the bytes where it begins and ends.
fn first_brace(pattern: &str) -> Option<(usize, Vec<&str>, usize)> {
    let start = pattern.find('{')?;
    let (mut depth, mut parts, mut part) = (0, Vec::new(), start + 1);
    for (at, byte) in pattern.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b',' if depth == 1 => {
                parts.push(&pattern[part..at]);
                part = at + 1;
            }
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    parts.push(&pattern[part..at]);
                    return Some((start, parts, at + 1));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_those_of_csh() {
        let expanded = |pattern: &str| {
            let mut out = Vec::new();
            expand_braces(pattern, &mut out);
            out.join(" ")
        };
        assert_eq!(expanded("{foo/{,cat,dog},bar}"), "foo/ foo/cat foo/dog bar");
        assert_eq!(expanded("a{b"), "a{b");
        let mut bomb = Vec::new();
        expand_braces(&"{a,b}".repeat(40), &mut bomb);
        assert_eq!(bomb.len(), MOST_PATTERNS);
    }
}
