//! Firewalls as people have them, in the words of the real `nft`, and one listing of iptables-nft 1.8.9.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::nft::Nft;
use crate::nft::kernel_tests::{every_shape, in_namespace, nft, wait};

const INPUT: &str = "chain input { type filter hook input priority 0; policy drop; iif lo accept; \
    ct state established,related accept; ip protocol icmp accept; tcp dport 22 accept; ";
const FORWARD: &str =
    "chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; ";

/// The obstacles for [`every_shape`] behind `table inet filter { … }`: direction, chain and number of sockets of each.
fn behind(chains: &str) -> Vec<(Direction, String, usize)> {
    listed(chains)
        .into_iter()
        .map(|obstacle| (obstacle.direction, obstacle.reason, obstacle.sockets.len()))
        .collect()
}

fn listed(chains: &str) -> Vec<Obstacle> {
    nft("flush ruleset");
    // nft wants a line for each statement and each brace that closes.
    let lines = chains.replace("; ", ";\n").replace("} chain", "}\nchain");
    nft(&format!("table inet filter {{\n{lines}\n}}"));
    wait(Nft::new().apply(&every_shape()));
    obstacles(&wait(Nft::new().ruleset_json()), &every_shape(), &Ways::default())
}

fn request(reason: &str, sockets: usize) -> (Direction, String, usize) {
    (Direction::Request, reason.into(), sockets)
}

fn reply(reason: &str, sockets: usize) -> (Direction, String, usize) {
    (Direction::Reply, reason.into(), sockets)
}

#[test]
fn drop_policies() {
    in_namespace(|| {
        assert_eq!(behind(""), []);
        assert_eq!(behind(&format!("{INPUT} }}")), [request("policy drop", 2)]);
        assert_eq!(behind(&format!("{FORWARD} }}")), [reply("policy drop", 4)]);
        let new_is_not_enough = format!("{INPUT} udp dport 53 ct state new accept; }}");
        assert_eq!(behind(&new_is_not_enough), [request("policy drop", 2)]);
        for open in [
            format!("{INPUT} udp dport 53 ct state untracked accept; }}"),
            format!("{INPUT} ct state {{ new, untracked }} udp dport {{ 50-60, 123 }} accept; }}"),
            format!("{INPUT} ct state vmap {{ invalid : drop, untracked : accept }}; }}"),
            format!("{INPUT} meta l4proto {{ tcp, udp }} th dport 53 accept; }}"),
            format!("{INPUT} fib daddr type local udp dport < 1024 accept; }}"),
            format!(
                "set open {{ type inet_service; flags interval; elements = {{ 22, 50-60 }}; }} {INPUT} udp dport @open accept; }}"
            ),
            format!("chain in {{ udp dport vmap {{ 53 : accept }}; }} {INPUT} meta l4proto udp jump in; }}"),
            format!("{FORWARD} ct state untracked accept; }}"),
            format!("{FORWARD} ip saddr 10.0.1.0/24 accept; ip6 saddr 2001:db8:1::/48 accept; }}"),
            format!("{FORWARD} ct state != invalid accept; }}"),
            "chain forward { type filter hook forward priority 0; ct state invalid drop; }".into(),
            // IPVS has taken the request by then.
            "chain late { type filter hook input priority 110; policy drop; }".into(),
            // NAT chains see no untracked packet.
            "chain nat { type nat hook input priority 90; policy drop; }".into(),
            "chain output { type filter hook output priority 0; oif lo drop; tcp dport 53 drop; }".into(),
        ] {
            assert_eq!(behind(&open), [], "{open}");
        }
    });
}

#[test]
fn what_cannot_be_known_is_no_obstacle() {
    in_namespace(|| {
        for open in [
            "iifname \"eth*\" accept",
            "meta mark 1 accept",
            "limit rate 5/second accept",
            "ip saddr 10.0.0.0/8 accept; ip6 saddr fd00::/8 accept",
        ] {
            assert_eq!(behind(&format!("{INPUT} {open}; }}")), [], "{open}");
        }
        // It drops either way.
        let zone = "chain zone { tcp dport 80 accept; }";
        let zones = format!("{zone} {INPUT} iifname \"eth0\" goto zone; meta mark 1 drop; }}");
        assert_eq!(behind(&zones), [request("policy drop", 2)]);
    });
}

#[test]
fn rules_that_drop() {
    in_namespace(|| {
        let reasons = |chains: &str| -> Vec<_> {
            listed(chains)
                .into_iter()
                .map(|obstacle| (obstacle.direction, obstacle.certain, obstacle.reason))
                .collect()
        };
        let reject =
            "chain forward { type filter hook forward priority 0; ct state established accept; reject; }";
        assert_eq!(
            reasons(reject),
            [(Direction::Reply, true, "rule reject, handle 3 of chain forward".into())]
        );
        let six = "chain forward { type filter hook forward priority 0; meta nfproto ipv6 drop; }";
        assert_eq!(behind(six), [reply("rule drop, handle 2 of chain forward", 2)]);
        let output = "chain output { type filter hook output priority 0; policy drop; ct state established,new accept; }";
        assert_eq!(reasons(output), [(Direction::Scheduled, true, "policy drop".into())]);
    });
}

/// The shape that firewalld gives its table.
#[test]
fn zones() {
    let zones = |allowed: &str| {
        format!(
            "chain filter_IN_public_allow {{ tcp dport 22 accept; {allowed} }}
            chain filter_IN_public {{ jump filter_IN_public_allow; meta l4proto {{ icmp, ipv6-icmp }} accept; }}
            chain filter_INPUT_ZONES {{ iifname \"eth0\" goto filter_IN_public; goto filter_IN_public; }}
            chain filter_INPUT {{ type filter hook input priority 10; policy accept;
                ct state {{ established, related }} accept; ct status dnat accept; iifname \"lo\" accept;
                ct state invalid drop; jump filter_INPUT_ZONES; reject with icmpx type admin-prohibited; }}"
        )
    };
    in_namespace(move || {
        let closed = behind(&zones(""));
        assert!(
            matches!(closed.as_slice(), [(Direction::Request, reason, 2)] if reason.starts_with("rule reject")),
            "{closed:?}"
        );
        assert_eq!(behind(&zones("udp dport 53 ct state { new, untracked } accept;")), []);
    });
}

/// Its rules on the connection state show only that they are there.
#[test]
fn iptables() {
    let listing: Value = serde_json::from_str(include_str!("iptables.json")).unwrap();
    let mut rules = every_shape();
    let found = obstacles(&listing, &rules, &Ways::default());
    let [forward] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((forward.direction, forward.certain, forward.sockets.len()), (Direction::Reply, false, 2));
    assert_eq!(
        forward.cure().lines().next(),
        Some("iptables -I FORWARD -s 10.0.1.11 -p udp --sport 53 -m conntrack --ctstate UNTRACKED -j ACCEPT")
    );
    rules.requests = ["192.0.2.53:123".parse().unwrap()].into();
    let found = obstacles(&listing, &rules, &Ways::default());
    assert!(
        found.iter().any(|obstacle| obstacle.direction == Direction::Request && !obstacle.certain),
        "{found:?}"
    );
}

#[test]
fn the_cure_cures() {
    in_namespace(|| {
        let closed = format!(
            "{INPUT} }} {FORWARD} }} chain output {{ type filter hook output priority 0; policy drop; }}"
        );
        let found = listed(&closed);
        assert_eq!(found.len(), 3);
        for obstacle in &found {
            for line in obstacle.cure().lines() {
                nft(line.strip_prefix("nft ").unwrap());
            }
        }
        assert_eq!(obstacles(&wait(Nft::new().ruleset_json()), &every_shape(), &Ways::default()), []);

        let mut many = every_shape();
        let server = |n: u8| (SocketAddr::from(([10, 1, 0, n], 5300)), "192.0.2.53:53".parse().unwrap());
        many.replies.extend((0..100).map(server));
        let found = obstacles(&wait(Nft::new().ruleset_json()), &many, &Ways::default());
        let [output, forward] = found.as_slice() else { panic!("{found:?}") };
        for obstacle in [output, forward] {
            assert!(obstacle.cure().len() < 200, "{}", obstacle.cure());
            nft(obstacle.cure().strip_prefix("nft ").unwrap());
        }
        assert_eq!(obstacles(&wait(Nft::new().ruleset_json()), &many, &Ways::default()), []);
    });
}

#[test]
fn it_reads_as_a_sentence() {
    let listing = json!({"nftables": [{"chain": {"family": "inet", "table": "fw", "name": "fwd", "type": "filter",
        "hook": "forward", "prio": 0, "policy": "drop"}}]});
    let found = obstacles(&listing, &every_shape(), &Ways::default());
    assert_eq!(
        found[0].to_string(),
        "chain fwd of table inet fw (hook forward, policy drop) drops the replies of 10.0.1.11:53 and 3 more: they \
         are untracked, neither new nor established"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "[a-z@.0-9/]{0,6}".boxed(),
        proptest::sample::select(vec![
            "match", "chain", "forward", "filter", "ip", "10.0.1.0", "@s", "==", "c"
        ])
        .prop_map(str::to_owned)
        .boxed(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from)
    ];
    let key = proptest::sample::select(vec![
        "nftables", "chain", "rule", "set", "map", "family", "table", "name", "hook", "prio", "type", "expr",
        "match", "left", "right", "op", "payload", "protocol", "field", "vmap", "key", "data", "jump",
        "goto", "target", "elem", "val", "prefix", "addr", "len", "range", "concat", "xt", "accept", "drop",
        "handle", "meta", "ct", "fib", "policy",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_listing_is_too_odd(expr in proptest::collection::vec(any_json(), 0..4), elem in any_json(), object in any_json()) {
        let listing = json!({"nftables": [
            {"chain": {"family": "ip", "table": "t", "name": "c", "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
            {"set": {"family": "ip", "table": "t", "name": "s", "elem": [elem]}},
            {"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 1, "expr": expr}},
            object,
        ]});
        obstacles(&listing, &every_shape(), &Ways::default());
        for family in Family::ALL {
            let mut read = crate::nft::Listing::default();
            read.read(family, listing.to_string().as_bytes()).unwrap();
            crate::nft::edit(&every_shape(), &read);
        }
    }
}
