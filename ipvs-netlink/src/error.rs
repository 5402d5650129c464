//! What can go wrong, in terms of IPVS: each error names the operation, its objects and the kernel's errno.

use std::io;
use std::time::Duration;

use crate::{Netmask, Operation, Verb};

/// The result of a verb.
pub type Result<T> = std::result::Result<T, Error>;

/// A verb that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The service, the destination or the sync daemon is already in the kernel (EEXIST), with whatever configuration
    /// it has.
    #[error("cannot {}: it is already in the kernel: look at what is there and change that instead", .0.operation)]
    AlreadyExists(Refusal),
    /// The kernel has no such service (ESRCH).
    #[error("cannot {}: the kernel has no such service in this network namespace", .0.operation)]
    NoSuchService(Refusal),
    /// The service has no such destination (ENOENT).
    #[error("cannot {}: the service has no such destination", .0.operation)]
    NoSuchDestination(Refusal),
    /// No sync daemon of this role runs (ESRCH).
    #[error("cannot {}: none runs in this network namespace", .0.operation)]
    NoSuchDaemon(Refusal),
    /// The kernel has no such scheduler, or no such persistence engine (ENOENT: it does not say which).
    #[error(
        "cannot {}: the kernel has no such scheduler or persistence engine: \
         is the module ip_vs_NAME (or ip_vs_pe_NAME) installed?", .0.operation
    )]
    NoSuchScheduler(Refusal),
    /// The caller lacks `CAP_NET_ADMIN` in the initial user namespace (EPERM); reading needs it, too.
    #[error(
        "cannot {}: not permitted: IPVS needs CAP_NET_ADMIN in the initial user namespace, to read as well",
        .0.operation
    )]
    NotPermitted(Refusal),
    /// Any other refusal of the kernel.
    #[error("cannot {}: the kernel answered: {}", .0.operation, .0.reason())]
    Kernel(Refusal),
    /// The service cannot have this netmask: it is of the other family, or an IPv6 prefix length that is not 1 to 128.
    /// Nothing was sent.
    #[error(
        "cannot {operation}: its netmask cannot be {netmask}: an IPv4 service has a mask, \
         and an IPv6 service a prefix length from 1 to 128"
    )]
    Netmask {
        /// What was asked.
        operation: Operation,
        /// The netmask.
        netmask: Netmask,
    },
    /// The running kernel has no generic netlink family `IPVS`: the module `ip_vs` is not there, or not loaded.
    #[error(
        "the kernel has no IPVS: load it with `modprobe ip_vs`, or install a kernel that has the module ip_vs"
    )]
    NotInKernel,
    /// The answer is not whole: a dump that changed under way or repeated an entry, or a receive buffer that
    /// ran over. A change that was asked for may or may not have been made.
    #[error("cannot {operation}: the answer was interrupted: {reason}; ask again")]
    Interrupted {
        /// What was asked.
        operation: Operation,
        /// How the interruption was seen.
        reason: &'static str,
    },
    /// The kernel did not answer in time. A change that was asked for may or may not have been made.
    #[error("cannot {operation}: no answer from the kernel within {after:?}")]
    Timeout {
        /// What was asked.
        operation: Operation,
        /// How long was waited.
        after: Duration,
    },
    /// The socket failed.
    #[error("cannot {operation}: the netlink socket failed: {source}")]
    Io {
        /// What was asked.
        operation: Operation,
        /// How the socket failed.
        source: io::Error,
    },
    /// The answer makes no sense to this library.
    #[error("cannot {operation}: the kernel's answer cannot be read: {source}")]
    Decode {
        /// What was asked.
        operation: Operation,
        /// What is wrong with the answer.
        source: DecodeError,
    },
}

/// The kernel said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked.
    pub operation: Operation,
    /// Its errno, positive.
    pub errno: i32,
    /// The extended ACK's text (`NLMSGERR_ATTR_MSG`), where the kernel gives one; IPVS itself gives none.
    pub message: Option<String>,
}

impl Refusal {
    /// The errno in words, the kernel's text, and, as IPVS itself gives none, what the errno is known to mean.
    fn reason(&self) -> String {
        use Verb::{AddDestination, SetDestination, SetTimeouts, StartDaemon};
        let mut reason = io::Error::from_raw_os_error(self.errno).to_string();
        if let Some(message) = &self.message {
            reason = format!("{reason}: {message}");
        }
        reason
            + match (self.operation.verb, self.errno) {
                (AddDestination | SetDestination, EINVAL) => {
                    ": is its address unicast and not link-local, has this network namespace an IPv4 address yet \
                     (lo up is enough), and, in a tunnel, is the GUE port set; a destination of the other family \
                     must be in a tunnel; since 6.12, an upper threshold is at most 2147483647"
                }
                (AddDestination | SetDestination, ERANGE) => {
                    ": the weight is over 2147483647, or the lower threshold above the upper one"
                }
                (SetTimeouts, EINVAL) => ": one of them is too long for the kernel's clock",
                (StartDaemon, EINVAL) => {
                    ": is its group a multicast address (one of IPv6 with its scope), and every \
                     destination of the family of its service"
                }
                (StartDaemon, ENODEV) => ": this network namespace has no such interface",
                _ => "",
            }
    }
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The kernel left out an attribute that this library cannot do without.
    #[error("the attribute {0} is missing")]
    Missing(&'static str),
    /// An attribute or a message is malformed; the text says which and how.
    #[error("{0}")]
    Malformed(String),
}

impl From<netlink_packet_core::DecodeError> for DecodeError {
    fn from(error: netlink_packet_core::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ERANGE: i32 = 34;

impl Error {
    /// The errno, positive, of a refusal or of a socket that failed.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::NotInKernel => Some(ENOENT),
            Self::Io { source, .. } => source.raw_os_error(),
            _ => self.refusal().map(|refusal| refusal.errno),
        }
    }

    /// What was asked; nothing for [`Error::NotInKernel`].
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Netmask { operation, .. }
            | Self::Interrupted { operation, .. }
            | Self::Timeout { operation, .. }
            | Self::Io { operation, .. }
            | Self::Decode { operation, .. } => Some(*operation),
            _ => self.refusal().map(|refusal| refusal.operation),
        }
    }

    /// What the kernel refused, if it is the kernel that did.
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::AlreadyExists(refusal)
            | Self::NoSuchService(refusal)
            | Self::NoSuchDestination(refusal)
            | Self::NoSuchDaemon(refusal)
            | Self::NoSuchScheduler(refusal)
            | Self::NotPermitted(refusal)
            | Self::Kernel(refusal) => Some(refusal),
            Self::NotInKernel
            | Self::Netmask { .. }
            | Self::Interrupted { .. }
            | Self::Timeout { .. }
            | Self::Io { .. }
            | Self::Decode { .. } => None,
        }
    }

    /// The error that a refusal means for its verb.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        use Verb::*;
        match (refusal.errno, refusal.operation.verb) {
            (ENOENT, ResolveFamily) => Self::NotInKernel,
            (EPERM, _) => Self::NotPermitted(refusal),
            (EEXIST, AddService | AddDestination | StartDaemon) => Self::AlreadyExists(refusal),
            (ESRCH, StopDaemon) => Self::NoSuchDaemon(refusal),
            (ESRCH, _) => Self::NoSuchService(refusal),
            (ENOENT, SetDestination | DeleteDestination) => Self::NoSuchDestination(refusal),
            (ENOENT, AddService | SetService) => Self::NoSuchScheduler(refusal),
            _ => Self::Kernel(refusal),
        }
    }

    /// Whether the kernel's answer may mean that the family's id is not the one that was used.
    pub(crate) fn may_be_stale_family(&self) -> bool {
        !matches!(self, Self::NotInKernel) && self.errno() == Some(ENOENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DestinationKey, ServiceKey};

    fn refused(verb: Verb, errno: i32) -> Error {
        let service = Some(ServiceKey::udp("192.0.2.53:53".parse().unwrap()));
        let destination =
            matches!(verb, Verb::AddDestination | Verb::SetDestination | Verb::DeleteDestination)
                .then(|| DestinationKey("10.0.0.1:5300".parse().unwrap()));
        let operation = Operation { service, destination, ..Operation::of_all(verb) };
        Error::refused(Refusal { operation, errno, message: None })
    }

    #[test]
    fn an_errno_means_what_it_means_for_its_verb() {
        assert!(matches!(refused(Verb::AddService, EEXIST), Error::AlreadyExists(_)));
        assert!(matches!(refused(Verb::AddDestination, EEXIST), Error::AlreadyExists(_)));
        assert!(matches!(refused(Verb::AddService, ENOENT), Error::NoSuchScheduler(_)));
        assert!(matches!(refused(Verb::SetService, ENOENT), Error::NoSuchScheduler(_)));
        assert!(matches!(refused(Verb::SetDestination, ENOENT), Error::NoSuchDestination(_)));
        assert!(matches!(refused(Verb::DeleteDestination, ENOENT), Error::NoSuchDestination(_)));
        assert!(matches!(refused(Verb::DeleteDestination, ESRCH), Error::NoSuchService(_)));
        assert!(matches!(refused(Verb::StartDaemon, EEXIST), Error::AlreadyExists(_)));
        assert!(matches!(refused(Verb::StopDaemon, ESRCH), Error::NoSuchDaemon(_)));
        assert!(matches!(refused(Verb::ListServices, EPERM), Error::NotPermitted(_)));
        assert!(matches!(refused(Verb::ResolveFamily, ENOENT), Error::NotInKernel));
        assert!(matches!(refused(Verb::AddDestination, EINVAL), Error::Kernel(_)));
        assert!(matches!(refused(Verb::DeleteService, EEXIST), Error::Kernel(_)));
    }

    #[test]
    fn an_error_names_the_verb_the_objects_and_the_reason() {
        let error = refused(Verb::AddDestination, EINVAL);
        let text = "cannot add destination 10.0.0.1:5300 of service UDP 192.0.2.53:53: \
                    the kernel answered: Invalid argument (os error 22): is its address unicast";
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!(error.errno(), Some(22));
        let operation = error.operation().unwrap();
        assert_eq!(operation.service, Some(ServiceKey::udp("192.0.2.53:53".parse().unwrap())));
        assert_eq!(operation.destination, Some(DestinationKey("10.0.0.1:5300".parse().unwrap())));
        assert!(refused(Verb::ListServices, EPERM).to_string().contains("CAP_NET_ADMIN"));
    }
}
