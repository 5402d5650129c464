//! The wire layer: messages and attributes as they are in bytes, one enum for each level of nesting.
//!
//! All types implement the traits of `netlink-packet-core` and `netlink-packet-generic` and work with any
//! transport. What this library has no name for is kept as `Other`, or in [`Stats`](crate::Stats) as `unknown`, and emitted
//! again unchanged.

mod attribute;
mod daemon;
mod destination;
mod form;
mod message;
mod service;
mod stats;

pub(crate) use attribute::Attributes;
pub use daemon::DaemonAttribute;
pub use destination::DestinationAttribute;
pub use message::{Attribute, Command, Message};
pub use service::ServiceAttribute;
