//! A target at work, whichever way its probes travel.

use std::net::SocketAddr;
use std::time::Duration;

use super::caller::{Caller, Calls};
use super::prober::{Io, Prober};
use super::record::Record;
use super::socket::Trouble;
use super::way::Way;
use crate::core::model::{Factor, Target};

/// A target at work.
#[derive(Debug)]
pub enum Work {
    /// It is asked by datagrams.
    Datagrams(Prober),
    /// Its probes are calls.
    Calls(Caller),
}

impl Work {
    /// A target that is probed at `first` for the first time.
    pub fn new(target: &Target, way: Way, record: Record, first: Duration) -> Work {
        match way {
            Way::Datagrams(protocol) => Self::Datagrams(Prober::new(target, protocol, record, first)),
            Way::Ping => Self::Calls(Caller::new(target, Calls::Ping(Vec::new()), record, first)),
            Way::Task(job) => Self::Calls(Caller::new(target, Calls::Task(job), record, first)),
            Way::Connect(tcp) => {
                Self::Calls(Caller::new(target, Calls::Connect(tcp, Vec::new()), record, first))
            }
        }
    }

    /// When [`Work::due`] has something to do next.
    pub fn deadline(&self) -> Duration {
        match self {
            Self::Datagrams(prober) => prober.deadline(),
            Self::Calls(caller) => caller.deadline(),
        }
    }

    /// What became of its probes.
    pub fn record(&self) -> &Record {
        match self {
            Self::Datagrams(prober) => &prober.record,
            Self::Calls(caller) => &caller.record,
        }
    }

    /// Where it is probed.
    pub fn server(&self) -> SocketAddr {
        match self {
            Self::Datagrams(prober) => prober.server,
            Self::Calls(caller) => caller.server,
        }
    }

    /// Whether it is up, and its probes can be refused as client traffic is.
    pub fn heeds_hints(&self) -> bool {
        match self {
            Self::Datagrams(prober) => prober.is_up(),
            Self::Calls(_) => false,
        }
    }

    /// Client traffic to the target's address was refused at `now`: for a target that heeds it.
    pub fn hint(&mut self, now: Duration, io: &mut Io) {
        if let Self::Datagrams(prober) = self {
            prober.hint(now, io);
        }
    }

    /// Does what is due at `now`.
    pub fn due(&mut self, now: Duration, io: &mut Io) {
        match self {
            Self::Datagrams(prober) => prober.due(now, io),
            Self::Calls(caller) => caller.due(now, io),
        }
    }

    /// One of its calls, other than a connection, has ended: with what it makes of the weight, or with the trouble that it had.
    pub fn outcome(&mut self, now: Duration, probe: u64, outcome: Result<Factor, Trouble>, io: &mut Io) {
        if let Self::Calls(caller) = self {
            caller.outcome(now, probe, outcome, io);
        }
    }

    /// Something has come on a socket of its own; `errors` may be among it.
    pub fn ready(&mut self, errors: bool, io: &mut Io) {
        match self {
            Self::Datagrams(prober) => prober.readable(errors, io),
            Self::Calls(caller) => caller.ready(io),
        }
    }
}
