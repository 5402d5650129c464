//! Between attributes and values, both ways.

mod destination;
mod service;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) use destination::{destination_attributes, destination_key_attributes};
pub(crate) use service::{service_attributes, service_key_attributes};

use crate::wire::{Attribute, Counter, Message, StatsAttribute};
use crate::{DecodeError, Family, Info, Stats, Version};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

impl From<Family> for u16 {
    fn from(family: Family) -> Self {
        match family {
            Family::Inet => AF_INET,
            Family::Inet6 => AF_INET6,
        }
    }
}

impl TryFrom<u16> for Family {
    type Error = DecodeError;

    fn try_from(number: u16) -> Result<Self, DecodeError> {
        match number {
            AF_INET => Ok(Self::Inet),
            AF_INET6 => Ok(Self::Inet6),
            other => Err(DecodeError::Malformed(format!("the address family {other} is none that IPVS has"))),
        }
    }
}

/// The value of an attribute that has to be there.
fn need<T>(attribute: Option<T>, name: &'static str) -> Result<T, DecodeError> {
    attribute.ok_or(DecodeError::Missing(name))
}

/// `union nf_inet_addr`.
fn to_union(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// `union nf_inet_addr`, of which `family` says what it holds.
fn from_union(family: Family, bytes: [u8; 16]) -> IpAddr {
    match family {
        Family::Inet => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        Family::Inet6 => Ipv6Addr::from(bytes).into(),
    }
}

impl From<Vec<StatsAttribute>> for Stats {
    /// A counter that is not there is 0.
    fn from(attributes: Vec<StatsAttribute>) -> Self {
        let mut stats = Self::default();
        for attribute in attributes {
            let (counter, value) = match attribute {
                StatsAttribute::Narrow(counter, value) => (counter, value.into()),
                StatsAttribute::Wide(counter, value) => (counter, value),
                StatsAttribute::Other(_) => continue,
            };
            *match counter {
                Counter::Connections => &mut stats.connections,
                Counter::PacketsIn => &mut stats.packets_in,
                Counter::PacketsOut => &mut stats.packets_out,
                Counter::BytesIn => &mut stats.bytes_in,
                Counter::BytesOut => &mut stats.bytes_out,
                Counter::ConnectionsRate => &mut stats.connections_rate,
                Counter::PacketsInRate => &mut stats.packets_in_rate,
                Counter::PacketsOutRate => &mut stats.packets_out_rate,
                Counter::BytesInRate => &mut stats.bytes_in_rate,
                Counter::BytesOutRate => &mut stats.bytes_out_rate,
            } = value;
        }
        stats
    }
}

impl From<Stats> for Vec<StatsAttribute> {
    /// All counters in 64 bits, as `IPVS_*_ATTR_STATS64` has them.
    fn from(stats: Stats) -> Self {
        [
            (Counter::Connections, stats.connections),
            (Counter::PacketsIn, stats.packets_in),
            (Counter::PacketsOut, stats.packets_out),
            (Counter::BytesIn, stats.bytes_in),
            (Counter::BytesOut, stats.bytes_out),
            (Counter::ConnectionsRate, stats.connections_rate),
            (Counter::PacketsInRate, stats.packets_in_rate),
            (Counter::PacketsOutRate, stats.packets_out_rate),
            (Counter::BytesInRate, stats.bytes_in_rate),
            (Counter::BytesOutRate, stats.bytes_out_rate),
        ]
        .map(|(counter, value)| StatsAttribute::Wide(counter, value))
        .into()
    }
}

impl TryFrom<Message> for Info {
    type Error = DecodeError;

    fn try_from(message: Message) -> Result<Self, DecodeError> {
        let (mut version, mut size) = (None, None);
        for attribute in message.attributes {
            match attribute {
                Attribute::Version(value) => version = Some(Version(value)),
                Attribute::ConnectionTableSize(value) => size = Some(value),
                _ => {}
            }
        }
        Ok(Self {
            version: need(version, "IPVS_INFO_ATTR_VERSION")?,
            connection_table_size: need(size, "IPVS_INFO_ATTR_CONN_TAB_SIZE")?,
        })
    }
}
