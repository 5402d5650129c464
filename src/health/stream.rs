//! One question over TCP, asked when an answer over UDP was cut off: two bytes of length before each message (RFC 1035,
//! section 4.2.2).

use std::net::SocketAddr;

use mio::{Registry, Token};

use super::connection::Connection;
use super::failure::Failure;
use super::socket::Trouble;
use crate::core::model::Origin;

/// The exchange. Dropping it closes the connection.
#[derive(Debug)]
pub struct Stream(Connection);

impl Stream {
    /// Connects to `server` from `origin`, where `request` is sent; events come under `token`.
    ///
    /// # Errors
    /// As [`Connection::open`]; a refusal comes later.
    pub fn open(
        server: SocketAddr,
        origin: &Origin,
        request: &[u8],
        registry: &Registry,
        token: Token,
    ) -> Result<Stream, Trouble> {
        // A request that has gone over UDP is not longer.
        let length = (request.len() as u16).to_be_bytes();
        Connection::open(server, origin, [&length, request].concat(), registry, token).map(Stream)
    }

    /// Goes on as far as possible; the answer, when it is whole.
    ///
    /// # Errors
    /// What broke the connection, or that the server closed it before the answer was whole.
    pub fn advance(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.0.advance(|received, _| {
            let ([high, low], rest) = received.split_first_chunk()?;
            rest.get(..usize::from(u16::from_be_bytes([*high, *low]))).map(<[u8]>::to_vec)
        })
    }
}
