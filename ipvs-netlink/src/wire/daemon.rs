//! The attributes within `IPVS_CMD_ATTR_DAEMON` (`IPVS_DAEMON_ATTR_*`).

use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DecodeError, DefaultNla, ErrorContext, Nla, NlaBuffer, Parseable};

use super::{emit_name, parse_bytes, parse_name, parse_u8, parse_u16, parse_u32};
use crate::Name;
use crate::uapi::*;

/// An attribute of a sync daemon; numbers are in native byte order on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DaemonAttribute {
    /// `IPVS_DAEMON_ATTR_STATE`: `IP_VS_STATE_MASTER` or `IP_VS_STATE_BACKUP`.
    State(u32),
    /// `IPVS_DAEMON_ATTR_MCAST_IFN`.
    Interface(Name),
    /// `IPVS_DAEMON_ATTR_SYNC_ID`.
    SyncId(u32),
    /// `IPVS_DAEMON_ATTR_SYNC_MAXLEN`, in bytes, since 4.3.
    SyncMaxlen(u16),
    /// `IPVS_DAEMON_ATTR_MCAST_GROUP`, since 4.3.
    Group(Ipv4Addr),
    /// `IPVS_DAEMON_ATTR_MCAST_GROUP6`, since 4.3.
    Group6(Ipv6Addr),
    /// `IPVS_DAEMON_ATTR_MCAST_PORT`, since 4.3. Native byte order, other than all other ports.
    Port(u16),
    /// `IPVS_DAEMON_ATTR_MCAST_TTL`, since 4.3.
    Ttl(u8),
    /// Whatever this library has no name for.
    Other(DefaultNla),
}

impl Nla for DaemonAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::State(_) | Self::SyncId(_) | Self::Group(_) => 4,
            Self::Interface(name) => name.as_bytes().len() + 1,
            Self::SyncMaxlen(_) | Self::Port(_) => 2,
            Self::Group6(_) => 16,
            Self::Ttl(_) => 1,
            Self::Other(nla) => nla.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::State(_) => IPVS_DAEMON_ATTR_STATE,
            Self::Interface(_) => IPVS_DAEMON_ATTR_MCAST_IFN,
            Self::SyncId(_) => IPVS_DAEMON_ATTR_SYNC_ID,
            Self::SyncMaxlen(_) => IPVS_DAEMON_ATTR_SYNC_MAXLEN,
            Self::Group(_) => IPVS_DAEMON_ATTR_MCAST_GROUP,
            Self::Group6(_) => IPVS_DAEMON_ATTR_MCAST_GROUP6,
            Self::Port(_) => IPVS_DAEMON_ATTR_MCAST_PORT,
            Self::Ttl(_) => IPVS_DAEMON_ATTR_MCAST_TTL,
            Self::Other(nla) => nla.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::State(value) | Self::SyncId(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Interface(name) => emit_name(buffer, name),
            Self::SyncMaxlen(value) | Self::Port(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Group(address) => buffer.copy_from_slice(&address.octets()),
            Self::Group6(address) => buffer.copy_from_slice(&address.octets()),
            Self::Ttl(value) => buffer[0] = *value,
            Self::Other(nla) => nla.emit_value(buffer),
        }
    }
}

impl<'a> Parseable<NlaBuffer<&'a [u8]>> for DaemonAttribute {
    fn parse(nla: &NlaBuffer<&'a [u8]>) -> Result<Self, DecodeError> {
        let value = nla.value();
        Ok(match nla.kind() {
            IPVS_DAEMON_ATTR_STATE => Self::State(parse_u32(value).context("IPVS_DAEMON_ATTR_STATE")?),
            IPVS_DAEMON_ATTR_MCAST_IFN => {
                Self::Interface(parse_name(value).context("IPVS_DAEMON_ATTR_MCAST_IFN")?)
            }
            IPVS_DAEMON_ATTR_SYNC_ID => Self::SyncId(parse_u32(value).context("IPVS_DAEMON_ATTR_SYNC_ID")?),
            IPVS_DAEMON_ATTR_SYNC_MAXLEN => {
                Self::SyncMaxlen(parse_u16(value).context("IPVS_DAEMON_ATTR_SYNC_MAXLEN")?)
            }
            IPVS_DAEMON_ATTR_MCAST_GROUP => {
                Self::Group(parse_bytes::<4>(value).context("IPVS_DAEMON_ATTR_MCAST_GROUP")?.into())
            }
            IPVS_DAEMON_ATTR_MCAST_GROUP6 => {
                Self::Group6(parse_bytes::<16>(value).context("IPVS_DAEMON_ATTR_MCAST_GROUP6")?.into())
            }
            IPVS_DAEMON_ATTR_MCAST_PORT => {
                Self::Port(parse_u16(value).context("IPVS_DAEMON_ATTR_MCAST_PORT")?)
            }
            IPVS_DAEMON_ATTR_MCAST_TTL => Self::Ttl(parse_u8(value).context("IPVS_DAEMON_ATTR_MCAST_TTL")?),
            _ => Self::Other(DefaultNla::parse(nla)?),
        })
    }
}
