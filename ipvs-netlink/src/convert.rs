//! Between attributes and values, both ways.
//!
//! Values give their attributes one by one, so that a request can be written without a list in between.

mod config;
mod daemon;
mod destination;
mod service;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) use config::timeout_attributes;
pub(crate) use daemon::{daemon, daemon_attributes};
pub(crate) use destination::{destination, destination_attributes, destination_key_attributes};
pub(crate) use service::{service, service_attributes, service_key_attributes};

use crate::{DecodeError, Family};

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
