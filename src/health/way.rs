//! The ways in which the probes of a target travel.

use std::sync::Arc;

use super::job::{Exec, File, Http, Job};
use super::protocol::{self, Protocol};
use super::tcp::Tcp;
use crate::core::model::Probe;

/// A probe ready to be asked as often as one likes, by any number of targets.
#[derive(Clone, Debug)]
pub enum Way {
    /// Datagrams, over sockets of the target's own.
    Datagrams(Arc<dyn Protocol>),
    /// A TCP connection for each probe.
    Connect(Arc<Tcp>),
    /// ICMP echo requests, over one socket for all targets.
    Ping,
    /// A task for each probe.
    Task(Arc<Job>),
}

impl Way {
    /// Compiles a probe.
    ///
    /// # Errors
    /// What cannot be asked or expected, in words; a valid config holds no such probe.
    pub fn new(probe: &Probe) -> Result<Way, String> {
        let task = |job| Self::Task(Arc::new(job));
        Ok(match probe {
            Probe::Icmp => Self::Ping,
            Probe::Tcp(probe) => Self::Connect(Arc::new(Tcp::new(probe)?)),
            Probe::Http(probe) => task(Job::Http(Box::new(Http::new(probe)?))),
            Probe::File(probe) => task(Job::File(File::new(probe))),
            Probe::Exec(probe) => task(Job::Exec(Exec::new(probe))),
            _ => Self::Datagrams(protocol::compile(probe)?),
        })
    }

    /// Whether a target still goes this way.
    pub fn in_use(&self) -> bool {
        match self {
            Self::Datagrams(protocol) => Arc::strong_count(protocol) > 1,
            Self::Connect(tcp) => Arc::strong_count(tcp) > 1,
            Self::Task(job) => Arc::strong_count(job) > 1,
            // It costs nothing to keep.
            Self::Ping => true,
        }
    }
}
