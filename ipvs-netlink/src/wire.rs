//! The wire layer: messages and attributes as they are in bytes, one enum for each level of nesting.
//!
//! All types implement the traits of `netlink-packet-core` and `netlink-packet-generic` and work with any
//! transport. What this library has no name for is kept as `Other` and emitted again unchanged.

mod daemon;
mod destination;
mod message;
mod service;
mod stats;

use netlink_packet_core::{DecodeError, NlaBuffer, NlasIterator, Parseable};

pub use daemon::DaemonAttribute;
pub use destination::DestinationAttribute;
pub use message::{Attribute, Command, Message};
pub use service::ServiceAttribute;
pub use stats::{Counter, StatsAttribute};

use crate::Name;

/// All attributes of one nest.
fn parse_nest<'a, A: Parseable<NlaBuffer<&'a [u8]>>>(bytes: &'a [u8]) -> Result<Vec<A>, DecodeError> {
    NlasIterator::new(bytes).map(|nla| A::parse(&nla?)).collect()
}

/// `union nf_inet_addr`: the kernel sends 16 bytes, of which IPv4 uses the first four; four alone are taken, too.
fn parse_address(bytes: &[u8]) -> Result<[u8; 16], DecodeError> {
    let mut address = [0; 16];
    match bytes.len() {
        4 | 16 => address[..bytes.len()].copy_from_slice(bytes),
        length => return Err(DecodeError::invalid_ip_address(length)),
    }
    Ok(address)
}

/// Exactly `N` bytes.
fn parse_bytes<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::invalid_number(N, bytes.len()))
}

// As those of netlink-packet-core, which cannot be inlined: a large dump is made of them.

fn parse_u8(bytes: &[u8]) -> Result<u8, DecodeError> {
    parse_bytes(bytes).map(u8::from_ne_bytes)
}

fn parse_u16(bytes: &[u8]) -> Result<u16, DecodeError> {
    parse_bytes(bytes).map(u16::from_ne_bytes)
}

fn parse_u16_be(bytes: &[u8]) -> Result<u16, DecodeError> {
    parse_bytes(bytes).map(u16::from_be_bytes)
}

fn parse_u32(bytes: &[u8]) -> Result<u32, DecodeError> {
    parse_bytes(bytes).map(u32::from_ne_bytes)
}

fn parse_u64(bytes: &[u8]) -> Result<u64, DecodeError> {
    parse_bytes(bytes).map(u64::from_ne_bytes)
}

/// The bytes before the first NUL (the kernel's `nla_put_string`).
fn parse_name(bytes: &[u8]) -> Result<Name, DecodeError> {
    Name::until_nul(bytes).ok_or_else(|| format!("a name of more than {} bytes", Name::MAX).into())
}

/// `name` and its NUL.
fn emit_name(buffer: &mut [u8], name: &Name) {
    let (text, nul) = buffer.split_at_mut(name.as_bytes().len());
    text.copy_from_slice(name.as_bytes());
    nul.fill(0);
}
