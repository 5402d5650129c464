//! What identifies a service and a destination.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

/// The address family of a service (`IPVS_SVC_ATTR_AF`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Family {
    /// IPv4, `AF_INET` = 2.
    Inet,
    /// IPv6, `AF_INET6` = 10.
    Inet6,
}

impl Family {
    /// The family that `address` belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Inet,
            IpAddr::V6(_) => Self::Inet6,
        }
    }
}

/// An IP protocol number (`IPVS_SVC_ATTR_PROTOCOL`); IPVS schedules TCP, UDP and SCTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Protocol(pub u16);

impl Protocol {
    /// `IPPROTO_TCP`.
    pub const TCP: Self = Self(6);
    /// `IPPROTO_UDP`.
    pub const UDP: Self = Self(17);
    /// `IPPROTO_SCTP`.
    pub const SCTP: Self = Self(132);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.write_str("TCP"),
            Self::UDP => f.write_str("UDP"),
            Self::SCTP => f.write_str("SCTP"),
            Self(other) => write!(f, "protocol {other}"),
        }
    }
}

/// What identifies a service in one network namespace: an address, or a firewall mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ServiceKey {
    /// Packets of `protocol` to `address` (the VIP). The kernel has no scope and no flow label: leave them 0.
    Address {
        /// The IP protocol.
        protocol: Protocol,
        /// The VIP and the port; port 0 is any port (persistent services only).
        address: SocketAddr,
    },
    /// Packets that carry the firewall mark `mark`, whatever their protocol.
    FwMark {
        /// The family of the marked packets.
        family: Family,
        /// The mark.
        mark: NonZeroU32,
    },
}

impl ServiceKey {
    /// The key of the UDP service at `address`.
    pub fn udp(address: SocketAddr) -> Self {
        Self::Address { protocol: Protocol::UDP, address }
    }

    /// The family of the service.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(address.ip()),
            Self::FwMark { family, .. } => *family,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// As `ipvsadm` words it: `UDP 192.0.2.53:53`, `FWM 7`, `FWM 7 IPv6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol, address } => write!(f, "{protocol} {address}"),
            Self::FwMark { family: Family::Inet, mark } => write!(f, "FWM {mark}"),
            Self::FwMark { family: Family::Inet6, mark } => write!(f, "FWM {mark} IPv6"),
        }
    }
}

/// What identifies a destination within its service: the server's address and port. The kernel has no scope and no flow
/// label: leave them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DestinationKey(pub SocketAddr);

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
