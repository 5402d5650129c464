//! A service: its configuration apart from its key.

use std::fmt;
use std::net::Ipv4Addr;

use netlink_packet_core::DefaultNla;

use crate::uapi::*;
use crate::{Family, Name, SchedulerName, ServiceKey, Stats};

/// Service flags (`IPVS_SVC_ATTR_FLAGS`): bits and the mask of those that a write changes.
///
/// The kernel stores `(old & !mask) | (value & mask)`; a dump returns `mask` = all ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Flags {
    /// The bits.
    pub value: u32,
    /// Which bits of `value` a write applies.
    pub mask: u32,
}

impl Flags {
    /// `IP_VS_SVC_F_PERSISTENT`.
    pub const PERSISTENT: u32 = IP_VS_SVC_F_PERSISTENT;
    /// `IP_VS_SVC_F_HASHED`: the kernel's own, set in every dump.
    pub const HASHED: u32 = IP_VS_SVC_F_HASHED;
    /// `IP_VS_SVC_F_ONEPACKET`: one-packet scheduling (OPS).
    pub const ONE_PACKET: u32 = IP_VS_SVC_F_ONEPACKET;
    /// `IP_VS_SVC_F_SCHED1`: fallback, for `sh` and `mh`.
    pub const SCHED1: u32 = IP_VS_SVC_F_SCHED1;
    /// `IP_VS_SVC_F_SCHED2`: hash the port too, for `sh` and `mh`.
    pub const SCHED2: u32 = IP_VS_SVC_F_SCHED2;
    /// `IP_VS_SVC_F_SCHED3`.
    pub const SCHED3: u32 = IP_VS_SVC_F_SCHED3;

    /// All flags at once: exactly the bits of `value`.
    pub fn exactly(value: u32) -> Self {
        Self { value, mask: u32::MAX }
    }

    /// All flags at once without the kernel's own: two services with the same flags are then equal, whether they
    /// were listed or made.
    pub fn without_hashed(self) -> Self {
        Self::exactly(self.value & !Self::HASHED)
    }

    /// Whether every bit of `bits` is set.
    pub fn contains(self, bits: u32) -> bool {
        self.value & bits == bits
    }
}

/// How much of a client's address persistence looks at (`IPVS_SVC_ATTR_NETMASK`).
///
/// As the kernel has it: an IPv4 mask as four bytes, or an IPv6 prefix length. There is no request for a service with one
/// of the other family ([`Error::Netmask`](crate::Error::Netmask)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Netmask {
    /// An IPv4 mask, the first byte first: `[255, 255, 255, 0]` is /24.
    V4([u8; 4]),
    /// An IPv6 prefix length, 1 to 128.
    V6(u32),
}

impl Netmask {
    /// The whole address.
    pub fn host(family: Family) -> Self {
        match family {
            Family::Inet => Self::V4([255; 4]),
            Family::Inet6 => Self::V6(128),
        }
    }

    /// Whether a service of this family can have it.
    pub fn fits(self, family: Family) -> bool {
        match (self, family) {
            (Self::V4(_), Family::Inet) => true,
            (Self::V6(length), Family::Inet6) => (1..=128).contains(&length),
            _ => false,
        }
    }
}

impl fmt::Display for Netmask {
    /// `255.255.255.0`, `/64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(mask) => Ipv4Addr::from(*mask).fmt(f),
            Self::V6(length) => write!(f, "/{length}"),
        }
    }
}

/// What a service is to do: all that NEW_SERVICE and SET_SERVICE carry beside the key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServiceConfig {
    /// The scheduler (`IPVS_SVC_ATTR_SCHED_NAME`).
    pub scheduler: SchedulerName,
    /// The flags (`IPVS_SVC_ATTR_FLAGS`).
    pub flags: Flags,
    /// Persistence time-out in seconds (`IPVS_SVC_ATTR_TIMEOUT`); 0 without persistence.
    ///
    /// At most `u32::MAX` ticks of the kernel's clock: 49 days with 1000 ticks a second. What is more wraps, and the
    /// kernel does not say so.
    pub timeout: u32,
    /// Persistence granularity (`IPVS_SVC_ATTR_NETMASK`).
    pub netmask: Netmask,
    /// Persistence engine (`IPVS_SVC_ATTR_PE_NAME`), such as `sip`; a SET without it removes it.
    pub persistence_engine: Option<Name>,
}

impl ServiceConfig {
    /// Without persistence and without flags.
    pub fn new(scheduler: SchedulerName, family: Family) -> Self {
        Self {
            scheduler,
            flags: Flags::exactly(0),
            timeout: 0,
            netmask: Netmask::host(family),
            persistence_engine: None,
        }
    }
}

/// A service as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Service {
    /// What identifies it.
    pub key: ServiceKey,
    /// What it is to do.
    pub config: ServiceConfig,
    /// What it has done.
    pub stats: Stats,
    /// Attributes that this library has no name for.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub unknown: Vec<DefaultNla>,
}
