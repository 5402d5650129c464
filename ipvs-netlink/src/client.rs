//! What the two clients share: the list of verbs, the sizes, and how a socket fails.

use std::io;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};

use crate::{Error, Operation};

/// How long a request may take unless told otherwise.
///
/// The kernel answers within the send; it takes longer only while it loads a module or waits for its own lock. A dump of
/// 100 000 services takes a third of a second, and on an emulated processor 8.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// `recv(2)`: do not wait. The same number on every architecture.
pub(crate) const MSG_DONTWAIT: i32 = 0x40;

/// Room for one datagram.
///
/// The kernel makes the datagrams of a dump as large as the largest buffer that it was ever offered, up to 32 KiB,
/// and never larger than that or 8 KiB, so nothing is cut off. It allocates each in full, so that small is fast for
/// the many short dumps of destinations: those of 4 000 services take 174 million instructions of the kernel (6.1), and
/// 242 with 8 KiB. No other answer of this family comes near 8 KiB.
pub(crate) const RECEIVE_BUFFER: usize =
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) { 4096 } else { 8192 };

/// How receiving failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing came before the deadline.
    Timeout,
    /// ENOBUFS: the receive buffer ran over.
    Overrun,
    Io(io::Error),
}

const ENOBUFS: i32 = 105;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(ENOBUFS) => Self::Overrun,
            _ => Self::Io(error),
        }
    }
}

impl Failure {
    /// The failure as that of `operation`, which had until `after`; one failure can be that of many.
    pub fn of(&self, operation: Operation, after: Duration) -> Error {
        match self {
            Self::Timeout => Error::Timeout { operation, after },
            Self::Overrun => Error::Interrupted { operation, reason: "the receive buffer ran over" },
            Self::Io(error) => Error::Io { operation, source: same(error) },
        }
    }
}

/// `io::Error` cannot be cloned; that of a system call is its number.
fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => error.kind().into(),
    }
}

/// What a socket is set to before its first use.
pub(crate) fn open(socket: &mut Socket) -> io::Result<()> {
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)
}

/// The methods of a client, one for each verb, which [`request`](crate::request) documents with its errors: `verbs!()`, or `verbs!(async, await)`.
macro_rules! verbs {
    ($($async:tt, $await:tt)?) => {
        /// Creates a service; [`Error::AlreadyExists`](crate::Error::AlreadyExists) if the key is taken.
        pub $($async)? fn add_service(
            &mut self,
            service: &crate::ServiceKey,
            config: &crate::ServiceConfig,
        ) -> crate::Result<()> {
            self.send(crate::request::add_service(service, config)?)$(.$await)?
        }

        /// Changes a service to `config`, all of it: without a persistence engine, one that is there is removed.
        pub $($async)? fn set_service(
            &mut self,
            service: &crate::ServiceKey,
            config: &crate::ServiceConfig,
        ) -> crate::Result<()> {
            self.send(crate::request::set_service(service, config)?)$(.$await)?
        }

        /// Deletes a service and its destinations.
        pub $($async)? fn delete_service(&mut self, service: &crate::ServiceKey) -> crate::Result<()> {
            self.send(crate::request::delete_service(service))$(.$await)?
        }

        /// One service; [`Error::NoSuchService`](crate::Error::NoSuchService) if there is none.
        pub $($async)? fn get_service(&mut self, service: &crate::ServiceKey) -> crate::Result<crate::Service> {
            self.send(crate::request::get_service(service))$(.$await)?
        }

        /// All services of the network namespace.
        pub $($async)? fn list_services(&mut self) -> crate::Result<Vec<crate::Service>> {
            self.send(crate::request::list_services())$(.$await)?
        }

        /// Adds a destination to a service.
        pub $($async)? fn add_destination(
            &mut self,
            service: &crate::ServiceKey,
            destination: &crate::DestinationKey,
            config: &crate::DestinationConfig,
        ) -> crate::Result<()> {
            self.send(crate::request::add_destination(service, destination, config))$(.$await)?
        }

        /// Changes a destination to `config`, all of it.
        pub $($async)? fn set_destination(
            &mut self,
            service: &crate::ServiceKey,
            destination: &crate::DestinationKey,
            config: &crate::DestinationConfig,
        ) -> crate::Result<()> {
            self.send(crate::request::set_destination(service, destination, config))$(.$await)?
        }

        /// Takes a destination from a service.
        pub $($async)? fn delete_destination(
            &mut self,
            service: &crate::ServiceKey,
            destination: &crate::DestinationKey,
        ) -> crate::Result<()> {
            self.send(crate::request::delete_destination(service, destination))$(.$await)?
        }

        /// The destinations of a service, the newest first;
        /// [`Error::NoSuchService`](crate::Error::NoSuchService) if there is no such service.
        pub $($async)? fn list_destinations(
            &mut self,
            service: &crate::ServiceKey,
        ) -> crate::Result<Vec<crate::Destination>> {
            self.send(crate::request::list_destinations(service))$(.$await)?
        }

        /// Sets the counters of a service and of its destinations to 0.
        pub $($async)? fn zero_service(&mut self, service: &crate::ServiceKey) -> crate::Result<()> {
            self.send(crate::request::zero_service(service))$(.$await)?
        }

        /// Sets all counters of the network namespace to 0.
        pub $($async)? fn zero_all(&mut self) -> crate::Result<()> {
            self.send(crate::request::zero_all())$(.$await)?
        }

        /// Deletes all services of the network namespace, whoever made them.
        pub $($async)? fn flush(&mut self) -> crate::Result<()> {
            self.send(crate::request::flush())$(.$await)?
        }

        /// The time-outs of connection entries.
        pub $($async)? fn get_timeouts(&mut self) -> crate::Result<crate::Timeouts> {
            self.send(crate::request::get_timeouts())$(.$await)?
        }

        /// Changes those time-outs of connection entries that are some and not 0.
        pub $($async)? fn set_timeouts(&mut self, timeouts: &crate::Timeouts) -> crate::Result<()> {
            self.send(crate::request::set_timeouts(timeouts))$(.$await)?
        }

        /// Starts a sync daemon; [`Error::AlreadyExists`](crate::Error::AlreadyExists) if one of this role runs.
        pub $($async)? fn start_daemon(
            &mut self,
            role: crate::DaemonRole,
            config: &crate::DaemonConfig,
        ) -> crate::Result<()> {
            self.send(crate::request::start_daemon(role, config))$(.$await)?
        }

        /// Stops a sync daemon; [`Error::NoSuchDaemon`](crate::Error::NoSuchDaemon) if none of this role runs.
        pub $($async)? fn stop_daemon(&mut self, role: crate::DaemonRole) -> crate::Result<()> {
            self.send(crate::request::stop_daemon(role))$(.$await)?
        }

        /// The sync daemons that run.
        pub $($async)? fn list_daemons(&mut self) -> crate::Result<Vec<crate::Daemon>> {
            self.send(crate::request::list_daemons())$(.$await)?
        }

        /// The version of IPVS and the size of its connection table.
        pub $($async)? fn get_info(&mut self) -> crate::Result<crate::Info> {
            self.send(crate::request::get_info())$(.$await)?
        }
    };
}
pub(crate) use verbs;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receive_buffer_that_ran_over_is_no_failure_of_the_socket() {
        let failure = |errno| Failure::from(io::Error::from_raw_os_error(errno));
        assert!(matches!(failure(ENOBUFS), Failure::Overrun));
        assert!(matches!(failure(9), Failure::Io(error) if error.raw_os_error() == Some(9)));
    }
}
