//! What is probed, and what it comes to.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Check, Factor};

/// Names one probed (address, check) for as long as the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetId(pub u32);

/// One thing to probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name in verdicts.
    pub id: TargetId,
    /// Where the probes go.
    pub address: SocketAddr,
    /// How.
    pub check: Arc<Check>,
    /// It already has weight in the kernel: it counts as up until `fall` probes have failed.
    pub assumed_up: bool,
}

/// A verdict that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whose.
    pub target: TargetId,
    /// Up or down.
    pub up: bool,
    /// What it makes of the weight of a server that is up; nothing ([`Factor::FULL`]) unless a check says otherwise.
    pub factor: Factor,
    /// Why, in words for the log: `refused (ICMP port unreachable), 3 in a row`.
    pub reason: Cow<'static, str>,
}
