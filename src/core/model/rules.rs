//! What the reply rules must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What the tables `ip ipvsd` and `ip6 ipvsd` must hold, both families together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// VIP:port of every OPS service: requests to it are not tracked.
    pub requests: BTreeSet<SocketAddr>,
    /// server:port → VIP:port of every server under NAT with OPS: replies are not tracked, and leave from VIP:port.
    pub replies: BTreeMap<SocketAddr, SocketAddr>,
    /// The servers that are reached through a tunnel: the outer packets are not tracked.
    pub tunnels: BTreeSet<Outer>,
    /// What is done with refusals of the servers in `replies`; nothing where there are none.
    pub refusals: Refusals,
}

/// The outer packets of a tunnel as a rule can tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outer {
    /// IP in IP or GRE to this address.
    Ip(IpAddr),
    /// UDP (GUE) to this address and port.
    Udp(SocketAddr),
}

/// `[passive]`: what is done with refusals, the ICMP errors (port unreachable) of servers about client traffic that the
/// reply rewrite stands behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refusals {
    /// The nflog group by which the daemon hears of them; none if it does not.
    pub group: Option<u16>,
    /// They are dropped: to the client they would name the server's own address.
    pub hidden: bool,
}
