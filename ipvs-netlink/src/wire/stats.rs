//! The attributes within `IPVS_*_ATTR_STATS` and `IPVS_*_ATTR_STATS64` (`IPVS_STATS_ATTR_*`).

use netlink_packet_core::{DecodeError, DefaultNla, Nla, NlaBuffer, Parseable};

use super::{parse_u32, parse_u64};
use crate::uapi::*;

/// One counter or rate; STATS has most of them in 32 bits, STATS64 all of them in 64.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatsAttribute {
    /// A counter in 32 bits, native byte order.
    Narrow(Counter, u32),
    /// A counter in 64 bits, native byte order.
    Wide(Counter, u64),
    /// Padding, and whatever this library has no name for.
    Other(DefaultNla),
}

/// What is counted (`IPVS_STATS_ATTR_*`); rates are per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Counter {
    /// `IPVS_STATS_ATTR_CONNS`.
    Connections = IPVS_STATS_ATTR_CONNS,
    /// `IPVS_STATS_ATTR_INPKTS`.
    PacketsIn = IPVS_STATS_ATTR_INPKTS,
    /// `IPVS_STATS_ATTR_OUTPKTS`.
    PacketsOut = IPVS_STATS_ATTR_OUTPKTS,
    /// `IPVS_STATS_ATTR_INBYTES`.
    BytesIn = IPVS_STATS_ATTR_INBYTES,
    /// `IPVS_STATS_ATTR_OUTBYTES`.
    BytesOut = IPVS_STATS_ATTR_OUTBYTES,
    /// `IPVS_STATS_ATTR_CPS`.
    ConnectionsRate = IPVS_STATS_ATTR_CPS,
    /// `IPVS_STATS_ATTR_INPPS`.
    PacketsInRate = IPVS_STATS_ATTR_INPPS,
    /// `IPVS_STATS_ATTR_OUTPPS`.
    PacketsOutRate = IPVS_STATS_ATTR_OUTPPS,
    /// `IPVS_STATS_ATTR_INBPS`.
    BytesInRate = IPVS_STATS_ATTR_INBPS,
    /// `IPVS_STATS_ATTR_OUTBPS`.
    BytesOutRate = IPVS_STATS_ATTR_OUTBPS,
}

impl Counter {
    fn from_kind(kind: u16) -> Option<Self> {
        Some(match kind {
            IPVS_STATS_ATTR_CONNS => Self::Connections,
            IPVS_STATS_ATTR_INPKTS => Self::PacketsIn,
            IPVS_STATS_ATTR_OUTPKTS => Self::PacketsOut,
            IPVS_STATS_ATTR_INBYTES => Self::BytesIn,
            IPVS_STATS_ATTR_OUTBYTES => Self::BytesOut,
            IPVS_STATS_ATTR_CPS => Self::ConnectionsRate,
            IPVS_STATS_ATTR_INPPS => Self::PacketsInRate,
            IPVS_STATS_ATTR_OUTPPS => Self::PacketsOutRate,
            IPVS_STATS_ATTR_INBPS => Self::BytesInRate,
            IPVS_STATS_ATTR_OUTBPS => Self::BytesOutRate,
            _ => return None,
        })
    }
}

impl Nla for StatsAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Narrow(..) => 4,
            Self::Wide(..) => 8,
            Self::Other(nla) => nla.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Narrow(counter, _) | Self::Wide(counter, _) => *counter as u16,
            Self::Other(nla) => nla.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Narrow(_, value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Wide(_, value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Other(nla) => nla.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for StatsAttribute {
    fn parse(nla: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let value = nla.value();
        Ok(match (Counter::from_kind(nla.kind()), value.len()) {
            (Some(counter), 4) => Self::Narrow(counter, parse_u32(value)?),
            (Some(counter), 8) => Self::Wide(counter, parse_u64(value)?),
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}
