//! The attributes within `IPVS_CMD_ATTR_SERVICE` (`IPVS_SVC_ATTR_*`).

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorContext, NLA_F_NESTED, Nla, NlaBuffer, Parseable,
};

use super::{
    StatsAttribute, emit_name, parse_address, parse_bytes, parse_name, parse_nest, parse_u16, parse_u16_be,
    parse_u32,
};
use crate::uapi::*;
use crate::{Flags, Name};

/// An attribute of a service; numbers are in native byte order on the wire unless said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceAttribute {
    /// `IPVS_SVC_ATTR_AF`: `AF_INET` or `AF_INET6`.
    Family(u16),
    /// `IPVS_SVC_ATTR_PROTOCOL`.
    Protocol(u16),
    /// `IPVS_SVC_ATTR_ADDR`: always 16 bytes when sent; IPv4 is the first four.
    Address([u8; 16]),
    /// `IPVS_SVC_ATTR_PORT` (big-endian on the wire).
    Port(u16),
    /// `IPVS_SVC_ATTR_FWMARK`.
    FwMark(u32),
    /// `IPVS_SVC_ATTR_SCHED_NAME`.
    SchedulerName(Name),
    /// `IPVS_SVC_ATTR_FLAGS` (`struct ip_vs_flags`).
    Flags(Flags),
    /// `IPVS_SVC_ATTR_TIMEOUT`, in seconds.
    Timeout(u32),
    /// `IPVS_SVC_ATTR_NETMASK`: an IPv4 mask in network order, or an IPv6 prefix length in native order.
    Netmask([u8; 4]),
    /// `IPVS_SVC_ATTR_STATS`.
    Stats(Vec<StatsAttribute>),
    /// `IPVS_SVC_ATTR_PE_NAME`.
    PersistenceEngine(Name),
    /// `IPVS_SVC_ATTR_STATS64`, since 4.1.
    Stats64(Vec<StatsAttribute>),
    /// Whatever this library has no name for.
    Other(DefaultNla),
}

impl Nla for ServiceAttribute {
    #[inline(always)]
    fn value_len(&self) -> usize {
        match self {
            Self::Family(_) | Self::Protocol(_) | Self::Port(_) => 2,
            Self::Address(address) => address.len(),
            Self::FwMark(_) | Self::Timeout(_) | Self::Netmask(_) => 4,
            Self::SchedulerName(name) | Self::PersistenceEngine(name) => name.as_bytes().len() + 1,
            Self::Flags(_) => 8,
            Self::Stats(nest) | Self::Stats64(nest) => nest.as_slice().buffer_len(),
            Self::Other(nla) => nla.value_len(),
        }
    }

    #[inline(always)]
    fn kind(&self) -> u16 {
        match self {
            Self::Family(_) => IPVS_SVC_ATTR_AF,
            Self::Protocol(_) => IPVS_SVC_ATTR_PROTOCOL,
            Self::Address(_) => IPVS_SVC_ATTR_ADDR,
            Self::Port(_) => IPVS_SVC_ATTR_PORT,
            Self::FwMark(_) => IPVS_SVC_ATTR_FWMARK,
            Self::SchedulerName(_) => IPVS_SVC_ATTR_SCHED_NAME,
            Self::Flags(_) => IPVS_SVC_ATTR_FLAGS,
            Self::Timeout(_) => IPVS_SVC_ATTR_TIMEOUT,
            Self::Netmask(_) => IPVS_SVC_ATTR_NETMASK,
            Self::Stats(_) => IPVS_SVC_ATTR_STATS | NLA_F_NESTED,
            Self::PersistenceEngine(_) => IPVS_SVC_ATTR_PE_NAME,
            Self::Stats64(_) => IPVS_SVC_ATTR_STATS64 | NLA_F_NESTED,
            Self::Other(nla) => nla.kind(),
        }
    }

    #[inline(always)]
    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Family(value) | Self::Protocol(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Address(address) => buffer.copy_from_slice(address),
            Self::Port(port) => buffer.copy_from_slice(&port.to_be_bytes()),
            Self::FwMark(value) | Self::Timeout(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::SchedulerName(name) | Self::PersistenceEngine(name) => emit_name(buffer, name),
            Self::Flags(flags) => {
                buffer[..4].copy_from_slice(&flags.value.to_ne_bytes());
                buffer[4..].copy_from_slice(&flags.mask.to_ne_bytes());
            }
            Self::Netmask(bytes) => buffer.copy_from_slice(bytes),
            Self::Stats(nest) | Self::Stats64(nest) => nest.as_slice().emit(buffer),
            Self::Other(nla) => nla.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for ServiceAttribute {
    fn parse(nla: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let value = nla.value();
        Ok(match nla.kind() {
            IPVS_SVC_ATTR_AF => Self::Family(parse_u16(value).context("IPVS_SVC_ATTR_AF")?),
            IPVS_SVC_ATTR_PROTOCOL => Self::Protocol(parse_u16(value).context("IPVS_SVC_ATTR_PROTOCOL")?),
            IPVS_SVC_ATTR_ADDR => Self::Address(parse_address(value).context("IPVS_SVC_ATTR_ADDR")?),
            IPVS_SVC_ATTR_PORT => Self::Port(parse_u16_be(value).context("IPVS_SVC_ATTR_PORT")?),
            IPVS_SVC_ATTR_FWMARK => Self::FwMark(parse_u32(value).context("IPVS_SVC_ATTR_FWMARK")?),
            IPVS_SVC_ATTR_SCHED_NAME => {
                Self::SchedulerName(parse_name(value).context("IPVS_SVC_ATTR_SCHED_NAME")?)
            }
            IPVS_SVC_ATTR_FLAGS => Self::Flags(parse_flags(value).context("IPVS_SVC_ATTR_FLAGS")?),
            IPVS_SVC_ATTR_TIMEOUT => Self::Timeout(parse_u32(value).context("IPVS_SVC_ATTR_TIMEOUT")?),
            IPVS_SVC_ATTR_NETMASK => Self::Netmask(parse_bytes(value).context("IPVS_SVC_ATTR_NETMASK")?),
            IPVS_SVC_ATTR_STATS => Self::Stats(parse_nest(value).context("IPVS_SVC_ATTR_STATS")?),
            IPVS_SVC_ATTR_PE_NAME => {
                Self::PersistenceEngine(parse_name(value).context("IPVS_SVC_ATTR_PE_NAME")?)
            }
            IPVS_SVC_ATTR_STATS64 => Self::Stats64(parse_nest(value).context("IPVS_SVC_ATTR_STATS64")?),
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}

/// `struct ip_vs_flags { __u32 flags; __u32 mask; }`.
fn parse_flags(bytes: &[u8]) -> Result<Flags, DecodeError> {
    match bytes.split_at_checked(4) {
        Some((value, mask)) => Ok(Flags { value: parse_u32(value)?, mask: parse_u32(mask)? }),
        None => Err(DecodeError::buffer_too_small(bytes.len(), 8)),
    }
}
