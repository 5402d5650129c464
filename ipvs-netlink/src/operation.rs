//! What was asked of the kernel: the verb and the objects, as errors and logs name them.

use std::fmt;

use crate::{DaemonRole, DestinationKey, ServiceKey};

/// A verb of the IPVS API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Look up the id of the generic netlink family (`CTRL_CMD_GETFAMILY`).
    ResolveFamily,
    /// `IPVS_CMD_NEW_SERVICE`.
    AddService,
    /// `IPVS_CMD_SET_SERVICE`.
    SetService,
    /// `IPVS_CMD_DEL_SERVICE`.
    DeleteService,
    /// `IPVS_CMD_GET_SERVICE` for one service.
    GetService,
    /// `IPVS_CMD_GET_SERVICE` as a dump.
    ListServices,
    /// `IPVS_CMD_NEW_DEST`.
    AddDestination,
    /// `IPVS_CMD_SET_DEST`.
    SetDestination,
    /// `IPVS_CMD_DEL_DEST`.
    DeleteDestination,
    /// `IPVS_CMD_GET_DEST`, always a dump.
    ListDestinations,
    /// `IPVS_CMD_ZERO` for one service.
    ZeroService,
    /// `IPVS_CMD_ZERO` for all.
    ZeroAll,
    /// `IPVS_CMD_FLUSH`.
    Flush,
    /// `IPVS_CMD_GET_CONFIG`.
    GetTimeouts,
    /// `IPVS_CMD_SET_CONFIG`.
    SetTimeouts,
    /// `IPVS_CMD_NEW_DAEMON`.
    StartDaemon,
    /// `IPVS_CMD_DEL_DAEMON`.
    StopDaemon,
    /// `IPVS_CMD_GET_DAEMON`, always a dump.
    ListDaemons,
    /// `IPVS_CMD_GET_INFO`.
    GetInfo,
}

/// One verb and what it was applied to.
///
/// Displays as the object of a sentence: `add destination 10.0.0.1:53 of service UDP 192.0.2.53:53`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// What was asked.
    pub verb: Verb,
    /// The service; none for the verbs that concern all of them or none.
    pub service: Option<ServiceKey>,
    /// The destination; only for the verbs that name one.
    pub destination: Option<DestinationKey>,
    /// The sync daemon; only for the verbs that name one.
    pub daemon: Option<DaemonRole>,
}

impl Operation {
    /// A verb that names no object.
    pub(crate) fn of_all(verb: Verb) -> Self {
        Self { verb, service: None, destination: None, daemon: None }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verb {
            Verb::ResolveFamily => "resolve the generic netlink family IPVS",
            Verb::AddService | Verb::AddDestination => "add",
            Verb::SetService | Verb::SetDestination => "set",
            Verb::DeleteService | Verb::DeleteDestination => "delete",
            Verb::GetService => "get",
            Verb::ListServices => "list the services",
            Verb::ListDestinations => "list the destinations of",
            Verb::ZeroService => "zero the counters of",
            Verb::ZeroAll => "zero all counters",
            Verb::Flush => "delete all services",
            Verb::GetTimeouts => "get the time-outs",
            Verb::SetTimeouts => "set the time-outs",
            Verb::StartDaemon => "start",
            Verb::StopDaemon => "stop",
            Verb::ListDaemons => "list the sync daemons",
            Verb::GetInfo => "get the version of IPVS",
        })?;
        if let Some(role) = self.daemon {
            write!(f, " the {role} sync daemon")?;
        }
        if let Some(destination) = self.destination {
            write!(f, " destination {destination} of")?;
        }
        match self.service {
            Some(service) => write!(f, " service {service}"),
            None => Ok(()),
        }
    }
}
