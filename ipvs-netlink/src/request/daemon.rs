//! The verbs of the sync daemons.

use super::Request;
use crate::convert::daemon_attributes;
use crate::uapi::*;
use crate::wire::DaemonAttribute;
use crate::write::Sink;
use crate::{Daemon, DaemonConfig, DaemonRole, Operation, Verb};

/// Start a sync daemon (`IPVS_CMD_NEW_DAEMON`).
///
/// # Errors
/// [`AlreadyExists`](crate::Error::AlreadyExists) if one of this role runs; [`Kernel`](crate::Error::Kernel) with
/// ENODEV if there is no such interface, and with EINVAL for a group that is not multicast, and while there are
/// destinations of another family than their service.
///
/// ```no_run
/// use ipvs_netlink::{DaemonConfig, DaemonRole, blocking::Client, request};
///
/// let config = DaemonConfig { sync_id: 7, ..DaemonConfig::new("eth0".parse().unwrap()) };
/// Client::connect()?.send(request::start_daemon(DaemonRole::Master, &config))?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn start_daemon(role: DaemonRole, config: &DaemonConfig) -> Request<()> {
    Request::new(operation(Verb::StartDaemon, role), IPVS_CMD_NEW_DAEMON, |bytes| {
        bytes.nest(IPVS_CMD_ATTR_DAEMON, |bytes| {
            daemon_attributes(role, config, bytes);
        });
    })
}

/// Stop a sync daemon (`IPVS_CMD_DEL_DAEMON`).
///
/// # Errors
/// [`NoSuchDaemon`](crate::Error::NoSuchDaemon). [`Timeout`](crate::Error::Timeout) if it was started so shortly before
/// that it has not run yet: it is stopped, but the kernel (EINTR) does not answer.
///
/// ```no_run
/// use ipvs_netlink::{DaemonRole, blocking::Client, request};
///
/// Client::connect()?.send(request::stop_daemon(DaemonRole::Backup))?;
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn stop_daemon(role: DaemonRole) -> Request<()> {
    Request::new(operation(Verb::StopDaemon, role), IPVS_CMD_DEL_DAEMON, |bytes| {
        bytes.nest(IPVS_CMD_ATTR_DAEMON, |bytes| {
            bytes.put(DaemonAttribute::State(role.into()));
        });
    })
}

/// The sync daemons that run: none, one or both (`IPVS_CMD_GET_DAEMON`, always a dump).
///
/// ```no_run
/// use ipvs_netlink::{blocking::Client, request};
///
/// for daemon in Client::connect()?.send(request::list_daemons())? {
///     println!("{} on {}", daemon.role, daemon.config.interface);
/// }
/// # Ok::<(), ipvs_netlink::Error>(())
/// ```
pub fn list_daemons() -> Request<Vec<Daemon>> {
    Request::dump(Operation::of_all(Verb::ListDaemons), IPVS_CMD_GET_DAEMON, |_| {})
}

fn operation(verb: Verb, role: DaemonRole) -> Operation {
    Operation { daemon: Some(role), ..Operation::of_all(verb) }
}
