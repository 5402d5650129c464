//! `direct` and `tunnel`: servers hold the VIP and answer clients themselves, past the director.

use std::net::{IpAddr, SocketAddr};

use lab::{Burst, Echo, Family, Netns, Network, case, reading, vip};
use libtest_mimic::Trial;

use crate::setup::{PATIENT, TRACKING, assert_no_trace, assert_spread, ipvsd, servers, wait_until_all_up};

pub fn tests() -> Vec<Trial> {
    vec![case("forwarding::direct", direct), case("forwarding::tunnels", tunnels)]
}

fn direct() {
    let network = Network::new(3);
    network.direct_return();
    answered_past_the_director(&network, &[Way::Direct]);
}

fn tunnels() {
    let network = Network::new(3);
    network.direct_return();
    unpack(&network);
    answered_past_the_director(&network, &[Way::IpInIp, Way::Gue, Way::Gre]);
}

/// How requests get from the director to a server.
#[derive(Clone, Copy, Debug)]
enum Way {
    Direct,
    IpInIp,
    Gue,
    Gre,
}

const GUE_PORT: u16 = 6080;

impl Way {
    /// The value of `forward`.
    fn config(self) -> String {
        match self {
            Way::Direct => "\"direct\"".into(),
            Way::IpInIp => "\"tunnel\"".into(),
            Way::Gue => format!("{{ tunnel = \"gue\", port = {GUE_PORT} }}"),
            Way::Gre => "{ tunnel = \"gre\" }".into(),
        }
    }

    /// What a packet that carries a request to `service` to this server is, in nft's words.
    fn packet(self, service: SocketAddr, server: IpAddr) -> String {
        let to_server =
            if server.is_ipv4() { format!("ip daddr {server}") } else { format!("ip6 daddr {server}") };
        match self {
            Way::Direct if server.is_ipv4() => {
                format!("ip daddr {} udp dport {}", service.ip(), service.port())
            }
            Way::Direct => format!("ip6 daddr {} udp dport {}", service.ip(), service.port()),
            Way::IpInIp if server.is_ipv4() => format!("{to_server} meta l4proto 4"),
            Way::IpInIp => format!("{to_server} meta l4proto 41"),
            Way::Gue => format!("{to_server} udp dport {GUE_PORT}"),
            Way::Gre => format!("{to_server} meta l4proto 47"),
        }
    }
}

/// The servers unpack GRE and GUE, too.
fn unpack(network: &Network) {
    // Unlike tunnel devices, these are not loaded when they are asked for.
    network.director.check("modprobe", &["-a", "fou", "fou6"]);
    for (number, server) in network.servers.iter().enumerate() {
        let [four, six] = Family::BOTH.map(|family| network.server_address(number, family));
        server.ip(&[
            format!("link add gre1 type gre local {four}"),
            format!("link add ip6gre1 type ip6gre local {six}"),
            "link set gre1 up".into(),
            "link set ip6gre1 up".into(),
        ]);
        for family in ["-4", "-6"] {
            server.check("ip", &[family, "fou", "add", "port", &GUE_PORT.to_string(), "gue"]);
        }
        server.set_sysctl("net.ipv4.conf.gre1.rp_filter", "0");
    }
}

/// Counts what comes to a server from the director. A capture would not do: GUE is unpacked in place, and what a packet
/// socket holds changes with it.
fn count(server: &Netns, packet: &str) {
    server.nft(&format!(
        "table inet count
        delete table inet count
        table inet count {{
            chain seen {{ type filter hook prerouting priority raw; iifname \"eth0\" {packet} counter; }}
        }}"
    ));
}

/// A service for each of `ways`, on ports from 53 on, at both VIPs: every datagram is scheduled on its own and answered
/// from the VIP, though the director does not forward at all, and it tracks nothing but its probes.
fn answered_past_the_director(network: &Network, ways: &[Way]) {
    network.set_forwarding(false);
    network.director.nft(TRACKING);
    let ports: Vec<u16> = (53..).take(ways.len()).collect();
    let start = |(number, netns)| {
        let own = Family::BOTH.map(|family| network.server_address(number, family));
        let addresses = own.into_iter().chain(Family::BOTH.map(vip));
        let sockets = |address| ports.iter().map(move |port| SocketAddr::new(address, *port));
        Echo::start(netns, &format!("s{number}"), &addresses.flat_map(sockets).collect::<Vec<_>>())
    };
    let _echoes: Vec<Echo> = network.servers.iter().enumerate().map(start).collect();
    let mut config = format!("[defaults]\ncheck = {PATIENT}\n");
    for (way, port) in ways.iter().zip(&ports) {
        let [four, six] = Family::BOTH.map(|family| SocketAddr::new(vip(family), *port));
        let [servers4, servers6] = Family::BOTH.map(|family| servers(network, family, *port));
        config += &format!(
            "[[service]]\nname = \"{way:?}\"\nlisten = [\"{four}\", \"{six}\"]\nservers = [{servers4}, {servers6}]\nforward = {}\n",
            way.config()
        );
    }
    let _daemon = ipvsd(network, &config);
    wait_until_all_up(network, 2 * ways.len());
    for (way, port) in ways.iter().zip(&ports) {
        for family in Family::BOTH {
            let service = SocketAddr::new(vip(family), *port);
            let server = &network.servers[0];
            count(server, &way.packet(service, network.server_address(0, family)));
            assert_spread(network, &Burst::new(service, 60), &[20, 20, 20]);
            let counted = server.check("nft", &["list", "ruleset"]);
            // One of the round before and 20 of the burst.
            assert!(counted.contains("packets 21 "), "{way:?} {family:?}: {counted}");
        }
    }
    assert_no_trace(network);
    let to_tunnel = format!("dport={GUE_PORT} ");
    let entries = reading::conntrack(&network.director);
    assert!(!entries.iter().any(|entry| entry.contains(&to_tunnel)), "{entries:#?}");
}
