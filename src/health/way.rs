//! The ways in which the probes of a target travel.

use std::sync::Arc;

use super::job::Job;
use super::protocol::Protocol;
use super::tcp::Tcp;

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
