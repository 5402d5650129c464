//! The `icmp` probe: echo requests (RFC 792, RFC 4443) of all targets over one raw socket for each family and origin.
//!
//! All requests have one identifier, so that the director's connection tracking holds one entry for each server and not one for
//! each probe. A reply is ours if it comes from the server, has the number of a request that waits, and all of its payload. The
//! kernel hands over only replies that begin with our stamp: pings of others cost nothing here.

use std::collections::{HashMap, HashSet};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, SockaddrStorage, recvfrom, recvmsg, sendto, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::echo::{Echo, Family, HEADER};
use super::failure::{Failure, Unreachable};
use super::origin;
use super::socket::{Trouble, control_buffer, error_of};
use crate::core::model::{Origin, TargetId};

/// The stamp, and what is drawn for each request.
const PAYLOAD: usize = 4 + 12;

/// So many packets are read at a time.
const FLOOD: usize = 4096;

/// The sockets, and the requests that wait.
#[derive(Debug)]
pub struct Pings {
    /// Each at the place that its token has; none where one was closed.
    sockets: Vec<Option<Raw>>,
    stamp: [u8; 4],
    identifier: [u8; 2],
    next: u16,
    waiting: HashMap<(IpAddr, u16), Waiting>,
}

#[derive(Debug)]
struct Raw {
    family: Family,
    origin: Origin,
    /// The index of the origin's interface: there may be another one with its name by now.
    interface: Option<u32>,
    socket: Socket,
}

#[derive(Debug)]
struct Waiting {
    target: TargetId,
    probe: u64,
    nonce: [u8; 12],
}

/// What became of a probe.
#[derive(Debug)]
pub struct Pinged {
    /// Whose.
    pub target: TargetId,
    /// Its number.
    pub probe: u64,
    /// Answered or not.
    pub outcome: Result<(), Failure>,
}

/// Under which the events of the socket at this place come. No target has this token.
fn token(place: usize) -> Token {
    Token(usize::MAX - 1 - place)
}

impl Pings {
    /// Without sockets: they are opened when they are needed.
    pub fn new() -> Pings {
        Pings {
            sockets: Vec::new(),
            stamp: rand::random(),
            identifier: rand::random(),
            next: rand::random(),
            waiting: HashMap::new(),
        }
    }

    /// Sends the request of a probe from `origin`; gives its number. [`Pings::place`] knows the events that follow.
    ///
    /// # Errors
    /// No raw socket for want of `CAP_NET_RAW`, a descriptor, memory or such an origin ([`Trouble::Ours`]), or no way to the server.
    pub fn send(
        &mut self,
        (target, probe): (TargetId, u64),
        server: SocketAddr,
        origin: &Origin,
        registry: &Registry,
    ) -> Result<u16, Trouble> {
        let family = Family::of(server.ip());
        let mut address = server;
        address.set_port(0);
        let number = self.next;
        let nonce: [u8; 12] = rand::random();
        let request = self.request(family, number, nonce);
        let socket = self.socket(family, origin, registry)?;
        let send = || {
            let to = SockaddrStorage::from(address);
            sendto(socket.as_raw_fd(), &request, &to, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from)
        };
        // An ICMP error that came since the last call stops a datagram, once; it is read when its event comes.
        if let Err(error) = send().or_else(|_| send()) {
            let index = origin::interface_index(origin);
            for socket in &mut self.sockets {
                socket.take_if(|raw| raw.origin == *origin && raw.interface != index);
            }
            origin::still_there(address, origin)?;
            return Err(Trouble::from(&error));
        }
        self.next = self.next.wrapping_add(1);
        self.waiting.insert((server.ip(), number), Waiting { target, probe, nonce });
        Ok(number)
    }

    /// The request with this number to this server waits no longer.
    pub fn forget(&mut self, server: IpAddr, number: u16) {
        self.waiting.remove(&(server, number));
    }

    /// Nothing of other targets than these waits any longer, or comes from elsewhere.
    pub fn keep(&mut self, targets: &HashSet<TargetId>, origins: &HashSet<&Origin>) {
        self.waiting.retain(|_, waiting| targets.contains(&waiting.target));
        for socket in &mut self.sockets {
            socket.take_if(|raw| !origins.contains(&raw.origin));
        }
    }

    /// Which socket has the events of this token, if one has.
    pub fn place(&self, of: Token) -> Option<usize> {
        (0..self.sockets.len()).find(|place| token(*place) == of)
    }

    /// Reads all that has come on a socket.
    pub fn read(&mut self, place: usize) -> Vec<Pinged> {
        let mut pinged = Vec::new();
        let Some(raw) = self.sockets.get_mut(place).and_then(Option::take) else { return pinged };
        let Raw { family, socket, .. } = &raw;
        let family = *family;
        while let Some((from, error, quoted)) = next_error(socket) {
            pinged.extend(self.failed(family, from, &quoted, error));
        }
        let mut packet = [0; 1024];
        // A flood has its end here; the next packet of it is the next event.
        for _ in 0..FLOOD {
            match recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut packet) {
                Ok((length, Some(from))) => {
                    let Some(from) = address_of(&from) else { continue };
                    pinged.extend(self.answered(family, from, &packet[..length.min(packet.len())]));
                }
                Ok((_, None)) => {}
                Err(Errno::EAGAIN) => break,
                // A pending error, which the error queue tells better; it is taken away by the call.
                Err(_) => {
                    while let Some((from, error, quoted)) = next_error(socket) {
                        pinged.extend(self.failed(family, from, &quoted, error));
                    }
                }
            }
        }
        self.sockets[place] = Some(raw);
        pinged
    }

    fn socket(&mut self, family: Family, origin: &Origin, registry: &Registry) -> Result<&Socket, Trouble> {
        let is_it = |raw: &Raw| raw.family == family && raw.origin == *origin;
        let place = self.sockets.iter().position(|raw| raw.as_ref().is_some_and(is_it));
        let place = match place.or_else(|| self.sockets.iter().position(Option::is_none)) {
            Some(place) => place,
            None => {
                self.sockets.push(None);
                self.sockets.len() - 1
            }
        };
        let socket = &mut self.sockets[place];
        match socket {
            Some(raw) => Ok(&raw.socket),
            None => {
                let opened = open(family, self.stamp).map_err(|error| Trouble::ours(&error))?;
                origin::set(&opened, origin)?;
                registry
                    .register(&mut SourceFd(&opened.as_raw_fd()), token(place), Interest::READABLE)
                    .map_err(|error| Trouble::ours(&error))?;
                let interface = origin::interface_index(origin);
                Ok(&socket.insert(Raw { family, origin: origin.clone(), interface, socket: opened }).socket)
            }
        }
    }

    fn request(&self, family: Family, number: u16, nonce: [u8; 12]) -> Vec<u8> {
        let payload = [self.stamp.as_slice(), &nonce].concat();
        Echo { identifier: self.identifier, number, payload: &payload }.request(family)
    }

    /// What a packet from `from` answers; nothing if it is no whole reply to a request that waits.
    fn answered(&mut self, family: Family, from: IpAddr, packet: &[u8]) -> Option<Pinged> {
        let Echo { identifier, number, payload } = Echo::reply(family, packet)?;
        let waiting = self.waiting.get(&(from, number))?;
        let right = identifier == self.identifier
            && payload.len() == PAYLOAD
            && payload.starts_with(&self.stamp)
            && payload.ends_with(&waiting.nonce);
        if !right {
            return None;
        }
        let Waiting { target, probe, .. } = self.waiting.remove(&(from, number))?;
        Some(Pinged { target, probe, outcome: Ok(()) })
    }

    /// What an ICMP error says that quotes the beginning of a message to `to`.
    fn failed(&mut self, family: Family, to: IpAddr, quoted: &[u8], error: Unreachable) -> Option<Pinged> {
        let Echo { identifier, number, .. } = Echo::quoted(family, quoted)?;
        if identifier != self.identifier {
            return None;
        }
        let Waiting { target, probe, .. } = self.waiting.remove(&(to, number))?;
        Some(Pinged { target, probe, outcome: Err(Failure::Icmp(error)) })
    }
}

fn open(family: Family, stamp: [u8; 4]) -> io::Result<Socket> {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
    socket.attach_filter(&filter(family, stamp))?;
    match family {
        Family::V4 => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        Family::V6 => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(socket)
}

/// Lets echo replies pass whose payload begins with `stamp`. An IPv4 packet comes with its header, an IPv6 packet without.
fn filter(family: Family, stamp: [u8; 4]) -> Vec<SockFilter> {
    let step = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    let index = if family == Family::V4 { libc::BPF_IND } else { libc::BPF_ABS };
    let header = HEADER as u32;
    let load_length = step(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0);
    let rest = [
        step(libc::BPF_LD | libc::BPF_B | index, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, family.reply().into()),
        step(libc::BPF_LD | libc::BPF_W | index, 0, 0, header),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, u32::from_be_bytes(stamp)),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    (family == Family::V4).then_some(load_length).into_iter().chain(rest).collect()
}

/// The next entry of the error queue that says something: where the message went, what the error says, how the message begins.
fn next_error(socket: &Socket) -> Option<(IpAddr, Unreachable, Vec<u8>)> {
    let mut control = control_buffer();
    loop {
        let mut quoted = [0; HEADER];
        let mut buffers = [IoSliceMut::new(&mut quoted)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut buffers, Some(&mut control), flags).ok()?;
        let (to, error) = (message.address.as_ref().and_then(address_of), error_of(&message));
        if let (Some(to), Some(error)) = (to, error) {
            return Some((to, error, quoted.to_vec()));
        }
    }
}

fn address_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = || address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4().or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

#[cfg(test)]
mod tests;
