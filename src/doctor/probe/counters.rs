//! The table that counts the probe's packets at each hook of the director, and what it has counted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use ipvs_netlink::Forward;
use serde_json::Value;

use super::Course;

/// The table's name, in the family inet.
pub const TABLE: &str = "ipvsd_doctor";

/// How many packets were counted where. Of what a server has, one number for each server of the course, in its order; under
/// `direct`, where a packet does not show its server, one for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Sent by the client.
    pub sent: u64,
    /// Requests that came in, before any filter.
    pub came: u64,
    /// At the hook input: routed to this machine.
    pub local: u64,
    /// After the filters of the hook input, where IPVS takes them.
    pub input: u64,
    /// Sent on by IPVS, before the filters of the hook output.
    pub scheduled: Vec<u64>,
    /// After all filters.
    pub left: Vec<u64>,
    /// ICMP errors (destination unreachable) of the server.
    pub errors: Vec<u64>,
    /// Replies that came in, before any filter.
    pub back: Vec<u64>,
    /// At the hook forward: routed to the client.
    pub routed: Vec<u64>,
    /// After the filters of the hook forward, and IPVS.
    pub forwarded: Vec<u64>,
    /// Leaving for the client with the server's own address.
    pub plain: Vec<u64>,
    /// Leaving for the client with the address of the VIP.
    pub rewritten: u64,
    /// ICMP errors of the director itself: IPVS has no server for them.
    pub refused: u64,
    /// Received by the client, by source.
    pub received: BTreeMap<SocketAddr, u64>,
}

impl Seen {
    /// Whether a request left for this server, and nothing came back.
    pub fn unanswered(&self, server: usize) -> bool {
        let of = |counts: &[u64]| counts.get(server).copied().unwrap_or_default();
        of(&self.left) > 0 && of(&self.back) == 0 && of(&self.errors) == 0
    }
}

/// The table for one course.
pub struct Meters {
    table: String,
    servers: usize,
}

impl Meters {
    pub fn new(course: &Course, client: IpAddr) -> Meters {
        let servers = if course.forward == Forward::Direct { 1 } else { course.servers.len() };
        Meters { table: table(course, client, servers), servers }
    }

    /// In nft's own syntax.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// `nft -j list counters`; what is not there has counted nothing.
    pub fn read(&self, listed: &str, sent: u64, received: BTreeMap<SocketAddr, u64>) -> Seen {
        let listed: Value = serde_json::from_str(listed).unwrap_or_default();
        let counter = |object: &Value| {
            let counter = object.get("counter")?;
            Some((counter.get("name")?.as_str()?.to_owned(), counter.get("packets")?.as_u64()?))
        };
        let objects = listed.get("nftables").and_then(Value::as_array).into_iter().flatten();
        let counted: BTreeMap<String, u64> = objects.filter_map(counter).collect();
        let one = |name: &str| counted.get(name).copied().unwrap_or_default();
        let each = |name: &str| (0..self.servers).map(|place| one(&format!("{name}{place}"))).collect();
        Seen {
            sent,
            came: one("came"),
            local: one("local"),
            input: one("input"),
            scheduled: each("scheduled"),
            left: each("left"),
            errors: each("errors"),
            back: each("back"),
            routed: each("routed"),
            forwarded: each("forwarded"),
            plain: each("plain"),
            rewritten: one("rewritten"),
            refused: one("refused"),
            received,
        }
    }
}

const ONCE: [&str; 5] = ["came", "local", "input", "rewritten", "refused"];
const OF_SERVER: [&str; 7] = ["scheduled", "left", "errors", "back", "routed", "forwarded", "plain"];

fn table(course: &Course, client: IpAddr, servers: usize) -> String {
    let (ip, icmp, unreachable) = match client {
        IpAddr::V4(_) => ("ip", "icmp", "destination-unreachable"),
        IpAddr::V6(_) => ("ip6", "icmpv6", "destination-unreachable"),
    };
    let (vip, port) = (course.vip.ip(), course.vip.port());
    let request = format!("{ip} saddr {client} {ip} daddr {vip} udp dport {port}");
    // Before and after every other chain of a hook; of input, before IPVS (98).
    let mut chains: BTreeMap<(&str, i32), Vec<String>> = BTreeMap::new();
    let mut count = |hook, priority, what: &str, name: &str| {
        chains.entry((hook, priority)).or_default().push(format!("{what} counter name {name}"));
    };
    count("prerouting", FIRST, &request, "came");
    count("input", FIRST, &request, "local");
    count("input", 97, &request, "input");
    count(
        "output",
        FIRST,
        &format!("{ip} saddr {vip} {ip} daddr {client} {icmp} type {unreachable}"),
        "refused",
    );
    count(
        "postrouting",
        LAST,
        &format!("{ip} saddr {vip} {ip} daddr {client} udp sport {port}"),
        "rewritten",
    );
    for place in 0..servers {
        let name = |what: &str| format!("{what}{place}");
        let Some(server) = course.servers.get(place) else { continue };
        let (address, server_port) = (server.ip(), server.port());
        let to_server = match (course.forward, course.outer()) {
            (Forward::Direct, _) => request.clone(),
            (_, Some((gue, outer))) => {
                let family = if address.is_ipv4() { "ip" } else { "ip6" };
                let protocol = match gue {
                    Some(port) => format!("udp dport {port}"),
                    None => "meta l4proto { 4, 41, 47 }".to_owned(),
                };
                // The source address in the inner header, behind the outer ones.
                let (at, bits, value) = match client {
                    IpAddr::V4(client) => (12, 32, format!("{:#010x}", u32::from(client))),
                    IpAddr::V6(client) => (8, 128, format!("{:#034x}", u128::from(client))),
                };
                format!("{family} daddr {address} {protocol} @th,{},{bits} {value}", (outer + at) * 8)
            }
            _ => format!("{ip} saddr {client} {ip} daddr {address} udp dport {server_port}"),
        };
        count("output", FIRST, &to_server, &name("scheduled"));
        count("postrouting", LAST, &to_server, &name("left"));
        if course.forward != Forward::Masquerade {
            if place == 0 {
                let reply = format!("{ip} saddr {vip} {ip} daddr {client} udp sport {port}");
                count("prerouting", FIRST, &reply, &name("back"));
            }
            continue;
        }
        let reply = format!("{ip} saddr {address} {ip} daddr {client} udp sport {server_port}");
        let error = format!("{ip} saddr {address} {ip} daddr {client} {icmp} type {unreachable}");
        count("prerouting", FIRST, &error, &name("errors"));
        count("prerouting", FIRST, &reply, &name("back"));
        count("forward", FIRST, &reply, &name("routed"));
        count("forward", LAST, &reply, &name("forwarded"));
        count("postrouting", LAST, &reply, &name("plain"));
    }
    let mut text = format!("table inet {TABLE} {{\n");
    let each = OF_SERVER.iter().flat_map(|name| (0..servers).map(move |place| format!("{name}{place}")));
    for name in ONCE.iter().map(ToString::to_string).chain(each) {
        let _ = writeln!(text, "counter {name} {{ }}");
    }
    for ((hook, priority), rules) in &chains {
        let name = format!("{hook}_{}", if *priority < 0 { "first" } else { "last" });
        let _ =
            writeln!(text, "chain {name} {{\ntype filter hook {hook} priority {priority}; policy accept;");
        rules.iter().for_each(|rule| _ = writeln!(text, "{rule}"));
        text.push_str("}\n");
    }
    text + "}\n"
}

/// After defragmentation (-400), before all else.
const FIRST: i32 = -390;
/// After IPVS (100), source NAT and ipvsd's own rewrite (100).
const LAST: i32 = 290;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counters_are_read_by_name_and_missing_ones_are_zero() {
        let meters = Meters { table: String::new(), servers: 2 };
        let listed = r#"{"nftables": [{"metainfo": {}}, {"counter": {"family": "inet", "name": "came", "table": "ipvsd_doctor", "handle": 1, "packets": 4, "bytes": 160}},
            {"counter": {"name": "back1", "packets": 2}}]}"#;
        let seen = meters.read(listed, 4, BTreeMap::new());
        assert_eq!((seen.came, seen.back, seen.left), (4, vec![0, 2], vec![0, 0]));
    }

    proptest! {
        #[test]
        fn no_listing_makes_it_panic(text in any::<String>(), json in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            let meters = Meters { table: String::new(), servers: 1 };
            for text in [text, json] {
                prop_assert_eq!(meters.read(&text, 0, BTreeMap::new()).came, 0);
            }
        }
    }
}
