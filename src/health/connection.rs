//! The TCP connection of one probe.
//!
//! It is closed by a reset, which leaves nothing behind, neither on the director, where thousands of probes a second would pile up
//! in TIME_WAIT, nor on the server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use socket2::Socket;

use super::failure::Failure;
use super::origin;
use super::socket::Trouble;
use crate::core::model::Origin;

/// So much is read at a time.
const CHUNK: usize = 4096;

/// A connection, what is still to be sent over it, and what has come.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    established: bool,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

impl Connection {
    /// Begins to connect from `origin`, so as to send these bytes. Events come under `token`.
    ///
    /// # Errors
    /// No descriptor, memory or port left or no such origin ([`Trouble::Ours`]), or no way to the server.
    pub fn open(
        server: SocketAddr,
        origin: &Origin,
        send: Vec<u8>,
        registry: &Registry,
        token: Token,
    ) -> Result<Connection, Trouble> {
        let socket = origin::stream(server, origin)?;
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return Err(Trouble::ours(&error)),
            connected => connected.map_err(|error| Trouble::from(&error))?,
        }
        let prepare = |socket: Socket| {
            socket.set_linger(Some(Duration::ZERO))?;
            let mut stream = TcpStream::from_std(socket.into());
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        };
        let stream = prepare(socket).map_err(|error| Trouble::ours(&error))?;
        Ok(Connection { stream, established: false, unsent: send, received: Vec::new() })
    }

    /// Goes as far as it can go now. `judge` sees all that has come so far, whenever that is more, and whether it is all that will
    /// come; what it makes of it is the outcome.
    ///
    /// # Errors
    /// What broke the connection, or that the server closed it and `judge` made nothing of that.
    pub fn advance<T>(&mut self, judge: impl FnMut(&[u8], bool) -> Option<T>) -> Result<Option<T>, Failure> {
        match self.try_advance(judge) {
            Ok(outcome) => Ok(outcome),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(Failure::WrongAnswer("closed too early".to_owned()))
            }
            Err(error) => Err(broken(&error)),
        }
    }

    fn try_advance<T>(&mut self, mut judge: impl FnMut(&[u8], bool) -> Option<T>) -> io::Result<Option<T>> {
        if !self.established {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Ok(_) => self.established = true,
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        while !self.unsent.is_empty() {
            let sent = self.stream.write(&self.unsent)?;
            self.unsent.drain(..sent);
        }
        let mut chunk = [0; CHUNK];
        loop {
            if let Some(outcome) = judge(&self.received, false) {
                return Ok(Some(outcome));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    let outcome = judge(&self.received, true).ok_or(ErrorKind::UnexpectedEof)?;
                    return Ok(Some(outcome));
                }
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What an error on a connection says about the server.
pub fn broken(error: &io::Error) -> Failure {
    Failure::Connection(error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw))
}
