//! A destination between attributes and values.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use super::{from_union, need, to_union};
use crate::uapi::*;
use crate::wire::DestinationAttribute as Attr;
use crate::write::Sink;
use crate::{
    DecodeError, Destination, DestinationConfig, DestinationKey, Family, Forward, Tunnel, TunnelChecksum,
    TunnelKind, UnnamedForward,
};

/// What identifies a destination in a request.
#[inline]
pub(crate) fn destination_key_attributes(key: &DestinationKey, sink: &mut impl Sink<Attr>) {
    sink.put(Attr::Family(Family::of(key.0.ip()).into()));
    sink.put(Attr::Address(to_union(key.0.ip())));
    sink.put(Attr::Port(key.0.port()));
}

/// All that the kernel needs to create or to change a destination; a SET has no partial form.
#[inline]
pub(crate) fn destination_attributes(
    key: &DestinationKey,
    config: &DestinationConfig,
    sink: &mut impl Sink<Attr>,
) {
    destination_key_attributes(key, sink);
    sink.put(Attr::ForwardingMethod(match config.forward {
        Forward::Masquerade => IP_VS_CONN_F_MASQ,
        Forward::Local => IP_VS_CONN_F_LOCALNODE,
        Forward::Tunnel(_) => IP_VS_CONN_F_TUNNEL,
        Forward::Direct => IP_VS_CONN_F_DROUTE,
        Forward::Bypass => IP_VS_CONN_F_BYPASS,
        Forward::Unnamed(number) => number as u32,
    }));
    sink.put(Attr::Weight(config.weight));
    sink.put(Attr::UpperThreshold(config.upper_threshold));
    sink.put(Attr::LowerThreshold(config.lower_threshold));
    if let Forward::Tunnel(tunnel) = config.forward {
        tunnel_attributes(tunnel).into_iter().for_each(|attribute| sink.put(attribute));
    }
}

fn tunnel_attributes(tunnel: Tunnel) -> [Attr; 3] {
    let (kind, port) = match tunnel.kind {
        TunnelKind::Ipip => (IP_VS_CONN_F_TUNNEL_TYPE_IPIP, 0),
        TunnelKind::Gue { port } => (IP_VS_CONN_F_TUNNEL_TYPE_GUE, port.get()),
        TunnelKind::Gre => (IP_VS_CONN_F_TUNNEL_TYPE_GRE, 0),
        TunnelKind::Other { kind, port } => (kind, port),
    };
    let flags = match tunnel.checksum {
        TunnelChecksum::None => IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM,
        TunnelChecksum::Full => IP_VS_TUNNEL_ENCAP_FLAG_CSUM,
        TunnelChecksum::Remote => IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM,
        TunnelChecksum::Other(bits) => bits,
    };
    [Attr::TunnelType(kind), Attr::TunnelPort(port), Attr::TunnelFlags(flags)]
}

/// A kernel that sends no tunnel attributes (before 5.2) has plain IPIP, which is 0, 0, 0.
fn tunnel(kind: u8, port: u16, flags: u16) -> Tunnel {
    Tunnel {
        kind: match (kind, NonZeroU16::new(port)) {
            (IP_VS_CONN_F_TUNNEL_TYPE_IPIP, None) => TunnelKind::Ipip,
            (IP_VS_CONN_F_TUNNEL_TYPE_GUE, Some(port)) => TunnelKind::Gue { port },
            (IP_VS_CONN_F_TUNNEL_TYPE_GRE, None) => TunnelKind::Gre,
            _ => TunnelKind::Other { kind, port },
        },
        checksum: match flags {
            IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM => TunnelChecksum::None,
            IP_VS_TUNNEL_ENCAP_FLAG_CSUM => TunnelChecksum::Full,
            IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM => TunnelChecksum::Remote,
            bits => TunnelChecksum::Other(bits),
        },
    }
}

impl From<Destination> for Vec<Attr> {
    /// As the kernel lists it, the unknown attributes last.
    fn from(destination: Destination) -> Self {
        let mut attributes = Vec::new();
        destination_attributes(&destination.key, &destination.config, &mut attributes);
        attributes.extend([
            Attr::ActiveConnections(destination.active_connections),
            Attr::InactiveConnections(destination.inactive_connections),
            Attr::PersistentConnections(destination.persistent_connections),
            Attr::Stats64(destination.stats),
        ]);
        attributes.extend(destination.unknown.into_iter().map(Attr::Other));
        attributes
    }
}

impl TryFrom<Vec<Attr>> for Destination {
    type Error = DecodeError;

    fn try_from(attributes: Vec<Attr>) -> Result<Self, DecodeError> {
        destination(attributes.into_iter().map(Ok))
    }
}

/// The destination that has these attributes, read one by one, without a list in between.
#[inline]
pub(crate) fn destination(
    attributes: impl Iterator<Item = Result<Attr, netlink_packet_core::DecodeError>>,
) -> Result<Destination, DecodeError> {
    let (mut family, mut address, mut port) = (None, None, None);
    let (mut forward, mut weight, mut upper, mut lower) = (None, None, None, None);
    let (mut tunnel_type, mut tunnel_port, mut tunnel_flags) = (0, 0, 0);
    let (mut active, mut inactive, mut persistent) = (None, None, None);
    let (mut stats, mut stats64, mut unknown) = (None, None, Vec::new());
    for attribute in attributes {
        match attribute? {
            Attr::Family(value) => family = Some(Family::try_from(value)?),
            Attr::Address(value) => address = Some(value),
            Attr::Port(value) => port = Some(value),
            Attr::ForwardingMethod(value) => forward = Some(value),
            Attr::Weight(value) => weight = Some(value),
            Attr::UpperThreshold(value) => upper = Some(value),
            Attr::LowerThreshold(value) => lower = Some(value),
            Attr::ActiveConnections(value) => active = Some(value),
            Attr::InactiveConnections(value) => inactive = Some(value),
            Attr::PersistentConnections(value) => persistent = Some(value),
            Attr::Stats(value) => stats = Some(value),
            Attr::Stats64(value) => stats64 = Some(value),
            Attr::TunnelType(value) => tunnel_type = value,
            Attr::TunnelPort(value) => tunnel_port = value,
            Attr::TunnelFlags(value) => tunnel_flags = value,
            Attr::Other(nla) => unknown.push(nla),
        }
    }

    let family = need(family, "IPVS_DEST_ATTR_ADDR_FAMILY")?;
    let ip = from_union(family, need(address, "IPVS_DEST_ATTR_ADDR")?);
    let forward = match need(forward, "IPVS_DEST_ATTR_FWD_METHOD")? {
        IP_VS_CONN_F_MASQ => Forward::Masquerade,
        IP_VS_CONN_F_LOCALNODE => Forward::Local,
        IP_VS_CONN_F_TUNNEL => Forward::Tunnel(tunnel(tunnel_type, tunnel_port, tunnel_flags)),
        IP_VS_CONN_F_DROUTE => Forward::Direct,
        IP_VS_CONN_F_BYPASS => Forward::Bypass,
        5 => Forward::Unnamed(UnnamedForward::Five),
        6 => Forward::Unnamed(UnnamedForward::Six),
        7 => Forward::Unnamed(UnnamedForward::Seven),
        number => {
            return Err(DecodeError::Malformed(format!(
                "{number} is no forwarding method: it has three bits"
            )));
        }
    };
    Ok(Destination {
        key: DestinationKey(SocketAddr::new(ip, need(port, "IPVS_DEST_ATTR_PORT")?)),
        config: DestinationConfig {
            forward,
            weight: need(weight, "IPVS_DEST_ATTR_WEIGHT")?,
            upper_threshold: need(upper, "IPVS_DEST_ATTR_U_THRESH")?,
            lower_threshold: need(lower, "IPVS_DEST_ATTR_L_THRESH")?,
        },
        active_connections: need(active, "IPVS_DEST_ATTR_ACTIVE_CONNS")?,
        inactive_connections: need(inactive, "IPVS_DEST_ATTR_INACT_CONNS")?,
        persistent_connections: need(persistent, "IPVS_DEST_ATTR_PERSIST_CONNS")?,
        stats: need(stats64.or(stats), "IPVS_DEST_ATTR_STATS64")?,
        unknown,
    })
}
