//! The client for tokio.

use std::io;
use std::time::{Duration, Instant};

use ::tokio::time::timeout_at;
use netlink_sys::{AsyncSocket, AsyncSocketExt, TokioSocket};

use crate::answer::Answer;
use crate::client::{Failure, RECEIVE_BUFFER, TIMEOUT, open, verbs};
use crate::conversation::Session;
use crate::drive::{Link, Transport};
use crate::request::{Request, resolve_family};
use crate::{Error, Result};

/// A netlink socket in the network namespace of the thread that connected it, or of the one that it was told.
///
/// Needs a runtime with I/O and time enabled. Dropping the future of a verb leaves open whether the kernel has
/// done it; the client stays usable.
pub struct Client(Link<Channel>);

struct Channel {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

impl Client {
    /// Opens the socket and resolves the family `IPVS`, which loads `ip_vs` where the kernel (6.1 or newer) can;
    /// [`Error::NotInKernel`] where it cannot.
    pub async fn connect() -> Result<Self> {
        let runtime = ::tokio::runtime::Handle::try_current().map_err(io::Error::other);
        Self::over(runtime.and_then(|_| Channel::open())).await
    }

    /// The same in another network namespace, which an open file stands for: `/run/netns/NAME`, `/proc/PID/ns/net`.
    ///
    /// The caller's threads stay where they are. Needs `CAP_SYS_ADMIN`.
    #[cfg(feature = "netns")]
    pub async fn connect_in(namespace: impl std::os::fd::AsFd) -> Result<Self> {
        let channel = ::tokio::runtime::Handle::try_current().map_err(io::Error::other).and_then(|runtime| {
            crate::netns::within(namespace.as_fd(), || {
                let _entered = runtime.enter();
                Channel::open()
            })
        });
        Self::over(channel).await
    }

    async fn over(channel: io::Result<Channel>) -> Result<Self> {
        let resolve = resolve_family();
        let transport = channel.map_err(|source| Error::Io { operation: resolve.operation(), source })?;
        let mut client = Self(Link { session: Session::default(), transport, timeout: TIMEOUT });
        client.0.session.family = Some(client.send(resolve).await?.0);
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
    pub async fn send<R: Answer>(&mut self, request: Request<R>) -> Result<R> {
        self.0.converse(request).await
    }

    /// Sends many changes, up to 64 at once; each has its own result, in the same order.
    ///
    /// A failing one holds up no other. The time-out is that of 64. An iterator makes its requests as they are sent.
    pub async fn send_all(&mut self, requests: impl IntoIterator<Item = Request<()>>) -> Vec<Result<()>> {
        self.0.change(requests).await
    }

    verbs!(async, await);
}

impl Channel {
    fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(netlink_sys::protocols::NETLINK_GENERIC)?;
        open(socket.socket_mut())?;
        Ok(Self { socket, buffer: Vec::with_capacity(RECEIVE_BUFFER) })
    }
}

impl Transport for Channel {
    async fn send(&mut self, bytes: &[u8]) -> std::result::Result<(), Failure> {
        self.socket.send(bytes).await?;
        Ok(())
    }

    async fn receive(&mut self, deadline: Instant) -> std::result::Result<&[u8], Failure> {
        self.buffer.clear();
        match timeout_at(deadline.into(), self.socket.recv(&mut self.buffer)).await {
            Ok(Ok(())) => Ok(&self.buffer),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Failure::Timeout),
        }
    }

    fn drain(&mut self) {
        loop {
            self.buffer.clear();
            match self.socket.socket_ref().recv(&mut self.buffer, 0).map_err(Failure::from) {
                Ok(_) | Err(Failure::Overrun) => {}
                Err(_) => return,
            }
        }
    }
}
