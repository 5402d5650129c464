//! Health: the rise/fall machine and the engine that probes.
//!
//! One thread asks all targets (`engine`). A target that is asked by datagrams has a `prober`, which holds the sockets and the
//! request and judgement of its `protocol`; one whose probes are calls (`tcp`, `ping`, `tasks` for a
//! `job`) has a `caller`. Both are driven by the pure
//! rise/fall `machine`. Only verdicts that change leave the room.

mod caller;
mod connection;
mod deadlines;
pub mod echo;
mod engine;
mod failure;
mod job;
mod machine;
mod moment;
mod origin;
mod ping;
mod prober;
pub mod protocol;
mod record;
mod socket;
mod stream;
mod tasks;
mod tcp;
mod way;
mod work;

pub use engine::{Checker, Hints, start};
