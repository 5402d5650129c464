//! The config: a file and its places, a draft that keeps the place of every value, the validated [`Config`].
//!
//! ```text
//! text ── toml_* ──> Draft ── validate, rules, conflicts ──> Config
//!            │                          │
//!            └────────> Problems <──────┘ ──> Report: every problem, by place
//! ```
//! A keepalived.conf is translated to TOML first; its problems have their places in it all the same.
//!
//! A file is refused whole or taken whole. Every problem is reported, not the first one only.

mod address;
mod check;
mod command;
mod conflicts;
mod draft;
mod keepalived_file;
mod masked;
mod persistence;
mod policy;
mod report;
mod rules;
mod scheduler;
#[cfg(test)]
mod tests;
mod toml_file;
mod toml_forward;
mod toml_service;
mod toml_table;
mod toml_value;
mod validate;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use keepalived_file::{Imported, import};
pub use report::{Located, Report, Severity};
pub use scheduler::heeds_weight;

use self::report::{Place, Problems};
use crate::core::model::Config;

/// No setting may be longer: sums and products of a few of them then fit everywhere.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// A config that is valid, and what its author should know all the same.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// Warnings only; may be empty.
    pub warnings: Report,
    /// The files that it was read from; none if it was not read from a file.
    pub files: Vec<PathBuf>,
    /// What a keepalived.conf means here that differs, in lines; none of another file.
    pub notes: Vec<String>,
}

/// Why a file gives no config.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the config {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The file is read, and wrong.
    #[error(transparent)]
    Invalid(#[from] Report),
}

impl LoadError {
    /// This file could not be read.
    pub fn unread(path: &Path, error: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source: Arc::new(error) }
    }
}

/// Reads a file: as a keepalived.conf if its name ends in `.conf`, else as TOML (UTF-8).
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    if path.extension().is_some_and(|extension| extension == "conf") {
        return Ok(import(path)?.judged?);
    }
    let bytes = std::fs::read(path).map_err(|error| LoadError::unread(path, error))?;
    let name = path.display().to_string();
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Loaded { files: vec![path.to_owned()], ..parse(&name, text)? }),
        Err(error) => {
            // Up to the error both texts are the same, so the place is right.
            let text = String::from_utf8_lossy(&bytes);
            let start = error.valid_up_to();
            let mut problems = Problems::default();
            problems
                .error(Place { start, end: start + 1 }, "the file is not UTF-8 from here on")
                .help("save it as UTF-8; bytes for a check go into `send_hex` and `expect_hex`");
            Err(Report::new(&name, &text, problems).into())
        }
    }
}

/// Reads a text as TOML; `file_name` is what reports call it.
///
/// The report of a refused text holds its warnings too.
pub fn parse(file_name: &str, text: &str) -> Result<Loaded, Report> {
    // Some editors put one before the first character; nobody sees it, and no column counts it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::default();
    let draft = toml_file::read(text, &mut problems);
    let config = validate::validate(&draft, &mut problems);
    let report = Report::new(file_name, text, problems);
    match config {
        Some(config) => Ok(Loaded { config, warnings: report, files: Vec::new(), notes: Vec::new() }),
        None => Err(report),
    }
}
