//! The IPVS generic netlink API of Linux (`linux/ip_vs.h`).
//!
//! Three layers, each usable without the ones above it:
//! wire types (bytes and attributes), typed values ([`Service`], [`Destination`], …),
//! and clients (blocking, and tokio behind the feature `tokio`) over one exchange without I/O.

mod destination;
mod key;
mod service;

pub use destination::{Destination, DestinationConfig, Forward, Tunnel, TunnelChecksum, TunnelKind};
pub use key::{DestinationKey, Family, Protocol, ServiceKey};
pub use service::{Flags, InvalidName, Netmask, SchedulerName, Service, ServiceConfig};
