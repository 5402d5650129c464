//! keepalived.conf of versions 2.0 to 2.4: read as keepalived reads it, with the place of everything.
//!
//! ```text
//! files ── text ──> lines of words ── tree ──> statements ── read ──> Lvs, keywords
//!           └────────────────────────────┴──────────────────────┴───> findings
//! ```
//! Nothing here fails: what cannot be read is a finding, and the rest is read. Where versions differ, `keepalived -t` of 2.2.7
//! (Debian 12) decides what is an error. One thing is unlike it: the block of an unknown keyword is left out whole, where
//! 2.2.7 takes its lines, and its closing brace, for those of the block around it.

mod finding;
mod keywords;
mod model;
mod outside;
mod place;
mod read;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod translate;
mod tree;

use std::io;
use std::path::Path;

pub use finding::{Finding, Rule, Severity};
pub use keywords::{Block, Keyword, Known, Verdict, keyword, keywords};
pub use model::{
    Account, Check, CheckKind, Checksum, Connection, Family, Global, Granularity, Group, Lvs, Member, Method,
    Pattern, Protocol, RealServer, Script, SorryServer, Ssl, Target, Timers, Timing, TrackFile, Tunnel, Url,
    Value, VirtualServer,
};
pub use outside::{Machine, Outside};
pub use place::{At, Place, Sources};
pub use text::Word;
pub use translate::{Note, Translation, Written, translate};
pub use tree::Statement;

use self::finding::Findings;
use self::text::Limits;

/// A keepalived.conf with all that it includes.
#[derive(Clone, Debug)]
pub struct File {
    /// Its statements, expanded: also those of blocks that are none of LVS's.
    pub statements: Vec<Statement>,
    /// Its LVS half.
    pub lvs: Lvs,
    /// What there is to say about it, by place.
    pub findings: Vec<Finding>,
    /// The files that it was read from.
    pub sources: Sources,
}

/// Reads a file, and what it includes. `path` should be absolute: `${_PWD}` and includes start from its directory.
///
/// Only a main file that cannot be read is an error.
pub fn load(path: &Path, outside: &dyn Outside) -> io::Result<File> {
    Ok(parse(path, &outside.read(path)?, outside))
}

/// Reads a text as the file at `path`, and what it includes.
pub fn parse(path: &Path, text: &[u8], outside: &dyn Outside) -> File {
    parse_within(path, text, outside, Limits::default())
}

fn parse_within(path: &Path, text: &[u8], outside: &dyn Outside, limits: Limits) -> File {
    let (mut findings, mut builder) = (Findings::default(), tree::Builder::default());
    let mut braces = Findings::default();
    let sources = text::read(path, text, outside, limits, &mut findings, &mut |pieces| {
        builder.line(pieces, &mut braces)
    });
    let statements = builder.finish(&mut braces);
    let lvs = read::read(&statements, &mut findings);
    let mut findings = findings.0;
    findings.append(&mut braces.0);
    findings.sort_by_key(|finding| finding.place);
    File { statements, lvs, findings, sources }
}
