//! The client that waits, over `netlink-sys` alone.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use netlink_sys::Socket;

use crate::answer::Answer;
use crate::client::{Failure, MSG_DONTWAIT, RECEIVE_BUFFER, TIMEOUT, open, verbs};
use crate::conversation::Session;
use crate::drive::{Link, Transport};
use crate::request::{Request, resolve_family};
use crate::{Error, Result};

/// A netlink socket in the network namespace of the thread that connected it, or of the one that it was told.
///
/// It may move to other threads.
pub struct Client(Link<Channel>);

struct Channel {
    socket: Socket,
    /// The same socket, for its receive time-out (SO_RCVTIMEO): an option of every socket, which `netlink-sys` does
    /// not have and the standard library has for this type.
    options: UdpSocket,
    buffer: Vec<u8>,
}

impl Client {
    /// Opens the socket and resolves the family `IPVS`, which loads `ip_vs` where the kernel (6.1 or newer) can;
    /// [`Error::NotInKernel`] where it cannot.
    pub fn connect() -> Result<Self> {
        Self::over(Channel::open())
    }

    /// The same in another network namespace, which an open file stands for: `/run/netns/NAME`, `/proc/PID/ns/net`.
    ///
    /// The caller's thread stays where it is. Needs `CAP_SYS_ADMIN`.
    ///
    /// ```no_run
    /// let namespace = std::fs::File::open("/run/netns/blue").unwrap();
    /// let mut client = ipvs_netlink::blocking::Client::connect_in(&namespace)?;
    /// println!("{} services", client.list_services()?.len());
    /// # Ok::<(), ipvs_netlink::Error>(())
    /// ```
    #[cfg(feature = "netns")]
    pub fn connect_in(namespace: impl AsFd) -> Result<Self> {
        Self::over(crate::netns::within(namespace.as_fd(), Channel::open))
    }

    fn over(channel: io::Result<Channel>) -> Result<Self> {
        let resolve = resolve_family();
        let transport = channel.map_err(|source| Error::Io { operation: resolve.operation(), source })?;
        let mut client = Self(Link { session: Session::default(), transport, timeout: TIMEOUT });
        client.0.session.family = Some(client.send(resolve)?.0);
        Ok(client)
    }

    /// Sets how long a request may take, with all that it takes; 10 seconds otherwise.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.0.timeout = timeout;
    }

    /// Sends one request and waits for its answer.
    ///
    /// An interrupted dump is asked for again a few times, and an empty list of destinations is confirmed by
    /// asking for the service.
    pub fn send<R: Answer>(&mut self, request: Request<R>) -> Result<R> {
        at_once(self.0.converse(request))
    }

    /// Sends many changes, up to 64 at once; each has its own result, in the same order.
    ///
    /// A failing one holds up no other. The time-out is that of 64. An iterator makes its requests as they are sent.
    pub fn send_all(&mut self, requests: impl IntoIterator<Item = Request<()>>) -> Vec<Result<()>> {
        at_once(self.0.change(requests))
    }

    verbs!();
}

impl Channel {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(netlink_sys::protocols::NETLINK_GENERIC)?;
        open(&mut socket)?;
        let options = UdpSocket::from(socket.as_fd().try_clone_to_owned()?);
        Ok(Self { socket, options, buffer: Vec::with_capacity(RECEIVE_BUFFER) })
    }

    fn receive_with(&mut self, flags: i32) -> io::Result<()> {
        self.buffer.clear();
        self.socket.recv(&mut self.buffer, flags).map(drop)
    }

    /// The kernel answers within the send, so that there is nearly always something; the clock is for when not.
    fn wait(&mut self, deadline: Instant) -> std::result::Result<(), Failure> {
        let mut flags = MSG_DONTWAIT;
        loop {
            match self.receive_with(flags) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Failure::Timeout);
                    }
                    self.options.set_read_timeout(Some(left))?;
                    flags = 0;
                }
                result => return Ok(result?),
            }
        }
    }
}

impl Transport for Channel {
    async fn send(&mut self, bytes: &[u8]) -> std::result::Result<(), Failure> {
        self.socket.send(bytes, 0)?;
        Ok(())
    }

    async fn receive(&mut self, deadline: Instant) -> std::result::Result<&[u8], Failure> {
        self.wait(deadline)?;
        Ok(&self.buffer)
    }

    fn drain(&mut self) {
        loop {
            match self.receive_with(MSG_DONTWAIT).map_err(Failure::from) {
                Ok(()) | Err(Failure::Overrun) => {}
                Err(_) => return,
            }
        }
    }
}

/// The value of a future over a transport that blocks: it never waits for anything else.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a transport that blocks is always ready"),
    }
}
