//! The history, or flight recorder: every input of the core, and what it decided, as lines of JSON. From the start of a run on it can be
//! given to a core again, which decides the same.
//!
//! ```text
//! {"number":0,"at":…,"what":{"start":{…the memory that the core begins with…}}}
//! {"number":1,"at":…,"what":{"input":{"given":{"config":…},"decided":[]}}}
//! {"number":2,"at":…,"what":{"quiet":"R1c2"}}
//! {"number":3,"at":…,"what":{"input":{"given":{"verdict":…},"decided":[{"do":…}]}}}
//! ```
//! Of what is found only what the core did not know is written: the picture that the core has at that point of a replay is
//! the rest. Inputs that say nothing new and decide nothing are letters of a quiet entry, which is written before the next
//! entry of another kind.
//!
//! A run can be played from its start to its last entry, or to the first gap in its numbers: where a line is damaged, or
//! could not be written. What comes after a gap, or after a start that is gone with an older file, can only be read. A run
//! that was killed lacks the quiet inputs after its last entry, which decided nothing.
//!
//! No secret of a check is in it, only marks by which two of them are told apart.

mod change;
mod given;
pub(in crate::core) mod masked;
mod quiet;
mod recording;
mod replay;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use ipvs_netlink::{DestinationKey, ServiceKey};
use serde::{Deserialize, Serialize};

pub use change::{ConfigChange, MapChange, RulesChange, ServiceChange, SetChange};
pub use given::Given;
pub use quiet::Quiet;
pub use recording::Recording;
pub use replay::{Differs, Replayed, replay};

use super::Output;
use super::Time;
use super::event::Event;
use super::memory::Memory;
use super::model::Rules;
use super::plan::Step;

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number in the run, from 0 on.
    pub number: u64,
    /// When, by the core's clock, in whole microseconds: of a [`What::Quiet`] that of the entry or input before it.
    #[serde(with = "micros")]
    pub at: Time,
    /// What happened.
    pub what: What,
}

impl Entry {
    /// Reads a line.
    ///
    /// # Errors
    /// It is not one of a history.
    pub fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

/// What an [`Entry`] holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A run begins.
    Start(Start),
    /// Inputs that decided nothing.
    Quiet(Quiet),
    /// An input.
    Input {
        /// What the core was told.
        given: Given,
        /// What it decided, in this order.
        decided: Vec<Decision>,
    },
}

/// The beginning of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The version of ipvsd. Another one may decide otherwise.
    pub version: String,
    /// The kernel's release, as `uname -r` has it.
    pub kernel: String,
    /// The machine's boot, as `/proc/sys/kernel/random/boot_id` has it.
    pub boot: String,
    /// What the core begins with.
    pub memory: Memory,
}

/// An [`Output`] that changes or says something. Looks, alarms and what is remembered follow from the inputs alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Steps for one service.
    Do(ServiceKey, Arc<[Step]>),
    /// How the rules are to change.
    Rules(RulesChange),
    /// A sysctl is set.
    Sysctl {
        /// Its name.
        key: String,
        /// Its value before.
        old: String,
        /// Its value from now on.
        value: String,
        /// Why.
        why: String,
    },
    /// What is probed.
    Probe {
        /// So many targets.
        targets: usize,
        /// CRC-32 of who they are: number, address and whether they count as up, sorted.
        digest: u32,
    },
    /// A command runs, which is not shown.
    Run {
        /// The service's name.
        service: String,
        /// The IPVS service.
        key: ServiceKey,
        /// Whose verdict has turned; none: the service's quorum.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<DestinationKey>,
        /// Whether it is up, or the quorum is reached.
        up: bool,
        /// The servers that are up.
        servers: Vec<DestinationKey>,
    },
    /// Something was logged.
    Say(Event),
    /// The daemon may end.
    Finished {
        /// All that is ipvsd's own is gone.
        removed: bool,
    },
}

impl Decision {
    /// Of an output, if it is one; `held` are the rules in the kernel.
    fn of(output: &Output, held: Option<&Rules>) -> Option<Self> {
        Some(match output {
            Output::Do(key, steps) => Self::Do(*key, Arc::clone(steps)),
            Output::DoRules(rules) => Self::Rules(RulesChange::between(held, rules)),
            Output::SetSysctl { key, old, value, why } => {
                Self::Sysctl { key: key.clone(), old: old.clone(), value: value.clone(), why: why.clone() }
            }
            Output::Probe(targets) => {
                // Sorted by themselves they would be in another order where secrets are masked.
                let mut all: Vec<(u32, SocketAddr, bool)> =
                    targets.iter().map(|target| (target.id.0, target.address, target.assumed_up)).collect();
                all.sort_unstable();
                let mut digest = crc32fast::Hasher::new();
                for (id, address, assumed_up) in all {
                    digest.update(format!("{id} {address} {assumed_up}\n").as_bytes());
                }
                Self::Probe { targets: targets.len(), digest: digest.finalize() }
            }
            Output::Run(hook) => Self::Run {
                service: hook.service.clone(),
                key: hook.key,
                server: hook.server,
                up: hook.up,
                servers: hook.servers.clone(),
            },
            Output::Say(event) => Self::Say(event.clone()),
            Output::Finished { removed } => Self::Finished { removed: *removed },
            Output::LookAtServices(_)
            | Output::GlanceAtServices(_)
            | Output::LookAtSysctls
            | Output::LookAtConnections(_)
            | Output::LookAtRules
            | Output::Remember(_)
            | Output::Tell(_)
            | Output::Wake(_) => return None,
        })
    }

    fn all(outputs: &[Output], held: Option<&Rules>) -> Vec<Self> {
        outputs.iter().filter_map(|output| Self::of(output, held)).collect()
    }
}

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When, by the core's clock: the Unix time.
    pub at: Time,
    /// The service's name; none if it is not about one.
    pub service: Option<String>,
    /// The IPVS service (`UDP 192.0.2.53:53`); none if it is not about a single one.
    pub vip: Option<String>,
    /// The server; none if it is not about one.
    pub server: Option<SocketAddr>,
    /// What happened, in one line as the log has it.
    pub what: String,
    /// The user ID of the operator who did it.
    pub by: Option<u32>,
}

/// A time as a number of microseconds.
mod micros {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Time, in_micros};

    pub fn serialize<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(in_micros(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        u64::deserialize(deserializer).map(Time::from_micros)
    }
}

/// The core's times are good for half a million years of them.
fn in_micros(time: Time) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
