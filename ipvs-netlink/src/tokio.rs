//! The client for tokio.

use std::io;
use std::time::Duration;

use ::tokio::time::timeout;
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use crate::answer::{Answer, FamilyId};
use crate::client::{Failure, RECEIVE_BUFFER, TIMEOUT, verbs};
use crate::conversation::{Conversation, Session, Step};
use crate::request::{Request, resolve_family};
use crate::window::{WINDOW, Window};
use crate::{Error, Result};

/// A netlink socket in the network namespace of the thread that connected it.
///
/// Needs a runtime with I/O and time enabled. Dropping the future of a verb leaves open whether the kernel has
/// done it; the client stays usable.
pub struct Client {
    session: Session,
    channel: Channel,
}

struct Channel {
    socket: TokioSocket,
    buffer: Vec<u8>,
    timeout: Duration,
}

impl Client {
    /// Opens the socket and resolves the family `IPVS`, which loads `ip_vs` where the kernel (6.1 or newer) can;
    /// [`Error::NotInKernel`] where it cannot.
    pub async fn connect() -> Result<Self> {
        let resolve = resolve_family();
        let channel =
            Channel::open().map_err(|source| Error::Io { operation: resolve.operation(), source })?;
        let mut client = Self { session: Session::default(), channel };
        let FamilyId(family) = client.send(resolve).await?;
        client.session.family = Some(family);
        Ok(client)
    }

    /// Sets how long to wait for each datagram of an answer (not zero); 5 seconds otherwise.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.channel.timeout = timeout;
    }

    /// Sends one request and waits for its answer.
    ///
    /// An interrupted dump is asked for again a few times, and an empty list of destinations is confirmed by
    /// asking for the service.
    pub async fn send<R: Answer>(&mut self, request: Request<R>) -> Result<R> {
        let operation = request.operation();
        let Self { session, channel } = self;
        let (mut conversation, mut bytes) = Conversation::start(session, request);
        loop {
            channel
                .transmit(&bytes, conversation.must_drain())
                .await
                .map_err(|failure| failure.of(operation))?;
            conversation.sent();
            bytes = loop {
                let step = match channel.receive().await {
                    Ok(datagram) => conversation.feed(datagram),
                    Err(Failure::Overrun) => conversation.overrun(),
                    Err(failure) => return Err(failure.of(operation)),
                };
                match step {
                    Step::Send(bytes) => break bytes,
                    Step::Receive => {}
                    Step::End(result) => return result,
                }
            };
        }
    }

    /// Sends many changes, up to 64 at once; each has its own result, in the same order.
    ///
    /// A failing one holds up no other.
    pub async fn send_all(&mut self, requests: Vec<Request<()>>) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(requests.len());
        for requests in requests.chunks(WINDOW) {
            for (result, request) in self.send_window(requests).await.into_iter().zip(requests) {
                results.push(match result {
                    // On its own it finds out whether the family's id is still right.
                    Err(error) if error.may_be_stale_family() => self.send(request.clone()).await,
                    result => result,
                });
            }
        }
        results
    }

    verbs!(async, await);

    async fn send_window(&mut self, requests: &[Request<()>]) -> Vec<Result<()>> {
        let Self { session, channel } = self;
        let Some(family) = session.family else {
            let mut results = Vec::with_capacity(requests.len());
            for request in requests {
                results.push(self.send(request.clone()).await);
            }
            return results;
        };
        let (mut window, bytes) = Window::new(requests, family, session.sequences(requests.len() as u32));
        let outcome = channel.transmit(&bytes, session.unread);
        session.unread = true;
        let mut outcome = outcome.await;
        while outcome.is_ok() && !window.is_complete() {
            outcome = channel.receive().await.map(|datagram| window.feed(datagram));
        }
        let failure = outcome.err().unwrap_or(Failure::Overrun);
        window.results(|operation| failure.of(operation))
    }
}

impl Channel {
    fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_GENERIC)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_ref().connect(&SocketAddr::new(0, 0))?;
        socket.socket_ref().set_ext_ack(true)?;
        socket.socket_ref().set_cap_ack(true)?;
        Ok(Self { socket, buffer: Vec::with_capacity(RECEIVE_BUFFER), timeout: TIMEOUT })
    }

    /// Sends; what is unread is received and dropped before.
    async fn transmit(&mut self, bytes: &[u8], unread: bool) -> std::result::Result<(), Failure> {
        if unread {
            loop {
                self.buffer.clear();
                match self.socket.socket_ref().recv(&mut self.buffer, 0).map_err(Failure::from) {
                    Ok(_) | Err(Failure::Overrun) => {}
                    Err(_) => break,
                }
            }
        }
        self.socket.send(bytes).await?;
        Ok(())
    }

    async fn receive(&mut self) -> std::result::Result<&[u8], Failure> {
        self.buffer.clear();
        match timeout(self.timeout, self.socket.recv(&mut self.buffer)).await {
            Ok(Ok(())) => Ok(&self.buffer),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Failure::Timeout(self.timeout)),
        }
    }
}
