//! The network that most tests use.
//!
//! ```text
//!  client 0  10.0.0.2   fd00:0::2  ─┐                  ┌─ server 0  10.0.1.11  fd00:1::11
//!  client 1  10.0.0.3   fd00:0::3  ─┤  front    back   ├─ server 1  10.0.1.12  fd00:1::12
//!                                   ├── director ──────┼─ server 2  10.0.1.13  fd00:1::13
//!                          10.0.0.1 │                  │ 10.0.1.1
//!                         fd00:0::1 │ VIP  192.0.2.53  │ fd00:1::1
//!                                   │   2001:db8::53   │
//! ```
//! Every box is a namespace; `front` and `back` are bridges of the director; the others have one interface, `eth0`,
//! and the director as default route. After [`Network::direct_return`] the servers also have an `eth1` on `front`.
//! The interfaces compute checksums before they send, so that a capture sees true ones and receivers verify them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{panic, thread};

use crate::{Netns, reading};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];
}

/// Clients, a director and servers. On a panic it prints what the director's kernel holds.
pub struct Network {
    /// Client namespaces.
    pub clients: Vec<Netns>,
    /// The director's namespace, forwarding both families.
    pub director: Netns,
    /// Server namespaces.
    pub servers: Vec<Netns>,
}

impl Network {
    /// One client and this many servers, 1 to 80.
    pub fn new(servers: usize) -> Network {
        Network::with_clients(1, servers)
    }

    /// This many clients, 1 to 80, and servers, 1 to 80.
    ///
    /// # Panics
    /// If the kernel refuses a part of it.
    pub fn with_clients(clients: usize, servers: usize) -> Network {
        let director = Netns::new("director");
        let mut commands = Vec::new();
        for (bridge, segment) in [("front", 0), ("back", 1)] {
            commands.extend([
                format!("link add {bridge} type bridge mcast_snooping 0"),
                format!("link set {bridge} addrgenmode none"),
                format!("link set {bridge} up"),
                format!("addr add 10.0.{segment}.1/24 dev {bridge}"),
                format!("addr add fd00:{segment}::1/64 dev {bridge} nodad"),
                // A router asks for its neighbours from a link-local address only.
                format!("addr add fe80::1/64 dev {bridge} nodad"),
            ]);
        }
        for family in Family::BOTH {
            commands.push(format!("addr add {} dev lo", vip(family)));
        }
        director.ip(&commands);
        let host = |role: &str, bridge: &str, first: usize, number: usize| {
            let name = format!("{role}{number}");
            let host = Netns::new(&name);
            plug(&director, &host, "eth0", &name, bridge, first + number);
            host
        };
        let (clients, servers) = thread::scope(|scope| {
            let start = |role, bridge, first, count| -> Vec<_> {
                let host = &host;
                (0..count).map(|number| scope.spawn(move || host(role, bridge, first, number))).collect()
            };
            let (clients, servers) =
                (start("client", "front", 2, clients), start("server", "back", 11, servers));
            let finish = |hosts: Vec<thread::ScopedJoinHandle<_>>| -> Vec<Netns> {
                let finished = hosts.into_iter().map(thread::ScopedJoinHandle::join);
                finished.map(|host| host.unwrap_or_else(|cause| panic::resume_unwind(cause))).collect()
            };
            (finish(clients), finish(servers))
        });
        let network = Network { clients, director, servers };
        network.set_forwarding(true);
        network
    }

    /// The first client.
    pub fn client(&self) -> &Netns {
        &self.clients[0]
    }

    /// The address of a client.
    pub fn client_address(&self, number: usize, family: Family) -> IpAddr {
        host_address(0, number + 2, family)
    }

    /// The address of a server.
    pub fn server_address(&self, number: usize, family: Family) -> IpAddr {
        host_address(1, number + 11, family)
    }

    /// The director's address on the clients' or the servers' side.
    pub fn director_address(&self, side: Side, family: Family) -> IpAddr {
        host_address(if side == Side::Front { 0 } else { 1 }, 1, family)
    }

    /// Switches the director's forwarding of both families.
    pub fn set_forwarding(&self, on: bool) {
        for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            self.director.set_sysctl(key, if on { "1" } else { "0" });
        }
    }

    /// Makes servers answer clients themselves, for `direct` and `tunnel`: each gets an interface on the clients'
    /// segment, holds the VIPs without announcing them, and unpacks ipip (also IPv6 in IPv6).
    pub fn direct_return(&self) {
        for (number, server) in self.servers.iter().enumerate() {
            plug(&self.director, server, "eth1", &format!("return{number}"), "front", number + 101);
            for key in ["all.arp_ignore", "all.rp_filter", "default.rp_filter", "eth0.rp_filter"] {
                server.set_sysctl(
                    &format!("net.ipv4.conf.{key}"),
                    if key.ends_with("ignore") { "1" } else { "0" },
                );
            }
            server.set_sysctl("net.ipv4.conf.all.arp_announce", "2");
            let mut commands: Vec<String> =
                Family::BOTH.iter().map(|family| format!("addr add {} dev lo", vip(*family))).collect();
            let (local4, local6) =
                (self.server_address(number, Family::V4), self.server_address(number, Family::V6));
            commands.extend([
                format!("link add ipip1 type ipip local {local4}"),
                format!("link add ip6tnl1 type ip6tnl mode ip6ip6 local {local6}"),
                "link set ipip1 up".into(),
                "link set ip6tnl1 up".into(),
            ]);
            server.ip(&commands);
            server.set_sysctl("net.ipv4.conf.ipip1.rp_filter", "0");
        }
    }
}

/// A side of the director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The clients' side.
    Front,
    /// The servers' side.
    Back,
}

/// The VIP of a family, which the director holds on `lo`.
pub fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, 53).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).into(),
    }
}

/// Gives `host` an interface on a bridge of the director, with the addresses of this number; `eth0` with a default route.
fn plug(director: &Netns, host: &Netns, interface: &str, port: &str, bridge: &str, number: usize) {
    let segment = if bridge == "front" { 0 } else { 1 };
    let peer = host.name();
    director.ip(&[
        format!("link add {port} type veth peer name {interface} netns {peer}"),
        format!("link set {port} master {bridge} addrgenmode none"),
        format!("link set {port} up"),
    ]);
    director.check("ethtool", &["-K", port, "tx", "off"]);
    host.check("ethtool", &["-K", interface, "tx", "off"]);
    let mut commands = vec![
        format!("link set {interface} addrgenmode none"),
        format!("link set {interface} up"),
        format!("addr add 10.0.{segment}.{number}/24 dev {interface}"),
        format!("addr add fd00:{segment}::{number}/64 dev {interface} nodad"),
        format!("addr add fe80::{number}/64 dev {interface} nodad"),
    ];
    if interface == "eth0" {
        commands.push(format!("route add default via 10.0.{segment}.1"));
        commands.push(format!("route add default via fd00:{segment}::1"));
    }
    host.ip(&commands);
}

fn host_address(segment: u8, number: usize, family: Family) -> IpAddr {
    let text = match family {
        Family::V4 => format!("10.0.{segment}.{number}"),
        // The IPv6 addresses show the same digits.
        Family::V6 => format!("fd00:{segment}::{number}"),
    };
    text.parse().expect("an address made of small numbers")
}

impl Drop for Network {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", reading::evidence(&self.director));
        }
    }
}
