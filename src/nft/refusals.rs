//! What our tables do with refusals: ICMP errors (port unreachable) from a server to a client, about a datagram that IPVS
//! sent to that server's address and port.
//!
//! ```text
//! chain prerouting {                        (raw: conntrack calls them invalid, and a firewall may drop what is invalid)
//!     icmp type 3 icmp code 3 @th,136,8 17 fib daddr type != local goto refusals
//! }
//! chain refusals {                                              (one rule for each port that servers have)
//!     @th,240,16 53 ip saddr @servers-53 goto refused-log-26998-drop
//! }
//! chain refused-log-26998-drop {                              (the name says what is asked for, as in `to-…`)
//!     update @refused { ip saddr limit rate 10/second burst 5 packets } log group 26998
//!     drop
//! }
//! ```
//! The datagram that an error is about stands in it behind the 8 bytes of the ICMP header: `@th,136,8` is the protocol in the
//! IPv4 header there, and `@th,240,16` the port to which it went. There is no way to look both address and port up in one set:
//! nft takes no raw payload as part of a key.

use std::collections::BTreeMap;

use nftables::stmt::Statement;
use serde_json::json;

use super::statement::{body, destination_type, differs, equal, goto, icmp, ip, limited, transport};
use super::table::{Body, Chain, Elements, Family, Key, Set, Shape};
use crate::core::model::{Refusals, Rules};

const REFUSALS: &str = "refusals";
const REFUSED: &str = "refused";

/// Bits; behind it stands the IP header of the datagram that the error is about.
const ICMP_HEADER: u32 = 8 * 8;

/// What the table of one family needs for refusals.
pub struct Parts {
    /// Goes to the chains where packets come in and leave.
    pub rule: Body,
    /// Regular chains by name.
    pub chains: Vec<(String, Chain)>,
    /// Sets by name.
    pub sets: Vec<(String, Set)>,
}

/// The parts for the servers of `family` in `rules`; none if there are none, or nothing is asked for.
pub fn parts(rules: &Rules, family: Family) -> Option<Parts> {
    let mut servers = BTreeMap::<u16, Vec<(Key, _)>>::new();
    for server in rules.replies.keys().filter(|server| Family::of(server.ip()) == family) {
        servers.entry(server.port()).or_default().push((server.ip().into(), None));
    }
    if servers.is_empty() || rules.refusals == Refusals::default() {
        return None;
    }
    let refused = chain_name(rules.refusals);
    let inner_port = match family {
        Family::Ip => ICMP_HEADER + (20 + 2) * 8,
        Family::Ip6 => ICMP_HEADER + (40 + 2) * 8,
    };
    let by_port = servers.keys().map(|&port| {
        let from = equal(ip(family, "saddr"), format!("@{}", set_name(port)));
        body(vec![equal(transport(inner_port, 16), port), from, goto(&refused)])
    });
    let chain = |rules| Chain { base: None, rules };
    let chains = vec![
        (REFUSALS.to_owned(), chain(by_port.collect())),
        (refused.clone(), chain(fate(rules.refusals, family))),
    ];
    let mut sets: Vec<_> = (servers.into_iter())
        .map(|(port, servers)| (set_name(port), servers.into_iter().collect()))
        .map(|(name, elements)| (name, Set { shape: Shape::Addresses, elements }))
        .collect();
    if rules.refusals.group.is_some() {
        sets.push((REFUSED.to_owned(), Set { shape: Shape::Dynamic, elements: Elements::default() }));
    }
    Some(Parts { rule: refusal(family), chains, sets })
}

/// Adds to `rules` what the name of a chain says of refusals.
pub fn read_chain(name: &str, rules: &mut Rules) {
    let Some(settings) = name.strip_prefix(REFUSED) else { return };
    let (logged, hidden) = match settings.strip_suffix("-drop") {
        Some(logged) => (logged, true),
        None => (settings, false),
    };
    let group = logged.strip_prefix("-log-").and_then(|group| group.parse().ok());
    let read = Refusals { group, hidden };
    if read != Refusals::default() && chain_name(read) == name {
        rules.refusals = read;
    }
}

fn chain_name(refusals: Refusals) -> String {
    let log = refusals.group.map(|group| format!("-log-{group}")).unwrap_or_default();
    format!("{REFUSED}{log}{}", if refusals.hidden { "-drop" } else { "" })
}

fn set_name(port: u16) -> String {
    format!("servers-{port}")
}

/// Not those to the director itself, which are about its own probes.
fn refusal(family: Family) -> Body {
    let (kind, code, protocol) = match family {
        Family::Ip => (3, 3, ICMP_HEADER + 9 * 8),
        Family::Ip6 => (1, 4, ICMP_HEADER + 6 * 8),
    };
    body(vec![
        equal(icmp(family, "type"), kind),
        equal(icmp(family, "code"), code),
        equal(transport(protocol, 8), 17),
        differs(destination_type(), "local"),
        goto(REFUSALS),
    ])
}

fn fate(refusals: Refusals, family: Family) -> Vec<Body> {
    let log = refusals.group.map(|group| {
        Body::new(vec![limited(ip(family, "saddr"), REFUSED), json!({"log": {"group": group}})])
    });
    let drop = refusals.hidden.then(|| body(vec![Statement::Drop(None)]));
    log.into_iter().chain(drop).collect()
}
