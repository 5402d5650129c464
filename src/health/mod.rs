//! Health: the rise/fall machine and the engine that probes.
//!
//! One thread asks all targets (`engine`); for each target a `prober` holds the sockets, the request and judgement of its
//! `protocol`, and the pure rise/fall `machine`. Only verdicts that change leave the room.

mod engine;
mod failure;
mod machine;
mod prober;
mod protocol;
mod socket;

pub use engine::{Checker, Hints, start};
#[cfg(test)]
pub(crate) use protocol::Protocol;
