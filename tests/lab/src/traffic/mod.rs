//! Traffic of clients: in lockstep from one port ([`Burst`]), or at a rate with sender and receiver apart ([`Stream`]).
//! A request is `<number> `, filled to a size; a reply is `<server> <request>`.

mod burst;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

pub use burst::Burst;
pub use stream::{Flow, Running, Stream};

/// A reply that a client got.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Number of the request.
    pub number: u64,
    /// Which server answered, by its name.
    pub server: String,
    /// The source address of the reply.
    pub source: SocketAddr,
    /// Payload bytes.
    pub length: usize,
    /// When it came.
    pub at: Instant,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    /// The first reply to each request, in the order of arrival.
    pub replies: Vec<Reply>,
    /// Numbers of the requests without a reply.
    pub lost: Vec<u64>,
    /// Replies to requests that had one already.
    pub duplicates: u64,
    /// Datagrams that are no reply to any request.
    pub strange: Vec<Vec<u8>>,
}

impl Answered {
    /// How many replies each server sent.
    pub fn by_server(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for reply in &self.replies {
            *counts.entry(reply.server.as_str()).or_default() += 1;
        }
        counts
    }

    /// The replies of each server in the order of its name: `[100, 100, 100]`.
    pub fn spread(&self) -> Vec<u64> {
        self.by_server().into_values().collect()
    }

    /// Every source address of a reply.
    pub fn sources(&self) -> BTreeSet<SocketAddr> {
        self.replies.iter().map(|reply| reply.source).collect()
    }
}

/// The unspecified address of the family of `to`.
fn any_of(to: SocketAddr) -> IpAddr {
    if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// A request of at least `size` bytes.
fn request(number: u64, size: usize) -> Vec<u8> {
    let mut request = format!("{number} ").into_bytes();
    request.resize(request.len().max(size), b'x');
    request
}

/// Reads a reply of an echo server.
fn reply(payload: &[u8], source: SocketAddr) -> Option<Reply> {
    let text = str::from_utf8(payload).ok()?;
    let mut words = text.splitn(3, ' ');
    let (server, number) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    Some(Reply { number, server, source, length: payload.len(), at: Instant::now() })
}

#[cfg(test)]
mod tests {
    use super::{reply, request};

    #[test]
    fn a_reply_tells_its_server_and_its_request() {
        let payload = [b"s1 ".as_slice(), &request(17, 100)].concat();
        let reply = reply(&payload, "192.0.2.53:53".parse().unwrap()).unwrap();
        assert_eq!((reply.server.as_str(), reply.number, reply.length), ("s1", 17, 103));
    }

    #[test]
    fn other_datagrams_are_no_replies() {
        for payload in [b"".as_slice(), b"pong", b"s1 x ", b"\xff 1 "] {
            assert!(reply(payload, "192.0.2.53:53".parse().unwrap()).is_none(), "{payload:?}");
        }
    }
}
