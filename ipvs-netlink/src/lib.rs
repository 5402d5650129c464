//! The IPVS generic netlink API of Linux (`linux/ip_vs.h`).
//!
//! Three layers, each usable without the ones above it:
//! [wire types](wire) (bytes and attributes), typed values ([`Service`], [`Destination`], …) and the verbs on
//! them ([`request`]), and clients ([`blocking`], and [`tokio`] behind the feature `tokio`) over one
//! [`Exchange`] without I/O.

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
pub use destination::{Destination, DestinationConfig, Forward, Tunnel, TunnelChecksum, TunnelKind};
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
