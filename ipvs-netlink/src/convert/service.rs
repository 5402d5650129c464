//! A service between attributes and values.

use std::net::SocketAddr;

use super::{from_union, need, to_union};
use crate::wire::ServiceAttribute as Attr;
use crate::{
    DecodeError, Family, Flags, InvalidName, Netmask, Protocol, SchedulerName, Service, ServiceConfig,
    ServiceKey, Stats,
};

/// What identifies a service in a request.
pub(crate) fn service_key_attributes(key: &ServiceKey) -> Vec<Attr> {
    let family = Attr::Family(key.family().into());
    match *key {
        ServiceKey::Address { protocol, address } => vec![
            family,
            Attr::Protocol(protocol.0),
            Attr::Address(to_union(address.ip())),
            Attr::Port(address.port()),
        ],
        ServiceKey::FwMark { mark, .. } => vec![family, Attr::FwMark(mark)],
    }
}

/// All that the kernel needs to create or to change a service; a SET has no partial form.
pub(crate) fn service_attributes(key: &ServiceKey, config: &ServiceConfig) -> Vec<Attr> {
    let mut attributes = service_key_attributes(key);
    attributes.extend([
        Attr::SchedulerName(config.scheduler.to_string()),
        Attr::Flags(config.flags),
        Attr::Timeout(config.timeout),
        Attr::Netmask(match config.netmask {
            Netmask::V4(mask) => mask,
            Netmask::V6(prefix_length) => prefix_length.to_ne_bytes(),
        }),
    ]);
    attributes.extend(config.persistence_engine.clone().map(Attr::PersistenceEngine));
    attributes
}

impl From<Service> for Vec<Attr> {
    /// As the kernel lists it, the unknown attributes last.
    fn from(service: Service) -> Self {
        let mut attributes = service_attributes(&service.key, &service.config);
        attributes.push(Attr::Stats64(service.stats.into()));
        attributes.extend(service.unknown.into_iter().map(Attr::Other));
        attributes
    }
}

impl TryFrom<Vec<Attr>> for Service {
    type Error = DecodeError;

    fn try_from(attributes: Vec<Attr>) -> Result<Self, DecodeError> {
        let (mut family, mut protocol, mut address, mut port, mut mark) = (None, None, None, None, None);
        let (mut scheduler, mut flags, mut timeout, mut netmask) = (None, None, None, None);
        let (mut engine, mut stats, mut stats64, mut unknown) = (None, None, None, Vec::new());
        for attribute in attributes {
            match attribute {
                Attr::Family(value) => family = Some(Family::try_from(value)?),
                Attr::Protocol(value) => protocol = Some(Protocol(value)),
                Attr::Address(value) => address = Some(value),
                Attr::Port(value) => port = Some(value),
                Attr::FwMark(value) => mark = Some(value),
                Attr::SchedulerName(value) => scheduler = Some(value),
                Attr::Flags(value) => flags = Some(value),
                Attr::Timeout(value) => timeout = Some(value),
                Attr::Netmask(value) => netmask = Some(value),
                Attr::PersistenceEngine(value) => engine = Some(value),
                Attr::Stats(value) => stats = Some(Stats::from(value)),
                Attr::Stats64(value) => stats64 = Some(Stats::from(value)),
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
        let scheduler: Result<SchedulerName, InvalidName> =
            need(scheduler, "IPVS_SVC_ATTR_SCHED_NAME")?.try_into();
        let flags: Flags = need(flags, "IPVS_SVC_ATTR_FLAGS")?;
        let netmask = need(netmask, "IPVS_SVC_ATTR_NETMASK")?;
        let config = ServiceConfig {
            scheduler: scheduler.map_err(|error| DecodeError::Malformed(error.to_string()))?,
            flags,
            timeout: need(timeout, "IPVS_SVC_ATTR_TIMEOUT")?,
            netmask: match family {
                Family::Inet => Netmask::V4(netmask),
                Family::Inet6 => Netmask::V6(u32::from_ne_bytes(netmask)),
            },
            persistence_engine: engine,
        };
        let stats = need(stats64.or(stats), "IPVS_SVC_ATTR_STATS64")?;
        Ok(Self { key, config, stats, unknown })
    }
}
