//! `ipvsd plan`.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::admin::client::{self, Error};
use crate::{daemon, logging};

pub fn main(config: Option<&Path>, json: bool) -> ExitCode {
    match config {
        Some(path) => read(path, json),
        None => ask(json).unwrap_or_else(|| read(Path::new(super::DEFAULT_CONFIG), json)),
    }
}

/// The running daemon's plan; none if none runs, or it is not for this user.
fn ask(json: bool) -> Option<ExitCode> {
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(status) => return Some(status),
    };
    let answer = match runtime.block_on(client::tell("/plan")) {
        Ok(answer) => answer,
        Err(Error::NotRunning(_) | Error::NotAllowed(_)) => return None,
        Err(error) => {
            eprintln!("ipvsd: {error}");
            return Some(ExitCode::from(super::FAILED));
        }
    };
    eprint!("{}", answer.text());
    let (StatusCode::OK, Some(changes)) = (answer.status, answer.said["changes"].as_array()) else {
        return Some(ExitCode::from(super::FAILED));
    };
    let lines = answer.said["lines"].as_str().unwrap_or_default();
    Some(finish(&json!(changes), lines, changes.len(), json))
}

fn read(path: &Path, json: bool) -> ExitCode {
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
    let lines: String = changes.iter().map(|change| format!("{change}\n")).collect();
    finish(&json!(changes), &lines, changes.len(), json)
}

/// Prints the plan. Whoever reads may have had enough; the exit status says the same.
fn finish(changes: &Value, lines: &str, count: usize, json: bool) -> ExitCode {
    let text = match count {
        _ if json => format!("{:#}\n", json!({ "changes": changes })),
        0 => "nothing to do\n".to_owned(),
        _ => format!("{lines}{} to make\n", super::counted(count, "change")),
    };
    super::say(io::stdout(), &text);
    if count == 0 { ExitCode::SUCCESS } else { ExitCode::from(super::CHANGES) }
}
