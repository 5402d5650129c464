//! A service between attributes and values.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::{from_union, need, to_union};
use crate::wire::ServiceAttribute as Attr;
use crate::write::Sink;
use crate::{DecodeError, Family, Netmask, Protocol, Service, ServiceConfig, ServiceKey};

/// What identifies a service in a request.
#[inline]
pub(crate) fn service_key_attributes(key: &ServiceKey, sink: &mut impl Sink<Attr>) {
    sink.put(Attr::Family(key.family().into()));
    match *key {
        ServiceKey::Address { protocol, address } => {
            sink.put(Attr::Protocol(protocol.0));
            sink.put(Attr::Address(to_union(address.ip())));
            sink.put(Attr::Port(address.port()));
        }
        ServiceKey::FwMark { mark, .. } => sink.put(Attr::FwMark(mark.get())),
    }
}

/// All that the kernel needs to create or to change a service; a SET has no partial form.
#[inline]
pub(crate) fn service_attributes(key: &ServiceKey, config: &ServiceConfig, sink: &mut impl Sink<Attr>) {
    service_key_attributes(key, sink);
    sink.put(Attr::SchedulerName(config.scheduler.clone()));
    sink.put(Attr::Flags(config.flags));
    sink.put(Attr::Timeout(config.timeout));
    sink.put(Attr::Netmask(match config.netmask {
        Netmask::V4(mask) => mask,
        Netmask::V6(length) => length.to_ne_bytes(),
    }));
    if let Some(engine) = &config.persistence_engine {
        sink.put(Attr::PersistenceEngine(engine.clone()));
    }
}

impl From<Service> for Vec<Attr> {
    /// As the kernel lists it, the unknown attributes last.
    fn from(service: Service) -> Self {
        let mut attributes = Vec::new();
        service_attributes(&service.key, &service.config, &mut attributes);
        attributes.push(Attr::Stats64(service.stats));
        attributes.extend(service.unknown.into_iter().map(Attr::Other));
        attributes
    }
}

impl TryFrom<Vec<Attr>> for Service {
    type Error = DecodeError;

    fn try_from(attributes: Vec<Attr>) -> Result<Self, DecodeError> {
        service(attributes.into_iter().map(Ok))
    }
}

/// The service that has these attributes, read one by one, without a list in between.
#[inline]
pub(crate) fn service(
    attributes: impl Iterator<Item = Result<Attr, netlink_packet_core::DecodeError>>,
) -> Result<Service, DecodeError> {
    let (mut family, mut protocol, mut address, mut port, mut mark) = (None, None, None, None, None);
    let (mut scheduler, mut flags, mut timeout, mut netmask) = (None, None, None, None);
    let (mut engine, mut stats, mut stats64, mut unknown) = (None, None, None, Vec::new());
    for attribute in attributes {
        match attribute? {
            Attr::Family(value) => family = Some(Family::try_from(value)?),
            Attr::Protocol(value) => protocol = Some(Protocol(value)),
            Attr::Address(value) => address = Some(value),
            Attr::Port(value) => port = Some(value),
            Attr::FwMark(value) => mark = NonZeroU32::new(value),
            Attr::SchedulerName(value) => scheduler = Some(value),
            Attr::Flags(value) => flags = Some(value),
            Attr::Timeout(value) => timeout = Some(value),
            Attr::Netmask(value) => netmask = Some(value),
            Attr::PersistenceEngine(value) => engine = Some(value),
            Attr::Stats(value) => stats = Some(value),
            Attr::Stats64(value) => stats64 = Some(value),
            Attr::Other(nla) => unknown.push(nla),
        }
    }

    let family = need(family, "IPVS_SVC_ATTR_AF")?;
    let key = match mark {
        Some(mark) => ServiceKey::FwMark { family, mark },
        None => {
            let ip = from_union(family, need(address, "IPVS_SVC_ATTR_ADDR")?);
            ServiceKey::Address {
                protocol: need(protocol, "IPVS_SVC_ATTR_PROTOCOL")?,
                address: SocketAddr::new(ip, need(port, "IPVS_SVC_ATTR_PORT")?),
            }
        }
    };
    let netmask = need(netmask, "IPVS_SVC_ATTR_NETMASK")?;
    let config = ServiceConfig {
        scheduler: need(scheduler, "IPVS_SVC_ATTR_SCHED_NAME")?,
        flags: need(flags, "IPVS_SVC_ATTR_FLAGS")?,
        timeout: need(timeout, "IPVS_SVC_ATTR_TIMEOUT")?,
        netmask: match family {
            Family::Inet => Netmask::V4(netmask),
            Family::Inet6 => Netmask::V6(u32::from_ne_bytes(netmask)),
        },
        persistence_engine: engine,
    };
    let stats = need(stats64.or(stats), "IPVS_SVC_ATTR_STATS64")?;
    Ok(Service { key, config, stats, unknown })
}
