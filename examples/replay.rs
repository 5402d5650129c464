//! Gives the history of a daemon to a core again: `cargo run --example replay [DIRECTORY]`. Build it from the version of ipvsd that the
//! history's start names.

use std::path::PathBuf;
use std::process::ExitCode;

use ipvsd::admin;
use ipvsd::core::history::replay;
use ipvsd::daemon::HistoryFile;

fn main() -> ExitCode {
    let directory = std::env::args_os().nth(1).map_or_else(admin::state_directory, PathBuf::from);
    let lines = match HistoryFile::in_directory(directory).lines() {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("cannot read the history: {error}");
            return ExitCode::FAILURE;
        }
    };
    match replay(lines, |_| {}) {
        Ok(replayed) => {
            println!(
                "{} runs, {} inputs, {} decisions, all the same; {} lines could not be played",
                replayed.runs, replayed.inputs, replayed.decisions, replayed.left_out
            );
            ExitCode::SUCCESS
        }
        Err(differs) => {
            eprintln!("{differs}");
            ExitCode::FAILURE
        }
    }
}
