//! The verbs of services.

use super::Request;
use crate::convert::{service_attributes, service_key_attributes};
use crate::uapi::*;
use crate::write::Bytes;
use crate::{Error, Operation, Result, Service, ServiceConfig, ServiceKey, Verb};

/// Create a service (`IPVS_CMD_NEW_SERVICE`).
///
/// The VIP need not be an address of this machine. The scheduler's module is loaded where there is one.
///
/// # Errors
/// [`AlreadyExists`](crate::Error::AlreadyExists) if the key is taken, with whatever configuration;
/// [`NoSuchScheduler`](crate::Error::NoSuchScheduler); [`Kernel`](crate::Error::Kernel) with EAFNOSUPPORT for IPv6 where
/// it is off. There is no such request ([`Netmask`](crate::Error::Netmask)) with a netmask of the other family or an IPv6
/// prefix length that is not 1 to 128.
///
/// ```no_run
/// use ipvs_netlink::{Flags, ServiceConfig, ServiceKey, blocking::Client, request};
///
/// let dns = ServiceKey::udp("192.0.2.53:53".parse().unwrap());
/// let flags = Flags::exactly(Flags::ONE_PACKET);
/// let config = ServiceConfig { flags, ..ServiceConfig::new("rr".parse().unwrap(), dns.family()) };
/// Client::connect()?.send(request::add_service(&dns, &config)?)?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn add_service(service: &ServiceKey, config: &ServiceConfig) -> Result<Request<()>> {
    whole(Verb::AddService, IPVS_CMD_NEW_SERVICE, service, config)
}

/// Change a service to `config`, all of it (`IPVS_CMD_SET_SERVICE`): without a persistence engine, one that is there
/// is removed. Of the flags only those in the mask change.
///
/// Another scheduler than before costs about 20 ms in which no packet is scheduled.
///
/// # Errors
/// [`NoSuchService`](crate::Error::NoSuchService), and those of [`add_service`] but the first.
///
/// ```no_run
/// use ipvs_netlink::{Flags, ServiceConfig, ServiceKey, blocking::Client, request};
///
/// // One-packet scheduling on; every other flag and all of the configuration stay as they are.
/// let dns = ServiceKey::udp("192.0.2.53:53".parse().unwrap());
/// let mut client = Client::connect()?;
/// let flags = Flags { value: Flags::ONE_PACKET, mask: Flags::ONE_PACKET };
/// let config = ServiceConfig { flags, ..client.get_service(&dns)?.config };
/// client.send(request::set_service(&dns, &config)?)?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn set_service(service: &ServiceKey, config: &ServiceConfig) -> Result<Request<()>> {
    whole(Verb::SetService, IPVS_CMD_SET_SERVICE, service, config)
}

/// Delete a service and its destinations (`IPVS_CMD_DEL_SERVICE`).
///
/// # Errors
/// [`NoSuchService`](crate::Error::NoSuchService).
///
/// ```no_run
/// use ipvs_netlink::{ServiceKey, blocking::Client, request};
///
/// let dns = ServiceKey::udp("192.0.2.53:53".parse().unwrap());
/// Client::connect()?.send(request::delete_service(&dns))?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn delete_service(service: &ServiceKey) -> Request<()> {
    Request::new(operation(Verb::DeleteService, service), IPVS_CMD_DEL_SERVICE, |bytes| key(bytes, service))
}

/// One service (`IPVS_CMD_GET_SERVICE`).
///
/// # Errors
/// [`NoSuchService`](crate::Error::NoSuchService).
///
/// ```no_run
/// use ipvs_netlink::{Family, ServiceKey, blocking::Client, request};
///
/// let marked = ServiceKey::FwMark { family: Family::Inet, mark: 7.try_into().unwrap() };
/// let service = Client::connect()?.send(request::get_service(&marked))?;
/// println!("{} packets", service.stats.packets_in);
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn get_service(service: &ServiceKey) -> Request<Service> {
    Request::new(operation(Verb::GetService, service), IPVS_CMD_GET_SERVICE, |bytes| key(bytes, service))
}

/// All services of the network namespace (`IPVS_CMD_GET_SERVICE` as a dump).
///
/// The kernel takes no snapshot, but goes on with each datagram at the number of the entries that it has told: one that
/// comes under the dump makes it tell another twice, which is [`Interrupted`](crate::Error::Interrupted), and one that
/// goes makes it leave another out, which cannot be seen. Of 5 000 services, one in ten dumps lacked one while another
/// client made and deleted a service every 20 ms. Make sure before a missing service counts ([`get_service`]).
///
/// ```no_run
/// use ipvs_netlink::{blocking::Client, request};
///
/// for service in Client::connect()?.send(request::list_services())? {
///     println!("{} {}", service.key, service.config.scheduler);
/// }
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn list_services() -> Request<Vec<Service>> {
    Request::dump(Operation::of_all(Verb::ListServices), IPVS_CMD_GET_SERVICE, |_| {})
}

/// Set the counters of a service and of its destinations to 0 (`IPVS_CMD_ZERO`).
///
/// # Errors
/// [`NoSuchService`](crate::Error::NoSuchService).
///
/// ```no_run
/// use ipvs_netlink::{ServiceKey, blocking::Client, request};
///
/// let dns = ServiceKey::udp("192.0.2.53:53".parse().unwrap());
/// Client::connect()?.send(request::zero_service(&dns))?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn zero_service(service: &ServiceKey) -> Request<()> {
    Request::new(operation(Verb::ZeroService, service), IPVS_CMD_ZERO, |bytes| key(bytes, service))
}

/// Appends what identifies a service.
pub(super) fn key(bytes: &mut Bytes, service: &ServiceKey) {
    bytes.nest(IPVS_CMD_ATTR_SERVICE, |bytes| {
        service_key_attributes(service, bytes);
    });
}

fn whole(verb: Verb, command: u8, service: &ServiceKey, config: &ServiceConfig) -> Result<Request<()>> {
    let (operation, netmask) = (operation(verb, service), config.netmask);
    // The kernel would not refuse all of them, but take /56 for the mask 56.0.0.0.
    if !netmask.fits(service.family()) {
        return Err(Error::Netmask { operation, netmask });
    }
    Ok(Request::new(operation, command, |bytes| {
        bytes.nest(IPVS_CMD_ATTR_SERVICE, |bytes| {
            service_attributes(service, config, bytes);
        });
    }))
}

fn operation(verb: Verb, service: &ServiceKey) -> Operation {
    Operation { service: Some(*service), ..Operation::of_all(verb) }
}
