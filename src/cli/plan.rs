//! `ipvsd plan`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::core::changes::Change;
use crate::{daemon, logging};

pub fn main(path: &Path, json: bool) -> ExitCode {
    // With a bad config, too, it cannot be said what would change: that is all that the status tells.
    let Ok((loaded, runtime)) = super::load(path).and_then(|loaded| Ok((loaded, super::runtime()?))) else {
        return ExitCode::from(super::FAILED);
    };
    logging::start(None);
    let changes = match runtime.block_on(daemon::plan(&loaded.config)) {
        Ok(changes) => changes,
        Err(refusal) => {
            for line in refusal.to_string().lines() {
                eprintln!("ipvsd: {line}");
            }
            return ExitCode::from(super::FAILED);
        }
    };
    // Whoever reads may have had enough; the exit status says the same.
    let _ = print(&changes, json);
    if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(super::CHANGES) }
}

fn print(changes: &[Change], json: bool) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        writeln!(out, "{:#}", json!({ "changes": changes }))?;
    } else if changes.is_empty() {
        writeln!(out, "nothing to do")?;
    } else {
        for change in changes {
            writeln!(out, "{change}")?;
        }
        writeln!(out, "{} to make", super::counted(changes.len(), "change"))?;
    }
    out.flush()
}
