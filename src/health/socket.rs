//! A nonblocking UDP socket for one server that hears ICMP errors, each with its type and code.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, RecvMsg, SockaddrLike, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Type};

use super::failure::{Failure, Unreachable};
use super::origin;
use crate::core::model::Origin;

/// The socket. Dropping it closes it, and what still comes for it is lost.
#[derive(Debug)]
pub struct Socket {
    socket: mio::net::UdpSocket,
    /// Where its datagrams come from.
    pub local: SocketAddr,
    /// It is connected to the server if that answers from one.
    ports: Ports,
}

/// A datagram that has come.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// How many bytes it has.
    pub length: usize,
    /// Where it came from.
    pub from: SocketAddr,
    /// The Unix time at which the kernel had it, if it was timed.
    pub at: Option<Duration>,
}

/// From which of its ports the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The one that it is asked at.
    One,
    /// Any.
    Any,
}

/// Why a probe could not be sent.
#[derive(Debug)]
pub enum Trouble {
    /// It says something about the way to the server.
    Failed(Failure),
    /// The director lacks something: no verdict on the server.
    Ours(Lack),
}

/// What the director lacks to send a probe.
#[derive(Debug)]
pub enum Lack {
    /// What this error says.
    Of(Errno),
    /// Where the check has its probes come from.
    Origin {
        /// `from 10.0.1.1`, `through the interface eth1`.
        what: String,
        /// Why not.
        error: io::Error,
    },
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, errno) = match self {
            Self::Origin { what, error } => return write!(f, "none can be sent {what}: {error}"),
            Self::Of(errno @ (Errno::EPERM | Errno::EACCES)) => ("the capability CAP_NET_RAW", errno),
            Self::Of(errno @ Errno::EBUSY) => {
                ("time for so many `exec` checks (raise their `interval`)", errno)
            }
            Self::Of(errno) => (
                "descriptors (raise LimitNOFILE), memory or local ports (net.ipv4.ip_local_port_range)",
                errno,
            ),
        };
        write!(f, "the director lacks {what}: {}", errno.desc())
    }
}

impl Socket {
    /// A socket for probes from `origin`, with a source port of its own unless that says one, whose events come under `token`.
    ///
    /// # Errors
    /// No descriptor, memory or port left or no such origin ([`Trouble::Ours`]), or no route to the server.
    pub fn open(
        server: SocketAddr,
        ports: Ports,
        origin: &Origin,
        registry: &Registry,
        token: Token,
    ) -> Result<Socket, Trouble> {
        let domain = Domain::for_address(server);
        let socket = socket2::Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP));
        let socket = socket.map_err(|error| Trouble::from(&error))?;
        origin::set(&socket, origin)?;
        Self::try_open(socket, server, ports, registry, token).map_err(|error| Trouble::from(&error))
    }

    fn try_open(
        socket: socket2::Socket,
        server: SocketAddr,
        ports: Ports,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Socket> {
        match server {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        if ports == Ports::One {
            socket.connect(&server.into())?;
        }
        let mut socket = mio::net::UdpSocket::from_std(socket.into());
        registry.register(&mut socket, token, Interest::READABLE)?;
        let local = socket.local_addr()?;
        Ok(Socket { socket, local, ports })
    }

    /// Sends one datagram to the server that it is for.
    ///
    /// # Errors
    /// As [`Socket::open`]. An ICMP error that came since the last call also stops a datagram, once: after an error,
    /// [`Socket::next_error`] tells.
    pub fn send(&self, datagram: &[u8], server: SocketAddr) -> Result<(), Trouble> {
        let sent = match self.ports {
            Ports::One => self.socket.send(datagram),
            Ports::Any => self.socket.send_to(datagram, server),
        };
        sent.map(|_| ()).map_err(|error| Trouble::from(&error))
    }

    /// Sends one datagram to where another one came from. It is not tried twice: the probe has been answered.
    pub fn answer(&self, datagram: &[u8], to: SocketAddr) {
        let _ = self.socket.send_to(datagram, to);
    }

    /// The next datagram, which is put into `buffer`; `None` when there is none. `server` is where it comes from if that is the
    /// only place that it can come from. It is timed if `control` is given, with room for what [`control_buffer`] says: that costs
    /// hundreds of instructions.
    pub fn receive(
        &self,
        buffer: &mut [u8],
        mut control: Option<&mut [u8]>,
        server: SocketAddr,
    ) -> Option<Received> {
        // Each call that fails for another reason than emptiness has taken one pending error away, which
        // `next_error` tells better; a bound on them is only prudence.
        for _ in 0..8 {
            let received = match (&mut control, self.ports) {
                (Some(control), Ports::One) => self.receive_timed::<()>(buffer, control, |_| Some(server)),
                (Some(control), Ports::Any) => {
                    self.receive_timed(buffer, control, |from: Option<SockaddrStorage>| address_of(&from?))
                }
                (None, Ports::One) => {
                    self.socket.recv(buffer).map(|length| Received { length, from: server, at: None })
                }
                (None, Ports::Any) => {
                    self.socket.recv_from(buffer).map(|(length, from)| Received { length, from, at: None })
                }
            };
            match received {
                Ok(received) => return Some(received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => {}
            }
        }
        None
    }

    fn receive_timed<S: SockaddrLike>(
        &self,
        buffer: &mut [u8],
        control: &mut [u8],
        address: impl FnOnce(Option<S>) -> Option<SocketAddr>,
    ) -> io::Result<Received> {
        let mut buffers = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<S>(self.socket.as_raw_fd(), &mut buffers, Some(control), MsgFlags::MSG_DONTWAIT)?;
        let at = message.cmsgs().ok().and_then(|mut all| all.find_map(stamp));
        let from = address(message.address).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Received { length: message.bytes, from, at })
    }

    /// The next ICMP error; `None` when there is none. `control` has room for what [`control_buffer`] says.
    pub fn next_error(&self, control: &mut [u8]) -> Option<Unreachable> {
        loop {
            let mut no_data = [IoSliceMut::new(&mut [])];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut no_data, Some(control), flags).ok()?;
            let error = error_of(&message);
            if error.is_some() {
                return error;
            }
        }
    }
}

fn stamp(message: ControlMessageOwned) -> Option<Duration> {
    match message {
        ControlMessageOwned::ScmTimestampns(at) => Some(at.into()),
        _ => None,
    }
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || Some(SocketAddr::V4((*address.as_sockaddr_in()?).into()));
    v4().or_else(|| Some(SocketAddr::V6((*address.as_sockaddr_in6()?).into())))
}

impl Trouble {
    /// An error that says something about the director only.
    pub fn ours(error: &io::Error) -> Trouble {
        Trouble::Ours(Lack::Of(error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)))
    }
}

impl From<&io::Error> for Trouble {
    fn from(error: &io::Error) -> Trouble {
        let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
        match errno {
            // EAGAIN is both a full send buffer and no free source port.
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EAGAIN => {
                Trouble::Ours(Lack::Of(errno))
            }
            _ => Trouble::Failed(Failure::NotSent(errno)),
        }
    }
}

/// A buffer for [`Socket::next_error`] and [`Socket::receive`].
pub fn control_buffer() -> Vec<u8> {
    nix::cmsg_space!(TimeSpec, libc::sock_extended_err, libc::sockaddr_in6)
}

/// What an entry of the error queue, received with [`control_buffer`], says about the server.
pub fn error_of<S>(entry: &RecvMsg<'_, '_, S>) -> Option<Unreachable> {
    entry.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            unreachable(error.ee_origin, error.ee_type, error.ee_code)
        }
        _ => None,
    })
}

/// What an entry of the error queue says about the server. `None` is what says nothing: errors of local origin, and packets that
/// were too big for a link on the way (the kernel fragments the next one).
///
/// Origins are those of linux/errqueue.h, types and codes those of RFC 792, RFC 1812 and RFC 4443.
fn unreachable(origin: u8, kind: u8, code: u8) -> Option<Unreachable> {
    match (origin, kind, code) {
        (libc::SO_EE_ORIGIN_ICMP, 3, 4) | (libc::SO_EE_ORIGIN_ICMP6, 2, _) => None,
        (libc::SO_EE_ORIGIN_ICMP, 3, 3) | (libc::SO_EE_ORIGIN_ICMP6, 1, 4) => Some(Unreachable::Port),
        (libc::SO_EE_ORIGIN_ICMP, 3, 1 | 7 | 12) | (libc::SO_EE_ORIGIN_ICMP6, 1, 3) => {
            Some(Unreachable::Host)
        }
        (libc::SO_EE_ORIGIN_ICMP, 3, 0 | 6 | 11) | (libc::SO_EE_ORIGIN_ICMP6, 1, 0) => Some(Unreachable::Net),
        (libc::SO_EE_ORIGIN_ICMP, 3, 9 | 10 | 13) | (libc::SO_EE_ORIGIN_ICMP6, 1, 1 | 5 | 6) => {
            Some(Unreachable::Prohibited)
        }
        (libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6, _, _) => Some(Unreachable::Other(kind, code)),
        _ => None,
    }
}
