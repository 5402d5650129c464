//! The sync daemons: kernel threads that tell other directors of connection entries, or are told.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::DefaultNla;

use crate::Name;

/// What a sync daemon does, and what identifies it: a network namespace has at most one of each role
/// (`IPVS_DAEMON_ATTR_STATE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DaemonRole {
    /// It sends its connection entries (`IP_VS_STATE_MASTER` = 1).
    Master,
    /// It takes the entries that a master sends (`IP_VS_STATE_BACKUP` = 2).
    Backup,
    /// A number that this library has no name for.
    Other(u32),
}

impl fmt::Display for DaemonRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Backup => f.write_str("backup"),
            Self::Other(number) => write!(f, "state {number}"),
        }
    }
}

/// How a sync daemon sends or listens: all that NEW_DAEMON carries beside the role.
///
/// `sync_maxlen`, `group`, `port` and `ttl` are known to the kernel since 4.3; an older one ignores them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DaemonConfig {
    /// The interface that it sends and listens on (`IPVS_DAEMON_ATTR_MCAST_IFN`).
    pub interface: Name,
    /// The group of directors, 0 to 255 (`IPVS_DAEMON_ATTR_SYNC_ID`): a backup with 0 takes from all of them. The kernel
    /// takes and tells a larger one, too: a master sends its low eight bits, and a backup then hears nobody.
    pub sync_id: u32,
    /// The most bytes of payload in one datagram (`IPVS_DAEMON_ATTR_SYNC_MAXLEN`); 0 lets the kernel take what the
    /// interface's MTU allows. Of a backup it is at least 1024, and at most what UDP allows: the kernel takes the nearest.
    pub sync_maxlen: u16,
    /// The multicast group (`IPVS_DAEMON_ATTR_MCAST_GROUP` or `_GROUP6`); none is 224.0.0.81.
    pub group: Option<IpAddr>,
    /// The first of its UDP ports (`IPVS_DAEMON_ATTR_MCAST_PORT`); 0 is 8848. `net.ipv4.vs.sync_ports` says how many.
    pub port: u16,
    /// The time to live of what it sends (`IPVS_DAEMON_ATTR_MCAST_TTL`); 0 is 1.
    pub ttl: u8,
}

impl DaemonConfig {
    /// On `interface`, in group 0, and all else as the kernel has it.
    pub fn new(interface: Name) -> Self {
        Self { interface, sync_id: 0, sync_maxlen: 0, group: None, port: 0, ttl: 0 }
    }
}

/// A sync daemon as the kernel lists it: with the values in use where [`DaemonConfig`] left them to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Daemon {
    /// What identifies it.
    pub role: DaemonRole,
    /// How it was started.
    pub config: DaemonConfig,
    /// Attributes that this library has no name for.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub unknown: Vec<DefaultNla>,
}
