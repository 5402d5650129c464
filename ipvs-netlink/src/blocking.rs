//! The client that waits, over `netlink-sys` alone.

use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

use crate::answer::{Answer, FamilyId};
use crate::client::{Failure, RECEIVE_BUFFER, TIMEOUT, verbs};
use crate::conversation::{Conversation, Session, Step};
use crate::request::{Request, resolve_family};
use crate::window::{WINDOW, Window};
use crate::{Error, Result};

/// A netlink socket in the network namespace of the thread that connected it.
pub struct Client {
    session: Session,
    channel: Channel,
}

struct Channel {
    socket: Socket,
    buffer: Vec<u8>,
    timeout: Duration,
}

impl Client {
    /// Opens the socket and resolves the family `IPVS`, which loads `ip_vs` where the kernel (6.1 or newer) can;
    /// [`Error::NotInKernel`] where it cannot.
    pub fn connect() -> Result<Self> {
        let resolve = resolve_family();
        let channel =
            Channel::open().map_err(|source| Error::Io { operation: resolve.operation(), source })?;
        let mut client = Self { session: Session::default(), channel };
        let FamilyId(family) = client.send(resolve)?;
        client.session.family = Some(family);
        Ok(client)
    }

    /// Sets how long to wait for each datagram of an answer (not zero); 5 seconds otherwise.
    pub fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.channel.set_timeout(timeout)
    }

    /// Sends one request and waits for its answer.
    ///
    /// An interrupted dump is asked for again a few times, and an empty list of destinations is confirmed by
    /// asking for the service.
    pub fn send<R: Answer>(&mut self, request: Request<R>) -> Result<R> {
        let operation = request.operation();
        let Self { session, channel } = self;
        let (mut conversation, mut bytes) = Conversation::start(session, request);
        loop {
            channel.transmit(&bytes, conversation.must_drain()).map_err(|failure| failure.of(operation))?;
            conversation.sent();
            bytes = loop {
                let step = match channel.receive() {
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
    pub fn send_all(&mut self, requests: Vec<Request<()>>) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(requests.len());
        for requests in requests.chunks(WINDOW) {
            for (result, request) in self.send_window(requests).into_iter().zip(requests) {
                results.push(match result {
                    // On its own it finds out whether the family's id is still right.
                    Err(error) if error.may_be_stale_family() => self.send(request.clone()),
                    result => result,
                });
            }
        }
        results
    }

    verbs!();

    fn send_window(&mut self, requests: &[Request<()>]) -> Vec<Result<()>> {
        let Self { session, channel } = self;
        let Some(family) = session.family else {
            return requests.iter().map(|request| self.send(request.clone())).collect();
        };
        let (mut window, bytes) = Window::new(requests, family, session.sequences(requests.len() as u32));
        let mut outcome = channel.transmit(&bytes, session.unread);
        session.unread = true;
        while outcome.is_ok() && !window.is_complete() {
            outcome = channel.receive().map(|datagram| window.feed(datagram));
        }
        let failure = outcome.err().unwrap_or(Failure::Overrun);
        window.results(|operation| failure.of(operation))
    }
}

impl Channel {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        let mut channel = Self { socket, buffer: Vec::with_capacity(RECEIVE_BUFFER), timeout: TIMEOUT };
        channel.set_timeout(TIMEOUT)?;
        Ok(channel)
    }

    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        SockRef::from(&self.socket).set_read_timeout(Some(timeout))?;
        self.timeout = timeout;
        Ok(())
    }

    /// Sends; what is unread is received and dropped before.
    fn transmit(&mut self, bytes: &[u8], unread: bool) -> std::result::Result<(), Failure> {
        if unread {
            self.socket.set_non_blocking(true)?;
            while !matches!(self.receive(), Err(Failure::Timeout(_) | Failure::Io(_))) {}
            self.socket.set_non_blocking(false)?;
        }
        self.socket.send(bytes, 0)?;
        Ok(())
    }

    fn receive(&mut self) -> std::result::Result<&[u8], Failure> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => return Ok(&self.buffer),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Failure::Timeout(self.timeout));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
