//! Whether someone's firewall would drop our packets. They are untracked, so a chain that lets in what is `established`
//! or `new` and drops the rest drops them, and no rule of ours can overrule that: it is found and said with its cure.
//!
//! Pure: from the listing of the whole ruleset. What a rule asks that cannot be known here (marks, limits, interfaces where
//! [`Ways`] does not tell) may be true or false; only a chain that drops either way is an obstacle.

pub mod iptables;
mod matching;
mod tables;
mod translation;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::table::Family;
use crate::core::model::Rules;
use tables::{BaseChain, Tables};
use walk::Walk;

pub use translation::{RuleName, Translation, translations};

/// A base chain that drops packets of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// nft's word for the family of its table: `ip`, `ip6` or `inet`.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// Which packets it drops.
    pub direction: Direction,
    /// What drops them: `policy drop`, or the rule.
    pub reason: String,
    /// False if a rule of iptables asks for the connection state, which no listing shows: should it accept `UNTRACKED`,
    /// then this is no obstacle.
    pub certain: bool,
    /// VIP:port or server:port of the packets that it drops.
    pub sockets: BTreeSet<SocketAddr>,
}

/// The interfaces of the director, where they are known: what a rule that names one means for our packets.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// Those by which clients may come, and be answered.
    pub clients: BTreeSet<String>,
    /// The one that the route to each server leaves by.
    pub servers: BTreeMap<IpAddr, String>,
}

/// One of the ways of our packets through the hooks of the director.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Hook input: a client's request to VIP:port, before IPVS takes it.
    Request,
    /// Hook output: the request on its way to server:port.
    Scheduled,
    /// Hook forward: a server's reply from server:port.
    Reply,
}

/// The obstacles that `ruleset` (as printed by `nft -j list ruleset`) puts in the way of requests to the VIPs in `rules`,
/// and of requests to and replies of the servers under NAT, for clients and servers on other machines. Of VIPs and of
/// servers the first 256 of each family are tried: a ruleset may be long, and seldom knows servers one by one. What is dropped
/// on some interfaces only is no obstacle.
pub fn obstacles(ruleset: &Value, rules: &Rules, ways: &Ways) -> Vec<Obstacle> {
    let tables = Tables::read(ruleset);
    let asked = |direction, sockets: &mut dyn Iterator<Item = &SocketAddr>| -> Vec<Packet> {
        let (four, six): (Vec<_>, Vec<_>) = sockets.partition(|socket| socket.is_ipv4());
        let some = [four, six].into_iter().flat_map(|sockets| sockets.into_iter().take(ASKED));
        some.map(|&socket| Packet::new(direction, socket)).collect()
    };
    let packets = [
        asked(Direction::Request, &mut rules.requests.iter()),
        asked(Direction::Scheduled, &mut rules.replies.keys()),
        asked(Direction::Reply, &mut rules.replies.keys()),
    ];
    let mut found: BTreeMap<_, Obstacle> = BTreeMap::new();
    for packet in packets.into_iter().flatten() {
        for chain in tables.base_chains(&packet) {
            let Some((reason, certain)) = dropped(&tables, chain, packet, ways) else { continue };
            let (family, table, name) = chain.id;
            (found.entry((chain.id, packet.direction, reason.clone(), certain)))
                .or_insert_with(|| Obstacle {
                    family: family.to_owned(),
                    table: table.to_owned(),
                    chain: name.to_owned(),
                    direction: packet.direction,
                    reason,
                    certain,
                    sockets: BTreeSet::new(),
                })
                .sockets
                .insert(packet.socket);
        }
    }
    found.into_values().collect()
}

/// A datagram of ours at the hook of its direction: untracked UDP, of which one end is known.
#[derive(Clone, Copy, Debug)]
struct Packet<'w> {
    direction: Direction,
    /// Source of a reply, destination of all others.
    socket: SocketAddr,
    /// The interface that it came by, where that is known; it is not lo.
    from: Option<&'w str>,
    /// The same of the one that it leaves by.
    to: Option<&'w str>,
}

impl<'w> Packet<'w> {
    fn new(direction: Direction, socket: SocketAddr) -> Self {
        Packet { direction, socket, from: None, to: None }
    }

    /// The packet on each of the ways that it may take.
    fn on(self, ways: &'w Ways) -> Vec<Self> {
        let clients = || match ways.clients.len() {
            1..=INTERFACES => ways.clients.iter().map(|link| Some(link.as_str())).collect(),
            _ => vec![None],
        };
        let server = ways.servers.get(&self.socket.ip()).map(String::as_str);
        match self.direction {
            Direction::Request => clients().into_iter().map(|from| Packet { from, ..self }).collect(),
            Direction::Scheduled => vec![Packet { to: server, ..self }],
            Direction::Reply => clients().into_iter().map(|to| Packet { from: server, to, ..self }).collect(),
        }
    }

    fn family(&self) -> Family {
        Family::of(self.socket.ip())
    }
}

impl Direction {
    fn hook(self) -> &'static str {
        match self {
            Direction::Request => "input",
            Direction::Scheduled => "output",
            Direction::Reply => "forward",
        }
    }

    /// The end that is known, as nft and iptables call it.
    fn end(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Direction::Request | Direction::Scheduled => ("daddr", "dport", "-d", "--dport"),
            Direction::Reply => ("saddr", "sport", "-s", "--sport"),
        }
    }
}

/// So many VIPs and servers of each family are tried.
const ASKED: usize = 256;

/// Where clients may come by more interfaces, it is not asked which.
const INTERFACES: usize = 16;

/// What drops the packet whichever way it takes, and whether it does so for certain.
fn dropped(
    tables: &Tables<'_>,
    chain: &BaseChain<'_>,
    packet: Packet<'_>,
    ways: &Ways,
) -> Option<(String, bool)> {
    let packets = packet.on(ways);
    let every = |state_fails| {
        let drops = |packet: &Packet<'_>| Walk::new(tables, *packet, state_fails).drops(chain);
        let reasons: Option<Vec<String>> = packets.iter().map(drops).collect();
        Some((reasons?.into_iter().next()?, !state_fails))
    };
    every(false).or_else(|| every(true))
}

/// So many addresses stand in a cure; where there are more it names only ports.
const CURE_SOCKETS: usize = 8;

impl Obstacle {
    /// The command that lets our packets through this chain, one a line; it lasts until the firewall is loaded again.
    pub fn cure(&self) -> String {
        let (address, port, end, end_port) = self.direction.end();
        if self.iptables() {
            let rule = |socket: &SocketAddr| {
                let program = if socket.is_ipv4() { "iptables" } else { "ip6tables" };
                let (ip, port) = (socket.ip(), socket.port());
                format!(
                    "{program} -I {} {end} {ip} -p udp {end_port} {port} -m conntrack --ctstate UNTRACKED -j ACCEPT",
                    self.chain
                )
            };
            return self.sockets.iter().map(rule).collect::<Vec<_>>().join("\n");
        }
        let of = |family: Family| {
            let sockets: Vec<_> =
                self.sockets.iter().filter(|socket| Family::of(socket.ip()) == family).collect();
            let what = match sockets.len() {
                0 => return None,
                1..=CURE_SOCKETS => {
                    let pairs = sockets.iter().map(|socket| format!("{} . {}", socket.ip(), socket.port()));
                    let pairs = pairs.collect::<Vec<_>>().join(", ");
                    format!("{family} {address} . udp {port} {{ {pairs} }}")
                }
                _ => {
                    let ports: BTreeSet<_> = sockets.iter().map(|socket| socket.port()).collect();
                    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
                    format!("meta nfproto {} udp {port} {{ {ports} }}", nfproto(family))
                }
            };
            let Obstacle { family, table, chain, .. } = self;
            Some(format!("nft insert rule {family} {table} {chain} ct state untracked {what} accept"))
        };
        Family::ALL.into_iter().filter_map(of).collect::<Vec<_>>().join("\n")
    }

    fn iptables(&self) -> bool {
        self.family != "inet"
            && self.table == "filter"
            && self.chain.to_ascii_lowercase() == self.direction.hook()
            && self.chain.chars().all(|c| c.is_ascii_uppercase())
    }
}

fn nfproto(family: Family) -> &'static str {
    match family {
        Family::Ip => "ipv4",
        Family::Ip6 => "ipv6",
    }
}

impl Obstacle {
    /// Which chain drops what.
    pub fn seen(&self) -> String {
        let Obstacle { family, table, chain, reason, .. } = self;
        let drops = if self.certain { "drops" } else { "seems to drop" };
        let what = match self.direction {
            Direction::Request => "the requests to",
            Direction::Scheduled => "the requests on their way to",
            Direction::Reply => "the replies of",
        };
        let of = match (self.sockets.first(), self.sockets.len()) {
            (Some(socket), 1) => format!(" {socket}"),
            (Some(socket), count) => format!(" {socket} and {} more", count - 1),
            (None, _) => String::new(),
        };
        let hook = self.direction.hook();
        format!("chain {chain} of table {family} {table} (hook {hook}, {reason}) {drops} {what}{of}")
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: they are untracked, neither new nor established", self.seen())
    }
}
