//! The tables as they should be: a pure function of [`Rules`], and the way back from what a table holds.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nftables::expr::MetaKey;
use nftables::stmt::Statement;
use nftables::types::{NfChainType, NfHook};

use super::refusals;
use super::statement::{body, concat, destination_type, differs, equal, ip, meta, set, udp, vmap};
use super::table::{Base, Body, Chain, Elements, Family, Key, Set, Shape, Table};
use crate::core::model::{Outer, Rules};

const REQUESTS: &str = "requests";
const REPLIES: &str = "replies";
const TUNNELS: &str = "tunnels";
const GUE: &str = "gue";
/// The map from a server to the chain that sets the source of its replies.
pub const SOURCES: &str = "sources";
/// What took the place of [`SOURCES`] once, and counted nothing.
const UNCOUNTED: &str = "rewrite";

/// Before connection tracking (-200), where `notrack` must stand.
const RAW: i32 = -300;
/// Where source NAT stands, after all that IPVS does to a reply.
const SOURCE_NAT: i32 = 100;

/// The table of `family`; none if the rules say nothing of it.
pub fn table(rules: &Rules, family: Family) -> Option<Table> {
    let ours = |address: IpAddr| Family::of(address) == family;
    let requests: Elements =
        rules.requests.iter().filter(|vip| ours(vip.ip())).map(|&vip| (vip.into(), None)).collect();
    // There are few sources for many servers.
    let mut chains = BTreeMap::<Arc<str>, Chain>::new();
    let replies = rules.replies.iter().filter(|(server, _)| ours(server.ip()));
    let source = |(&server, &vip): (&SocketAddr, &SocketAddr)| {
        let source = Source::of(server, vip);
        let name = Arc::from(source.chain_name());
        let chain = match chains.get_key_value(&name) {
            Some((name, _)) => Arc::clone(name),
            None => {
                chains.insert(Arc::clone(&name), Chain { base: None, rules: source.rules(family) });
                name
            }
        };
        (Key::from(server), Some(chain))
    };
    let sources: Elements = replies.map(source).collect();
    let replies: Elements = sources.keys().map(|&server| (server, None)).collect();
    let (mut tunnels, mut gue) = (Vec::new(), Vec::new());
    for outer in &rules.tunnels {
        match *outer {
            Outer::Ip(server) if ours(server) => tunnels.push((server.into(), None)),
            Outer::Udp(server) if ours(server.ip()) => gue.push((server.into(), None)),
            _ => {}
        }
    }

    let mut base = |name: &str, hook, priority, rules: Vec<Body>| {
        let base = Some(Base { kind: NfChainType::Filter, hook, priority });
        if !rules.is_empty() {
            chains.insert(name.into(), Chain { base, rules });
        }
    };
    let tracking = [
        (!requests.is_empty()).then(|| untracked_requests(family)),
        (!replies.is_empty()).then(|| untracked_replies(family)),
    ];
    let (tunnels, gue): (Elements, Elements) = (tunnels.into_iter().collect(), gue.into_iter().collect());
    let refusals = refusals::parts(rules, family);
    let outer = [
        (!tunnels.is_empty()).then(|| untracked_tunnels(family)),
        (!gue.is_empty()).then(|| untracked_gue(family)),
    ];
    // The director itself may be a client or a server: its own packets only pass output.
    let refusal = refusals.as_ref().map(|parts| parts.rule.clone());
    let leaving = tracking.iter().chain(&outer).flatten().chain(&refusal).cloned().collect();
    base("output", NfHook::Output, RAW, leaving);
    base("prerouting", NfHook::Prerouting, RAW, tracking.into_iter().flatten().chain(refusal).collect());
    base(
        "postrouting",
        NfHook::Postrouting,
        SOURCE_NAT,
        sources.iter().take(1).map(|_| rewritten(family)).collect(),
    );

    let mut sets: BTreeMap<String, Set> = [
        (REQUESTS, Shape::Sockets, requests),
        (REPLIES, Shape::Sockets, replies),
        (TUNNELS, Shape::Addresses, tunnels),
        (GUE, Shape::Sockets, gue),
        (SOURCES, Shape::Verdicts, sources),
    ]
    .into_iter()
    .filter(|(_, _, elements)| !elements.is_empty())
    .map(|(name, shape, elements)| (name.to_owned(), Set { shape, elements }))
    .collect();
    if let Some(parts) = refusals {
        chains.extend(parts.chains.into_iter().map(|(name, chain)| (name.into(), chain)));
        sets.extend(parts.sets);
    }
    (!sets.is_empty()).then_some(Table { sets, chains })
}

/// Adds to `rules` what the elements of a table's set `name` say.
pub fn read_set(name: &str, set: &Set, rules: &mut Rules) {
    let sockets = || set.elements.keys().filter_map(|key| Some(SocketAddr::new(key.address, key.port?)));
    match (name, set.shape) {
        (REQUESTS, Shape::Sockets) => rules.requests.extend(sockets()),
        (TUNNELS, Shape::Addresses) => {
            rules.tunnels.extend(set.elements.keys().map(|key| Outer::Ip(key.address)))
        }
        (GUE, Shape::Sockets) => rules.tunnels.extend(sockets().map(Outer::Udp)),
        (SOURCES | UNCOUNTED, Shape::Verdicts) => {
            let chains = set.elements.chains();
            let replies = sockets().zip(chains).filter_map(|(server, chain)| {
                let source = Source::from_chain_name(chain.as_deref()?)?;
                Some((server, SocketAddr::new(source.address, source.port.unwrap_or(server.port()))))
            });
            rules.replies.extend(replies);
        }
        // `replies` and the sets of refusals only repeat the keys of `sources`.
        _ => {}
    }
}

/// What a reply is made to come from. Each has a chain, so that both writes stand behind one look-up: a second
/// look-up would see what the first write left.
#[derive(Clone, Copy)]
struct Source {
    address: IpAddr,
    /// Only where it differs from the server's own: it costs as much again as the address.
    port: Option<u16>,
}

impl Source {
    fn of(server: SocketAddr, vip: SocketAddr) -> Source {
        Source { address: vip.ip(), port: (vip.port() != server.port()).then_some(vip.port()) }
    }

    /// `to-192.0.2.53`, `to-2001-db8--53-port-53`: nft takes no colon in a name.
    fn chain_name(self) -> String {
        let address = self.address.to_string().replace(':', "-");
        match self.port {
            None => format!("to-{address}"),
            Some(port) => format!("to-{address}-port-{port}"),
        }
    }

    fn from_chain_name(name: &str) -> Option<Source> {
        let name = name.strip_prefix("to-")?;
        let (address, port) = match name.split_once("-port-") {
            Some((address, port)) => (address, Some(port.parse().ok()?)),
            None => (name, None),
        };
        Some(Source { address: address.replace('-', ":").parse().ok()?, port })
    }

    fn rules(self, family: Family) -> Vec<Body> {
        let address = || set(ip(family, "saddr"), self.address);
        let Some(port) = self.port else {
            // ip saddr set 192.0.2.53
            return vec![body(vec![address()])];
        };
        let port = || set(udp("sport"), port);
        // The kernel updates the UDP checksum with the port even where zero says that there is none; RFC 768 allows
        // that in IPv4, RFC 8200 section 8.1 does not in IPv6.
        // udp checksum 0 ip saddr set 192.0.2.53 udp sport set 53 udp checksum set 0 return
        let unsummed = || {
            let restored = set(udp("checksum"), 0);
            body(vec![equal(udp("checksum"), 0), address(), port(), restored, Statement::Return(None)])
        };
        // ip saddr set 192.0.2.53 udp sport set 53
        let summed = body(vec![address(), port()]);
        (family == Family::Ip).then(unsummed).into_iter().chain([summed]).collect()
    }
}

fn untracked_requests(family: Family) -> Body {
    // ip daddr . udp dport @requests notrack
    body(vec![equal(concat(ip(family, "daddr"), udp("dport")), "@requests"), Statement::Notrack])
}

fn untracked_replies(family: Family) -> Body {
    // The answers to the director's own probes stay tracked: an input policy may let only established traffic in.
    // ip saddr . udp sport @replies fib daddr type != local notrack
    let reply = equal(concat(ip(family, "saddr"), udp("sport")), "@replies");
    body(vec![reply, differs(destination_type(), "local"), Statement::Notrack])
}

fn untracked_tunnels(family: Family) -> Body {
    // IP in IP (4 holds IPv4, 41 holds IPv6) and GRE (47)
    // meta l4proto { 4, 41, 47 } ip daddr @tunnels notrack
    let protocol = equal(meta(MetaKey::L4proto), [4, 41, 47]);
    body(vec![protocol, equal(ip(family, "daddr"), "@tunnels"), Statement::Notrack])
}

fn untracked_gue(family: Family) -> Body {
    // ip daddr . udp dport @gue notrack
    body(vec![equal(concat(ip(family, "daddr"), udp("dport")), "@gue"), Statement::Notrack])
}

fn rewritten(family: Family) -> Body {
    // What a server on the director answers to the director's own probe keeps its source: it goes over lo.
    // oif != "lo" ip saddr . udp sport vmap @sources
    let away = differs(meta(MetaKey::Oif), "lo");
    body(vec![away, vmap(concat(ip(family, "saddr"), udp("sport")), "@sources")])
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    use super::*;
    use crate::core::model::Refusals;
    use crate::nft::refusals::read_chain;

    fn address(family: Family) -> BoxedStrategy<IpAddr> {
        // Few, so that sets of them overlap; and any.
        match family {
            Family::Ip => prop_oneof![(1..6u8).prop_map(|n| Ipv4Addr::new(10, 0, 0, n)), any::<Ipv4Addr>(),]
                .prop_map(IpAddr::V4)
                .boxed(),
            Family::Ip6 => prop_oneof![
                (1..6u16).prop_map(|n| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n)),
                any::<Ipv4Addr>().prop_map(|v4| v4.to_ipv6_mapped()),
                any::<u32>().prop_map(|n| Ipv6Addr::from(u128::from(n))),
                any::<Ipv6Addr>(),
            ]
            .prop_map(IpAddr::V6)
            .boxed(),
        }
    }

    fn socket(family: Family) -> BoxedStrategy<SocketAddr> {
        let port = prop_oneof![Just(53u16), Just(5300), 1..=u16::MAX];
        (address(family), port).prop_map(SocketAddr::from).boxed()
    }

    fn one_family(family: Family) -> BoxedStrategy<Rules> {
        let outer = prop_oneof![address(family).prop_map(Outer::Ip), socket(family).prop_map(Outer::Udp)];
        let parts = (
            btree_set(socket(family), 0..4),
            btree_map(socket(family), socket(family), 0..6),
            btree_set(outer, 0..3),
        );
        let some = parts.prop_map(|(requests, replies, tunnels)| Rules {
            requests,
            replies,
            tunnels,
            ..Rules::default()
        });
        prop_oneof![4 => some, 1 => Just(Rules::default())].boxed()
    }

    /// Any rules, of any address, with few enough that edits overlap.
    pub fn rules() -> impl Strategy<Value = Rules> {
        let refusals = (proptest::option::of(0..3u16), any::<bool>());
        let refusals = refusals.prop_map(|(group, hidden)| Refusals { group, hidden });
        let parts = (one_family(Family::Ip), one_family(Family::Ip6), refusals);
        parts.prop_map(|(mut rules, mut six, refusals)| {
            rules.requests.append(&mut six.requests);
            rules.replies.append(&mut six.replies);
            rules.tunnels.append(&mut six.tunnels);
            rules.refuse(refusals);
            rules
        })
    }

    proptest! {
        #[test]
        fn a_chain_name_is_valid_and_says_its_source(server in socket(Family::Ip6), vip in socket(Family::Ip6)) {
            let name = Source::of(server, vip).chain_name();
            prop_assert!(name.starts_with(|c: char| c.is_ascii_alphabetic()));
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
            let read = Source::from_chain_name(&name).unwrap();
            prop_assert_eq!((read.address, read.port.unwrap_or(server.port())), (vip.ip(), vip.port()));
        }

        #[test]
        fn any_chain_name_can_be_read(name in "(to-)?[-a-f0-9.:]{0,20}(-port-[0-9-]{0,7})?") {
            if let Some(source) = Source::from_chain_name(&name) {
                prop_assert!(Source::from_chain_name(&source.chain_name()).is_some());
            }
        }

        #[test]
        fn a_table_says_its_rules(rules in rules()) {
            let mut read = Rules::default();
            for table in Family::ALL.into_iter().filter_map(|family| table(&rules, family)) {
                table.sets.iter().for_each(|(name, set)| read_set(name, set, &mut read));
                table.chains.keys().for_each(|name| read_chain(name, &mut read));
            }
            prop_assert_eq!(read, rules);
        }
    }

    #[test]
    fn a_family_without_rules_has_no_table() {
        let rules =
            Rules { requests: BTreeSet::from(["192.0.2.53:53".parse().unwrap()]), ..Rules::default() };
        assert!(table(&rules, Family::Ip).is_some());
        assert_eq!(table(&rules, Family::Ip6), None);
    }
}
