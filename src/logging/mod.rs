//! Where the log goes: to the journal with fields where standard error is the journal, else to standard error, as text or as JSON.

mod journal;

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What the log looks like on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log of this process. Without a format it goes to the journal if standard error does, else it is text.
pub fn start(format: Option<Format>) {
    let journal = match format {
        None if journal::is_stderr() => journal::Journal::open().ok(),
        _ => None,
    };
    if let Some(journal) = journal {
        return tracing_subscriber::registry().with(LevelFilter::INFO).with(journal).init();
    }
    match format {
        Some(Format::Json) => {
            tracing_subscriber::fmt()
                .json()
                .flatten_event(true)
                .with_writer(io::stderr)
                .with_target(false)
                .init();
        }
        _ => {
            let colour = io::stderr().is_terminal();
            tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(colour).with_target(false).init();
        }
    }
}
