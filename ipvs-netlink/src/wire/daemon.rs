//! The attributes within `IPVS_CMD_ATTR_DAEMON` (`IPVS_DAEMON_ATTR_*`).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::attribute::attributes;
use super::form::{Form, Plain};
use crate::Name;
use crate::uapi::*;

attributes! {
    /// An attribute of a sync daemon; numbers are in native byte order on the wire.
    pub enum DaemonAttribute {
        /// `IPVS_DAEMON_ATTR_STATE`: `IP_VS_STATE_MASTER` or `IP_VS_STATE_BACKUP`.
        State(u32) = IPVS_DAEMON_ATTR_STATE as Plain,
        /// `IPVS_DAEMON_ATTR_MCAST_IFN`.
        Interface(Name) = IPVS_DAEMON_ATTR_MCAST_IFN as Plain,
        /// `IPVS_DAEMON_ATTR_SYNC_ID`.
        SyncId(u32) = IPVS_DAEMON_ATTR_SYNC_ID as Plain,
        /// `IPVS_DAEMON_ATTR_SYNC_MAXLEN`, in bytes, since 4.3.
        SyncMaxlen(u16) = IPVS_DAEMON_ATTR_SYNC_MAXLEN as Plain,
        /// `IPVS_DAEMON_ATTR_MCAST_GROUP`, since 4.3.
        Group(Ipv4Addr) = IPVS_DAEMON_ATTR_MCAST_GROUP as Plain,
        /// `IPVS_DAEMON_ATTR_MCAST_GROUP6`, since 4.3.
        Group6(Ipv6Addr) = IPVS_DAEMON_ATTR_MCAST_GROUP6 as Plain,
        /// `IPVS_DAEMON_ATTR_MCAST_PORT`, since 4.3. Native byte order, other than all other ports.
        Port(u16) = IPVS_DAEMON_ATTR_MCAST_PORT as Plain,
        /// `IPVS_DAEMON_ATTR_MCAST_TTL`, since 4.3.
        Ttl(u8) = IPVS_DAEMON_ATTR_MCAST_TTL as Plain,
    }
}
