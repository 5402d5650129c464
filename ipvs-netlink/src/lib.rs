//! The IPVS generic netlink API of Linux (`linux/ip_vs.h`).
//!
//! Three layers, each usable without the ones above it:
//! [wire types](wire) (bytes and attributes), typed values ([`Service`], [`Destination`], …) and the verbs on
//! them ([`request`]), and clients ([`blocking`], and `tokio` behind the feature of that name) over one
//! [`Exchange`] without I/O. Beside netlink: [connection entries](connection), the [counters of all services](totals)
//! and the [settings](sysctl), as readers without I/O.
//!
//! Features, none of them on unless asked for: `tokio` (its client), `netns` (clients of another network namespace) and
//! `serde` (the values serialised). The README has the commands of the kernel and where each is here.
//!
//! Unless said otherwise, numbers are in native byte order and times in seconds, and what is here works alike on Linux
//! 5.10 to 7.2.

mod answer;
pub mod blocking;
mod client;
pub mod connection;
mod conversation;
mod convert;
mod daemon;
mod destination;
mod drive;
mod error;
mod exchange;
mod frame;
mod info;
mod key;
mod name;
#[cfg(feature = "netns")]
mod netns;
mod operation;
pub mod request;
mod service;
mod stats;
pub mod sysctl;
#[cfg(test)]
mod tests;
mod timeouts;
#[cfg(feature = "tokio")]
pub mod tokio;
pub mod totals;
mod uapi;
mod window;
pub mod wire;
mod write;

pub use answer::Answer;
pub use daemon::{Daemon, DaemonConfig, DaemonRole};
pub use destination::{
    Destination, DestinationConfig, Forward, Tunnel, TunnelChecksum, TunnelKind, UnnamedForward,
};
pub use error::{DecodeError, Error, Refusal, Result};
pub use exchange::Exchange;
pub use info::{Info, Version};
pub use key::{DestinationKey, Family, Protocol, ServiceKey};
pub use name::{InvalidName, Name, SchedulerName};
pub use netlink_packet_core::DefaultNla;
pub use operation::{Operation, Verb};
pub use request::Request;
pub use service::{Flags, Netmask, Service, ServiceConfig};
pub use stats::Stats;
pub use timeouts::Timeouts;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
