//! UDP sockets that can also send a datagram whose checksum is zero, as some devices do.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// A bound UDP socket. With zero checksums it sends through a raw socket beside it, for SO_NO_CHECK has no safe wrapper.
pub struct Udp {
    socket: UdpSocket,
    raw: Option<Socket>,
}

impl Udp {
    /// Binds to `address`. Zero checksums are for IPv4 only, where RFC 768 allows them.
    pub fn bind(address: SocketAddr, zero_checksum: bool) -> io::Result<Udp> {
        let socket = UdpSocket::bind(address)?;
        // Tests count losses of the network, not of this buffer. Root may go beyond net.core.rmem_max.
        setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20))?;
        let raw = match (zero_checksum, address.ip()) {
            (false, _) => None,
            (true, IpAddr::V4(ip)) => {
                let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
                raw.bind(&SocketAddr::from((ip, 0)).into())?;
                Some(raw)
            }
            (true, IpAddr::V6(_)) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "zero checksums are for IPv4"));
            }
        };
        Ok(Udp { socket, raw })
    }

    /// Sends one datagram.
    pub fn send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<()> {
        let Some(raw) = &self.raw else { return self.socket.send_to(payload, to).map(drop) };
        let length = u16::try_from(payload.len() + 8).map_err(io::Error::other)?;
        let mut datagram = Vec::with_capacity(payload.len() + 8);
        for field in [self.socket.local_addr()?.port(), to.port(), length, 0] {
            datagram.extend(field.to_be_bytes());
        }
        datagram.extend(payload);
        raw.send_to(&datagram, &SocketAddr::from((to.ip(), 0)).into()).map(drop)
    }

    /// Receives one datagram, if one comes within `limit`.
    pub fn receive(&self, limit: Duration) -> io::Result<Option<(Vec<u8>, SocketAddr)>> {
        // To clear so much for each datagram takes a slow guest longer than all the rest.
        thread_local!(static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 65536]));
        self.socket.set_read_timeout(Some(limit.max(Duration::from_millis(1))))?;
        let received = BUFFER.with_borrow_mut(|buffer| {
            self.socket.recv_from(buffer).map(|(length, from)| (buffer[..length].to_vec(), from))
        });
        match received {
            Ok(datagram) => Ok(Some(datagram)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl std::os::fd::AsFd for Udp {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
