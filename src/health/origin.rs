//! Where probes come from: `source`, `interface` and `mark` of a check, set on its sockets before they are used.

use std::net::SocketAddr;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::socket::{Lack, Trouble};
use crate::core::model::Origin;

/// Lets what leaves by this socket come from there.
///
/// # Errors
/// The director has no such address or interface, the port is taken, or a mark is not for this user: [`Trouble::Ours`], since
/// none of it says anything about a server.
pub fn set(socket: &Socket, origin: &Origin) -> Result<(), Trouble> {
    let lack = |error, what| Trouble::Ours(Lack::Origin { what, error });
    if let Some(mark) = origin.mark {
        socket.set_mark(mark).map_err(|error| lack(error, format!("with the mark {mark}")))?;
    }
    if let Some(interface) = &origin.interface {
        let bound = socket.bind_device(Some(interface.as_bytes()));
        bound.map_err(|error| lack(error, format!("through the interface {interface}")))?;
    }
    if let Some(source) = origin.source {
        bind(socket, source).map_err(|error| lack(error, format!("from {}", Written(source))))?;
    }
    Ok(())
}

fn bind(socket: &Socket, source: SocketAddr) -> std::io::Result<()> {
    if source.port() > 0 {
        // Many probes may come from there at a time, each to another server.
        socket.set_reuse_address(true)?;
    } else if socket.r#type()? == Type::STREAM {
        // The port need not be free towards all servers, only towards this one.
        setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    }
    socket.bind(&source.into())
}

/// Whether a datagram can come from there, which another socket that was set so could not send to `server`: an address or an
/// interface may go while a socket is bound to it.
///
/// # Errors
/// As [`set`], or there is no descriptor or memory.
pub fn still_there(server: SocketAddr, origin: &Origin) -> Result<(), Trouble> {
    if origin.is_anywhere() {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None);
    set(&socket.map_err(|error| Trouble::from(&error))?, origin)
}

/// The index of the interface that the director has by this name; none where the origin names none.
pub fn interface_index(origin: &Origin) -> Option<u32> {
    if_nametoindex(origin.interface.as_deref()?).ok()
}

/// A nonblocking TCP socket to connect to `server` with.
///
/// # Errors
/// As [`set`], or there is no descriptor or memory.
pub fn stream(server: SocketAddr, origin: &Origin) -> Result<Socket, Trouble> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking(), None)
        .map_err(|error| Trouble::from(&error))?;
    set(&socket, origin)?;
    Ok(socket)
}

/// An address, and its port where there is one.
struct Written(SocketAddr);

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.port() {
            0 => write!(f, "{}", self.0.ip()),
            _ => write!(f, "{}", self.0),
        }
    }
}
