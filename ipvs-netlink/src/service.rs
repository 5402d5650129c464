//! A service: its configuration apart from its key.

use std::fmt;
use std::str::FromStr;

use netlink_packet_core::DefaultNla;

use crate::{Family, ServiceKey, Stats};

/// A scheduler's name, open: whatever module the kernel has (`ip_vs_NAME`), at most 15 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct SchedulerName(String);

/// A name that the kernel would refuse: empty, over 15 bytes, or with a NUL byte (`IP_VS_SCHEDNAME_MAXLEN`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name for the kernel: 1 to 15 bytes, none of them NUL")]
pub struct InvalidName(pub String);

impl SchedulerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SchedulerName {
    type Err = InvalidName;
    fn from_str(name: &str) -> Result<Self, InvalidName> {
        if name.is_empty() || name.len() > 15 || name.contains('\0') {
            return Err(InvalidName(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }
}

impl TryFrom<String> for SchedulerName {
    type Error = InvalidName;
    fn try_from(name: String) -> Result<Self, InvalidName> {
        name.parse()
    }
}

impl From<SchedulerName> for String {
    fn from(name: SchedulerName) -> Self {
        name.0
    }
}

impl fmt::Display for SchedulerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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
    pub const PERSISTENT: u32 = 0x1;
    /// `IP_VS_SVC_F_HASHED`: the kernel's own, set in every dump.
    pub const HASHED: u32 = 0x2;
    /// `IP_VS_SVC_F_ONEPACKET`: one-packet scheduling (OPS).
    pub const ONE_PACKET: u32 = 0x4;
    /// `IP_VS_SVC_F_SCHED1`: fallback, for `sh` and `mh`.
    pub const SCHED1: u32 = 0x8;
    /// `IP_VS_SVC_F_SCHED2`: hash the port too, for `sh` and `mh`.
    pub const SCHED2: u32 = 0x10;
    /// `IP_VS_SVC_F_SCHED3`.
    pub const SCHED3: u32 = 0x20;

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
/// As the kernel has it: an IPv4 mask as four bytes, or an IPv6 prefix length.
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
    pub timeout: u32,
    /// Persistence granularity (`IPVS_SVC_ATTR_NETMASK`).
    pub netmask: Netmask,
    /// Persistence engine (`IPVS_SVC_ATTR_PE_NAME`), such as `sip`; a SET without it removes it.
    pub persistence_engine: Option<String>,
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
pub struct Service {
    /// What identifies it.
    pub key: ServiceKey,
    /// What it is to do.
    pub config: ServiceConfig,
    /// What it has done.
    pub stats: Stats,
    /// Attributes that this library has no name for.
    pub unknown: Vec<DefaultNla>,
}
