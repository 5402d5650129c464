//! A destination (real server): its configuration apart from its key.

use std::num::NonZeroU16;

use netlink_packet_core::DefaultNla;

use crate::{DestinationKey, Stats};

/// How packets reach the server (`IPVS_DEST_ATTR_FWD_METHOD`, its low three bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Forward {
    /// NAT of address and port (`IP_VS_CONN_F_MASQ` = 0).
    Masquerade,
    /// To the director itself (`IP_VS_CONN_F_LOCALNODE` = 1).
    Local,
    /// In a tunnel (`IP_VS_CONN_F_TUNNEL` = 2).
    Tunnel(Tunnel),
    /// Direct routing: the packet unchanged, to the server's link address (`IP_VS_CONN_F_DROUTE` = 3).
    Direct,
    /// Past the cache (`IP_VS_CONN_F_BYPASS` = 4).
    Bypass,
    /// A number that nobody has named: the kernel stores it, and has no transmitter for it.
    Unnamed(UnnamedForward),
}

/// The numbers of [`Forward::Unnamed`]: there are three bits for it, and five names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum UnnamedForward {
    /// 5.
    Five = 5,
    /// 6.
    Six = 6,
    /// 7 (`IP_VS_CONN_F_FWD_MASK`).
    Seven = 7,
}

/// The tunnel of [`Forward::Tunnel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tunnel {
    /// The encapsulation (`IPVS_DEST_ATTR_TUN_TYPE`, since 5.2; before it is always IPIP).
    pub kind: TunnelKind,
    /// The checksum of the outer header (`IPVS_DEST_ATTR_TUN_FLAGS`, since 5.3).
    pub checksum: TunnelChecksum,
}

/// An encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TunnelKind {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port at the server.
        port: NonZeroU16,
    },
    /// Generic routing encapsulation.
    Gre,
    /// A type that this library has no name for, or one with a port that it cannot have.
    Other {
        /// `IPVS_DEST_ATTR_TUN_TYPE`.
        kind: u8,
        /// `IPVS_DEST_ATTR_TUN_PORT`.
        port: u16,
    },
}

/// The checksum of a tunnel's outer header (`IP_VS_TUNNEL_ENCAP_FLAG_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TunnelChecksum {
    /// No checksum (0).
    None,
    /// A checksum (1).
    Full,
    /// Remote checksum offload (2; GUE only).
    Remote,
    /// Bits that this library has no name for.
    Other(u16),
}

/// What a destination is to do: all that NEW_DEST and SET_DEST carry beside the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DestinationConfig {
    /// How packets reach it.
    pub forward: Forward,
    /// Its share under a weighted scheduler, 0 to `i32::MAX`; 0 gets nothing new.
    pub weight: u32,
    /// Above so many connections it gets no more (`IPVS_DEST_ATTR_U_THRESH`); 0 is no limit.
    /// Linux 6.12 and newer refuse more than `i32::MAX` (EINVAL).
    pub upper_threshold: u32,
    /// Below so many it gets some again (`IPVS_DEST_ATTR_L_THRESH`); 0 is three quarters of the upper one.
    pub lower_threshold: u32,
}

impl DestinationConfig {
    /// Without limits.
    pub fn new(forward: Forward, weight: u32) -> Self {
        Self { forward, weight, upper_threshold: 0, lower_threshold: 0 }
    }
}

/// A destination as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Destination {
    /// What identifies it within its service.
    pub key: DestinationKey,
    /// What it is to do.
    pub config: DestinationConfig,
    /// Connections in an active state; always about 0 under one-packet scheduling.
    pub active_connections: u32,
    /// Other connections; always about 0 under one-packet scheduling.
    pub inactive_connections: u32,
    /// Persistence templates.
    pub persistent_connections: u32,
    /// What it has done.
    pub stats: Stats,
    /// Attributes that this library has no name for.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub unknown: Vec<DefaultNla>,
}
