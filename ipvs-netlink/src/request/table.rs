//! The verbs of a network namespace's IPVS as a whole.

use netlink_packet_core::DefaultNla;
use netlink_packet_generic::constants::{CTRL_ATTR_FAMILY_NAME, CTRL_CMD_GETFAMILY, GENL_ID_CTRL};

use super::Request;
use crate::answer::FamilyId;
use crate::convert::timeout_attributes;
use crate::uapi::*;
use crate::write::Sink;
use crate::{Info, Operation, Timeouts, Verb};

/// The version of IPVS and the size of its connection table (`IPVS_CMD_GET_INFO`).
///
/// ```no_run
/// use ipvs_netlink::{blocking::Client, request};
///
/// println!("IPVS {}", Client::connect()?.send(request::get_info())?.version);
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn get_info() -> Request<Info> {
    Request::new(Operation::of_all(Verb::GetInfo), IPVS_CMD_GET_INFO, |_| {})
}

/// The time-outs of connection entries (`IPVS_CMD_GET_CONFIG`).
///
/// ```no_run
/// use ipvs_netlink::{blocking::Client, request};
///
/// println!("UDP: {:?} s", Client::connect()?.send(request::get_timeouts())?.udp);
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn get_timeouts() -> Request<Timeouts> {
    Request::new(Operation::of_all(Verb::GetTimeouts), IPVS_CMD_GET_CONFIG, |_| {})
}

/// Change those time-outs of connection entries that are some and not 0 (`IPVS_CMD_SET_CONFIG`).
///
/// # Errors
/// [`Kernel`](crate::Error::Kernel) with EINVAL if one has no room in the kernel's clock (`i32::MAX` ticks: from 24
/// days on, with 1000 ticks a second).
///
/// ```no_run
/// use ipvs_netlink::{Timeouts, blocking::Client, request};
///
/// let udp = Timeouts { udp: Some(30), ..Timeouts::default() };
/// Client::connect()?.send(request::set_timeouts(&udp))?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn set_timeouts(timeouts: &Timeouts) -> Request<()> {
    Request::new(Operation::of_all(Verb::SetTimeouts), IPVS_CMD_SET_CONFIG, |bytes| {
        timeout_attributes(timeouts, bytes);
    })
}

/// Set all counters of the network namespace to 0 (`IPVS_CMD_ZERO` without a service).
///
/// ```no_run
/// use ipvs_netlink::{blocking::Client, request};
///
/// Client::connect()?.send(request::zero_all())?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn zero_all() -> Request<()> {
    Request::new(Operation::of_all(Verb::ZeroAll), IPVS_CMD_ZERO, |_| {})
}

/// Delete all services of the network namespace, whoever made them (`IPVS_CMD_FLUSH`).
///
/// ```no_run
/// use ipvs_netlink::{blocking::Client, request};
///
/// Client::connect()?.send(request::flush())?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn flush() -> Request<()> {
    Request::new(Operation::of_all(Verb::Flush), IPVS_CMD_FLUSH, |_| {})
}

/// The id that the kernel gave to the family; since 6.1 this loads `ip_vs`.
pub(crate) fn resolve_family() -> Request<FamilyId> {
    let name = DefaultNla::new(CTRL_ATTR_FAMILY_NAME, [IPVS_GENL_NAME.as_bytes(), b"\0"].concat());
    let request = Request::new(Operation::of_all(Verb::ResolveFamily), CTRL_CMD_GETFAMILY, |bytes| {
        bytes.put(name);
    });
    Request { fixed_family: Some(GENL_ID_CTRL), ..request }
}
