//! The attributes within `IPVS_*_ATTR_STATS` and `IPVS_*_ATTR_STATS64` (`IPVS_STATS_ATTR_*`).

use netlink_packet_core::{
    DecodeError, DefaultNla, Nla, NlaBuffer, Parseable, emit_u32, emit_u64, parse_u32, parse_u64,
};

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
    Connections = 1,
    /// `IPVS_STATS_ATTR_INPKTS`.
    PacketsIn = 2,
    /// `IPVS_STATS_ATTR_OUTPKTS`.
    PacketsOut = 3,
    /// `IPVS_STATS_ATTR_INBYTES`.
    BytesIn = 4,
    /// `IPVS_STATS_ATTR_OUTBYTES`.
    BytesOut = 5,
    /// `IPVS_STATS_ATTR_CPS`.
    ConnectionsRate = 6,
    /// `IPVS_STATS_ATTR_INPPS`.
    PacketsInRate = 7,
    /// `IPVS_STATS_ATTR_OUTPPS`.
    PacketsOutRate = 8,
    /// `IPVS_STATS_ATTR_INBPS`.
    BytesInRate = 9,
    /// `IPVS_STATS_ATTR_OUTBPS`.
    BytesOutRate = 10,
}

impl Counter {
    fn from_kind(kind: u16) -> Option<Self> {
        Some(match kind {
            1 => Self::Connections,
            2 => Self::PacketsIn,
            3 => Self::PacketsOut,
            4 => Self::BytesIn,
            5 => Self::BytesOut,
            6 => Self::ConnectionsRate,
            7 => Self::PacketsInRate,
            8 => Self::PacketsOutRate,
            9 => Self::BytesInRate,
            10 => Self::BytesOutRate,
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
            Self::Narrow(_, value) => emit_u32(buffer, *value).expect("value_len is 4"),
            Self::Wide(_, value) => emit_u64(buffer, *value).expect("value_len is 8"),
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
