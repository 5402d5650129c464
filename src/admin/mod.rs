//! The admin socket: HTTP/1.1 with JSON, so that `curl --unix-socket` works, on a Unix socket of this machine only.
//!
//! `POST /reload` reads the config again and answers when it has been taken or refused. The socket takes no
//! paths and no config text.

pub mod client;
mod server;
#[cfg(test)]
mod tests;

use std::env;
use std::path::PathBuf;

pub use server::{Admin, start};

use crate::config::{LoadError, Report};

/// What became of a reload: the warnings about the new config, or why the old one goes on.
pub type Reloaded = Result<Report, Rejected>;

/// Why a reload changed nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Rejected {
    /// The file cannot be read, or is wrong.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The file is valid, and the machine not ready for it; one reason a line, each with its cure.
    #[error("{0}")]
    Machine(String),
}

/// The socket of the daemon that has this environment: `control.sock` in its runtime directory.
pub fn socket() -> PathBuf {
    runtime_directory().join("control.sock")
}

/// Where a daemon with this environment keeps what outlives it, but not the machine: systemd's `$RUNTIME_DIRECTORY`,
/// or `/run/ipvsd`.
pub fn runtime_directory() -> PathBuf {
    let given = env::var_os("RUNTIME_DIRECTORY").unwrap_or_default();
    // There may be several, separated by colons.
    let first = env::split_paths(&given).next().filter(|path| !path.as_os_str().is_empty());
    first.unwrap_or_else(|| PathBuf::from("/run/ipvsd"))
}
