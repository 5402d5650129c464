//! The admin sockets: HTTP/1.1 with JSON, so that `curl --unix-socket` works, on two Unix sockets of this machine only.
//!
//! `read.sock` tells, `control.sock` tells and does. Each is for its owner and its group, which are the daemon's user and the
//! group `ipvsd-read` or `ipvsd-control`, where the machine has that group. They take no paths and no config text.
//!
//! ```text
//! GET  /status[?service=NAME][&traffic=false]  how everything stands
//! GET  /explain?service=NAME[&server=SERVER]   the same of one service or server, with its history
//! GET  /plan                                   what a reload would change
//! POST /reload                                 read the config again; answers when it has been taken or refused
//! POST /drain    {"service": NAME, "server": SERVER, "for": "10m", "force": true}
//! POST /weight   the same with "weight": NUMBER
//! POST /undrain  {"service": NAME, "server": SERVER}
//! ```

mod answer;
pub mod client;
mod listen;
mod server;
#[cfg(test)]
mod tests;

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub use listen::{Listener, given, make};
pub use server::{Admin, start};

use crate::config::{LoadError, Report};
use crate::core::changes::Change;
use crate::core::history::Note;
use crate::core::overrides::Override;
use crate::core::status::Status;
use crate::metrics::Observed;

/// What is asked of the daemon; it answers by the channel. One that ends drops it.
#[derive(Debug)]
pub enum Request {
    /// How everything stands. `traffic`: with what went through services and servers, which takes reading the kernel, and up to
    /// a second more for rates.
    Status {
        /// Traffic, too.
        traffic: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Status>,
    },
    /// Whether the daemon works, and is ready.
    Health(oneshot::Sender<Health>),
    /// All that metrics are made of.
    Metrics(oneshot::Sender<Observed>),
    /// What happened to a service, or a server of it, the newest last; or why that cannot be read.
    History {
        /// The service's name.
        service: String,
        /// The server; none: all.
        server: Option<SocketAddr>,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Vec<Note>, String>>,
    },
    /// What a reload would change, or why that cannot be said.
    Plan(oneshot::Sender<Planned>),
    /// Read the config again.
    Reload(Reload),
    /// Give a server another weight, or drain it; what is said from now on, or why not.
    Override(Words, oneshot::Sender<Result<Override, String>>),
    /// Take back what operators say of a server; what was said, or why there is nothing to take back.
    TakeBack(Words, oneshot::Sender<Result<Override, String>>),
}

/// Somebody wants the config to be read again.
#[derive(Debug)]
pub struct Reload {
    /// The operator's user ID; none: it was SIGHUP.
    pub by: Option<u32>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Reloaded>,
}

/// How the daemon itself is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// A task that owes an answer, and gives none.
    pub hangs: Option<&'static str>,
    /// Why it is not [ready](Status::ready), if it is not.
    pub unready: Option<String>,
}

/// What an operator says of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The service's name.
    pub service: String,
    /// The server: its address, with the port where there are several.
    pub server: String,
    /// Its weight when it is up; 0 is drained.
    pub weight: u32,
    /// For how long; none: until it is taken back.
    pub lasts: Option<Duration>,
    /// Even if no server with weight is left.
    pub force: bool,
    /// The operator's user ID.
    pub by: u32,
}

/// What a reload would change, with the warnings about the config.
pub type Planned = Result<(Vec<Change>, Report), Rejected>;

/// What became of a reload: the warnings about the new config, or why the old one goes on.
pub type Reloaded = Result<Report, Rejected>;

/// Why a reload changed nothing, or there is no plan.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Rejected {
    /// The file cannot be read, or is wrong.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The file is valid, and the machine not ready for it; one reason a line, each with its cure.
    #[error("{0}")]
    Machine(String),
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// It tells.
    Read,
    /// It tells and does.
    Control,
}

impl Access {
    /// Its name where systemd gives it (`FileDescriptorName=`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Control => "control",
        }
    }

    /// The group that may use it.
    fn group(self) -> String {
        format!("ipvsd-{}", self.name())
    }

    /// Its file, for a daemon that has this environment.
    pub fn socket(self) -> PathBuf {
        runtime_directory().join(format!("{}.sock", self.name()))
    }
}

/// Where a daemon with this environment keeps what outlives it, but not the machine: systemd's `$RUNTIME_DIRECTORY`,
/// or `/run/ipvsd`.
pub fn runtime_directory() -> PathBuf {
    directory("RUNTIME_DIRECTORY", "/run/ipvsd")
}

/// Where it keeps what outlives the machine's run, too: systemd's `$STATE_DIRECTORY`, or `/var/lib/ipvsd`.
pub fn state_directory() -> PathBuf {
    directory("STATE_DIRECTORY", "/var/lib/ipvsd")
}

fn directory(variable: &str, otherwise: &str) -> PathBuf {
    let given = env::var_os(variable).unwrap_or_default();
    // There may be several, separated by colons.
    let first = env::split_paths(&given).next().filter(|path| !path.as_os_str().is_empty());
    first.unwrap_or_else(|| PathBuf::from(otherwise))
}
