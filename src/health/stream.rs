//! One question over TCP, asked when an answer over UDP was cut off: two bytes of length before each message (RFC 1035,
//! section 4.2.2).

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::{Interest, Registry, Token};

/// The exchange. Dropping it closes the connection.
#[derive(Debug)]
pub struct Stream {
    stream: mio::net::TcpStream,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

impl Stream {
    /// Connects to `server`, where `request` is sent; events come under `token`.
    ///
    /// # Errors
    /// What the system said; a refusal may also come later.
    pub fn open(server: SocketAddr, request: &[u8], registry: &Registry, token: Token) -> io::Result<Stream> {
        let length = u16::try_from(request.len()).map_err(io::Error::other)?;
        let mut stream = mio::net::TcpStream::connect(server)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let unsent = [&length.to_be_bytes()[..], request].concat();
        Ok(Stream { stream, unsent, received: Vec::new() })
    }

    /// Goes on as far as possible; the answer, when it is whole.
    ///
    /// # Errors
    /// What broke the connection, or that the server closed it before the answer was whole.
    pub fn advance(&mut self, buffer: &mut [u8]) -> io::Result<Option<&[u8]>> {
        let outcome = self.exchange(buffer);
        let answer = self
            .received
            .split_first_chunk()
            .and_then(|([high, low], message)| message.get(..usize::from(u16::from_be_bytes([*high, *low]))));
        match outcome {
            _ if answer.is_some() => Ok(answer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(None),
        }
    }

    fn exchange(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let sent = self.stream.write(&self.unsent)?;
            self.unsent.drain(..sent);
        }
        // One message and no more, whatever the server sends.
        while self.received.len() < 2 + usize::from(u16::MAX) {
            match self.stream.read(buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.received.extend_from_slice(&buffer[..length]),
            }
        }
        Ok(())
    }
}
