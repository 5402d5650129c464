//! A sync daemon between attributes and values.

use std::net::IpAddr;

use super::need;
use crate::uapi::*;
use crate::wire::DaemonAttribute as Attr;
use crate::write::Sink;
use crate::{Daemon, DaemonConfig, DaemonRole, DecodeError};

impl From<DaemonRole> for u32 {
    fn from(role: DaemonRole) -> Self {
        match role {
            DaemonRole::Master => IP_VS_STATE_MASTER,
            DaemonRole::Backup => IP_VS_STATE_BACKUP,
            DaemonRole::Other(number) => number,
        }
    }
}

impl From<u32> for DaemonRole {
    fn from(number: u32) -> Self {
        match number {
            IP_VS_STATE_MASTER => Self::Master,
            IP_VS_STATE_BACKUP => Self::Backup,
            other => Self::Other(other),
        }
    }
}

/// All that the kernel needs to start a sync daemon; what is left to it is left out.
pub(crate) fn daemon_attributes(role: DaemonRole, config: &DaemonConfig, sink: &mut impl Sink<Attr>) {
    sink.put(Attr::State(role.into()));
    sink.put(Attr::Interface(config.interface.clone()));
    sink.put(Attr::SyncId(config.sync_id));
    if config.sync_maxlen != 0 {
        sink.put(Attr::SyncMaxlen(config.sync_maxlen));
    }
    match config.group {
        Some(IpAddr::V4(group)) => sink.put(Attr::Group(group)),
        Some(IpAddr::V6(group)) => sink.put(Attr::Group6(group)),
        None => {}
    }
    if config.port != 0 {
        sink.put(Attr::Port(config.port));
    }
    if config.ttl != 0 {
        sink.put(Attr::Ttl(config.ttl));
    }
}

impl From<Daemon> for Vec<Attr> {
    /// As the kernel lists it, the unknown attributes last.
    fn from(daemon: Daemon) -> Self {
        let mut attributes = Vec::new();
        daemon_attributes(daemon.role, &daemon.config, &mut attributes);
        attributes.extend(daemon.unknown.into_iter().map(Attr::Other));
        attributes
    }
}

impl TryFrom<Vec<Attr>> for Daemon {
    type Error = DecodeError;

    fn try_from(attributes: Vec<Attr>) -> Result<Self, DecodeError> {
        daemon(attributes.into_iter().map(Ok))
    }
}

/// The sync daemon that has these attributes, read one by one, without a list in between.
#[inline]
pub(crate) fn daemon(
    attributes: impl Iterator<Item = Result<Attr, netlink_packet_core::DecodeError>>,
) -> Result<Daemon, DecodeError> {
    let (mut role, mut interface, mut sync_id, mut group) = (None, None, None, None);
    let (mut sync_maxlen, mut port, mut ttl, mut unknown) = (0, 0, 0, Vec::new());
    for attribute in attributes {
        match attribute? {
            Attr::State(value) => role = Some(value.into()),
            Attr::Interface(value) => interface = Some(value),
            Attr::SyncId(value) => sync_id = Some(value),
            Attr::SyncMaxlen(value) => sync_maxlen = value,
            Attr::Group(value) => group = Some(value.into()),
            Attr::Group6(value) => group = Some(value.into()),
            Attr::Port(value) => port = value,
            Attr::Ttl(value) => ttl = value,
            Attr::Other(nla) => unknown.push(nla),
        }
    }
    Ok(Daemon {
        role: need(role, "IPVS_DAEMON_ATTR_STATE")?,
        config: DaemonConfig {
            interface: need(interface, "IPVS_DAEMON_ATTR_MCAST_IFN")?,
            sync_id: need(sync_id, "IPVS_DAEMON_ATTR_SYNC_ID")?,
            sync_maxlen,
            group,
            port,
            ttl,
        },
        unknown,
    })
}
