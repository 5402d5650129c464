//! What each service and server needs of the reply rules, and whether the rules hold it.

use std::net::SocketAddr;

use ipvs_netlink::{Forward, ServiceKey, TunnelKind};

use super::model::{Outer, Refusals, Rules, Vip};

impl Refusals {
    /// Each setting and its value in words.
    pub fn words(&self) -> [(&'static str, String); 2] {
        let group = self.group.map_or("none".to_owned(), |group| group.to_string());
        [("nflog group", group), ("hidden", if self.hidden { "yes" } else { "no" }.to_owned())]
    }
}

/// One line of [`Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Requests to this VIP are not tracked.
    Request(SocketAddr),
    /// Replies of `server` leave from `vip`.
    Reply {
        /// The server's address and port.
        server: SocketAddr,
        /// The VIP and port that the client asked.
        vip: SocketAddr,
    },
    /// The outer packets of a tunnel are not tracked.
    Outer(Outer),
}

impl Need {
    /// What a server of an OPS service at `vip` needs before it may have weight; `direct` needs nothing.
    pub fn of_server(vip: SocketAddr, server: SocketAddr, forward: Forward) -> Option<Self> {
        match forward {
            Forward::Masquerade => Some(Self::Reply { server, vip }),
            Forward::Tunnel(tunnel) => Some(Self::Outer(match tunnel.kind {
                TunnelKind::Gue { port } => Outer::Udp(SocketAddr::new(server.ip(), port.get())),
                _ => Outer::Ip(server.ip()),
            })),
            _ => None,
        }
    }
}

impl Rules {
    /// Adds `need`. Where a reply already has a VIP that one stays: a server answers for one VIP at a time.
    pub fn add(&mut self, need: Need) {
        match need {
            Need::Request(vip) => {
                self.requests.insert(vip);
            }
            Need::Reply { server, vip } => {
                self.replies.entry(server).or_insert(vip);
            }
            Need::Outer(outer) => {
                self.tunnels.insert(outer);
            }
        }
    }

    /// Says what is done with refusals; to be called when all replies are there.
    pub fn refuse(&mut self, refusals: Refusals) {
        self.refusals = if self.replies.is_empty() { Refusals::default() } else { refusals };
    }

    /// Takes over from `held` what it has for one service, and all tunnels, of which it is not said whose they are: steps
    /// that need it may be under way.
    pub fn keep(&mut self, held: &Self, key: &ServiceKey) {
        let Some(vip) = Vip(*key).udp() else { return };
        self.tunnels.extend(&held.tunnels);
        if held.requests.contains(&vip) {
            self.requests.insert(vip);
            self.replies.extend(held.replies.iter().filter(|(_, other)| **other == vip));
        }
    }

    /// Whether the rules hold `need`.
    pub fn hold(&self, need: &Need) -> bool {
        match need {
            Need::Request(vip) => self.requests.contains(vip),
            Need::Reply { server, vip } => self.replies.get(server) == Some(vip),
            Need::Outer(outer) => self.tunnels.contains(outer),
        }
    }

    /// Whether nothing is asked for: then the tables are not needed at all.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.replies.is_empty() && self.tunnels.is_empty()
    }
}
