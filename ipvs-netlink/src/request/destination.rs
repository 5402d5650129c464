//! The verbs of destinations.

use super::{Request, service};
use crate::convert::{destination_attributes, destination_key_attributes};
use crate::uapi::*;
use crate::write::Bytes;
use crate::{Destination, DestinationConfig, DestinationKey, Operation, ServiceKey, Verb};

/// Add a destination to a service (`IPVS_CMD_NEW_DEST`).
///
/// # Errors
/// [`AlreadyExists`](crate::Error::AlreadyExists) if the service has it, with whatever configuration;
/// [`NoSuchService`](crate::Error::NoSuchService); [`Kernel`](crate::Error::Kernel) with EINVAL for an address that is
/// not unicast, for a GUE tunnel to port 0, and for a destination of the other family without a tunnel or beside a
/// sync daemon; with ERANGE for a weight above `i32::MAX` and for thresholds in the wrong order.
///
/// ```no_run
/// use ipvs_netlink::{DestinationConfig, DestinationKey, Forward, ServiceKey, blocking::Client, request};
///
/// let dns = ServiceKey::udp("192.0.2.53:53".parse().unwrap());
/// let server = DestinationKey("10.0.0.1:53".parse().unwrap());
/// let config = DestinationConfig::new(Forward::Masquerade, 1);
/// Client::connect()?.send(request::add_destination(&dns, &server, &config))?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn add_destination(
    service: &ServiceKey,
    destination: &DestinationKey,
    config: &DestinationConfig,
) -> Request<()> {
    request(Verb::AddDestination, IPVS_CMD_NEW_DEST, service, destination, |bytes| {
        destination_attributes(destination, config, bytes);
    })
}

/// Change a destination to `config`, all of it (`IPVS_CMD_SET_DEST`).
///
/// The scheduler `wrr` begins its round again with each such change.
///
/// # Errors
/// [`NoSuchDestination`](crate::Error::NoSuchDestination), and those of [`add_destination`] but the first.
///
/// ```no_run
/// use ipvs_netlink::{
///     DestinationConfig, DestinationKey, Forward, ServiceKey, Tunnel, TunnelChecksum, TunnelKind,
///     blocking::Client, request,
/// };
///
/// let dns = ServiceKey::udp("192.0.2.53:53".parse().unwrap());
/// let server = DestinationKey("10.0.0.1:53".parse().unwrap());
/// let tunnel = Tunnel { kind: TunnelKind::Gue { port: 6080.try_into().unwrap() }, checksum: TunnelChecksum::Full };
/// let config = DestinationConfig::new(Forward::Tunnel(tunnel), 0);
/// Client::connect()?.send(request::set_destination(&dns, &server, &config))?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn set_destination(
    service: &ServiceKey,
    destination: &DestinationKey,
    config: &DestinationConfig,
) -> Request<()> {
    request(Verb::SetDestination, IPVS_CMD_SET_DEST, service, destination, |bytes| {
        destination_attributes(destination, config, bytes);
    })
}

/// Take a destination from a service (`IPVS_CMD_DEL_DEST`).
///
/// Unless `net.ipv4.vs.expire_nodest_conn` is 1, packets of its connection entries are dropped from then on.
///
/// # Errors
/// [`NoSuchDestination`](crate::Error::NoSuchDestination), [`NoSuchService`](crate::Error::NoSuchService).
///
/// ```no_run
/// use ipvs_netlink::{DestinationKey, ServiceKey, blocking::Client, request};
///
/// let dns = ServiceKey::udp("192.0.2.53:53".parse().unwrap());
/// let server = DestinationKey("10.0.0.1:53".parse().unwrap());
/// Client::connect()?.send(request::delete_destination(&dns, &server))?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn delete_destination(service: &ServiceKey, destination: &DestinationKey) -> Request<()> {
    request(Verb::DeleteDestination, IPVS_CMD_DEL_DEST, service, destination, |bytes| {
        destination_key_attributes(destination, bytes);
    })
}

/// The destinations of a service, as the kernel has them: the newest first (`IPVS_CMD_GET_DEST`, always a dump).
///
/// The kernel takes no snapshot: as in [`list_services`](super::list_services), a destination may be missing because
/// another one went under the dump, if that has more than one datagram, which is some ten destinations.
///
/// The kernel gives the same empty answer for a service that does not exist; the clients ask again for the service
/// itself when the answer is empty.
///
/// # Errors
/// From the clients, [`NoSuchService`](crate::Error::NoSuchService).
///
/// ```no_run
/// use ipvs_netlink::{ServiceKey, blocking::Client, request};
///
/// let dns = ServiceKey::udp("192.0.2.53:53".parse().unwrap());
/// for server in Client::connect()?.send(request::list_destinations(&dns))? {
///     println!("{} weight {}", server.key, server.config.weight);
/// }
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn list_destinations(service: &ServiceKey) -> Request<Vec<Destination>> {
    let operation = Operation { service: Some(*service), ..Operation::of_all(Verb::ListDestinations) };
    Request::dump(operation, IPVS_CMD_GET_DEST, |bytes| service::key(bytes, service))
}

fn request(
    verb: Verb,
    command: u8,
    service: &ServiceKey,
    destination: &DestinationKey,
    fill: impl FnOnce(&mut Bytes),
) -> Request<()> {
    let operation =
        Operation { service: Some(*service), destination: Some(*destination), ..Operation::of_all(verb) };
    Request::new(operation, command, |bytes| {
        service::key(bytes, service);
        bytes.nest(IPVS_CMD_ATTR_DEST, fill);
    })
}
