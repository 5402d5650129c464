//! Packet filters: our reply rules, what others do to replies, what they drop, and what is tracked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::apply;
use crate::core::desired;
use crate::core::model::{Config, Rules};
use crate::core::rules::Need;
use crate::doctor::facts::{Facts, Filter, FilterKind, Tracked};
use crate::kernel::finding::{Finding, Id};
use crate::nft::firewall::{self, Direction, Obstacle, Translation};

pub fn judge(scope: &Config, facts: &Facts) -> Vec<Finding> {
    let wanted = desired::rules_of(scope);
    let mut findings = Vec::new();
    // What is wrong before anything was set up follows from that.
    let there = present(&wanted, facts);
    if let Some((held, damage)) = &facts.rules {
        let missing = missing(&there, held);
        findings.extend(reply_rules(&missing, damage, facts));
        let replies: BTreeSet<SocketAddr> =
            there.replies.keys().filter(|server| missing.contains(&server.to_string())).copied().collect();
        findings.extend(translations(facts, &replies, true).iter().map(snat));
        let requests = there.requests.iter().filter(|vip| !held.requests.contains(vip));
        findings.extend(requests.filter_map(|vip| tracked(*vip, facts)));
    }
    let replies = wanted.replies.keys().copied().collect();
    findings.extend(translations(facts, &replies, false).iter().map(rewrite));
    findings.extend(obstacles(facts, &wanted).iter().map(|(kind, obstacle)| drops(*kind, obstacle)));
    findings
}

/// Of the rules those of services that the kernel has; all where that is not known.
fn present(wanted: &Rules, facts: &Facts) -> Rules {
    if facts.has_ipvs == Some(false) {
        return Rules::default();
    }
    let mut rules = wanted.clone();
    if let Some(services) = &facts.services {
        let there = |vip: &SocketAddr| services.contains_key(&ipvs_netlink::ServiceKey::udp(*vip));
        rules.requests.retain(there);
        rules.replies.retain(|_, vip| there(vip));
        if services.is_empty() {
            rules.tunnels.clear();
        }
    }
    rules
}

/// VIPs, servers and tunnels without their rule.
fn missing(wanted: &Rules, held: &Rules) -> BTreeSet<String> {
    let requests = wanted.requests.iter().filter(|vip| !held.hold(&Need::Request(**vip)));
    let replies = wanted
        .replies
        .iter()
        .filter(|(server, vip)| !held.hold(&Need::Reply { server: **server, vip: **vip }));
    let tunnels = wanted.tunnels.iter().filter(|outer| !held.hold(&Need::Outer(**outer)));
    let tunnels = tunnels.map(|outer| match outer {
        crate::core::model::Outer::Ip(server) => server.to_string(),
        crate::core::model::Outer::Udp(server) => server.to_string(),
    });
    requests
        .map(ToString::to_string)
        .chain(replies.map(|(server, _)| server.to_string()))
        .chain(tunnels)
        .collect()
}

fn reply_rules(missing: &BTreeSet<String>, damage: &[String], facts: &Facts) -> Option<Finding> {
    if missing.is_empty() && damage.is_empty() {
        return None;
    }
    let mut seen = Vec::new();
    if let Some(first) = missing.first() {
        let more = if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
        seen.push(format!("the tables ip ipvsd and ip6 ipvsd have no rule for {first}{more}"));
    }
    seen.extend(damage.first().map(|damage| format!("they are not as they must be: {damage}")));
    Some(Finding::error(
        Id::ReplyRules,
        seen.join("; "),
        "replies reach clients from the servers' own addresses, and clients throw them away; what is tracked may be pinned",
        apply(facts),
    ))
}

fn translations(facts: &Facts, servers: &BTreeSet<SocketAddr>, tracked: bool) -> Vec<Translation> {
    let mut found: Vec<Translation> = Vec::new();
    // The first listing that has a chain names its rule.
    for filter in &facts.filters {
        for translation in firewall::translations(&filter.ruleset, Direction::Reply, servers) {
            let same = |it: &Translation| {
                filter.kind == FilterKind::Iptables
                    && (&it.family, &it.table, &it.chain)
                        == (&translation.family, &translation.table, &translation.chain)
            };
            if translation.tracked == tracked && !found.iter().any(same) {
                found.push(translation);
            }
        }
    }
    found
}

fn place(it: &Translation) -> String {
    let first = it.sockets.first().map_or(String::new(), ToString::to_string);
    let more =
        if it.sockets.len() > 1 { format!(" and {} more", it.sockets.len() - 1) } else { String::new() };
    format!(
        "table {} {}, hook {}, {} takes the replies of {first}{more}",
        it.family, it.table, it.hook, it.rule
    )
}

fn snat(it: &Translation) -> Finding {
    Finding::error(
        Id::ReplySnat,
        place(it),
        "a stateful translation pins the client to the first server that answers, past IPVS, and the replies of the \
         others are dropped",
        "start ipvsd: its rules keep replies out of connection tracking, and with it out of this rule; or delete the rule",
    )
}

fn rewrite(it: &Translation) -> Finding {
    let follows = match it.hook {
        "prerouting" => {
            "a reply that comes from the VIP before it is routed is dropped as a martian in IPv4; and where a rule sets the \
             port, a UDP checksum of zero becomes a wrong one"
        }
        _ => {
            "it takes replies before ipvsd's own rules do; where it sets the port, a UDP checksum of zero becomes a wrong one, \
             and the client drops the reply"
        }
    };
    let cure = format!(
        "delete the rule: `nft -a list table {} {}` shows it, `nft delete rule {} {} {} handle N` takes it away",
        it.family, it.table, it.family, it.table, it.chain
    );
    Finding::error(Id::ForeignRewrite, place(it), follows, cure)
}

/// Entries by which clients of `vip` are sent elsewhere than IPVS would.
fn tracked(vip: SocketAddr, facts: &Facts) -> Option<Finding> {
    let pins = |it: &&Tracked| it.destination == vip || it.reply_destination == vip;
    let mut entries = facts.tracked.as_ref()?.iter().filter(pins);
    let first = entries.next()?;
    let more = entries.count();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(Finding::error(
        Id::TrackedClients,
        format!("connection tracking has an entry {} → {} of {vip}{more}", first.source, first.destination),
        "as long as these clients send, their entries stand between them and IPVS: they are pinned, or their replies are \
         dropped",
        format!(
            "start ipvsd: its rules keep requests out of connection tracking; or `conntrack -D -p udp --orig-dst {ip}` and \
             `conntrack -D -p udp --reply-dst {ip}`",
            ip = vip.ip()
        ),
    ))
}

/// The chains that drop our packets. Those of iptables-nft whose listing by nft does not tell are judged by that of
/// `iptables-save`, where there is one.
fn obstacles(facts: &Facts, rules: &Rules) -> Vec<(FilterKind, Obstacle)> {
    let saved = |family: &str| {
        let is = |filter: &&Filter| filter.kind == FilterKind::Iptables;
        facts
            .filters
            .iter()
            .filter(is)
            .any(|filter| filter.ruleset.to_string().contains(&format!("\"family\":\"{family}\"")))
    };
    let ways = firewall::Ways { clients: clients_links(facts), servers: facts.links_to.clone() };
    let mut found: BTreeMap<_, (FilterKind, Obstacle)> = BTreeMap::new();
    for filter in &facts.filters {
        for obstacle in firewall::obstacles(&filter.ruleset, rules, &ways) {
            if filter.kind == FilterKind::Nftables && !obstacle.certain && saved(&obstacle.family) {
                continue;
            }
            let Obstacle { family, table, chain, direction, .. } = obstacle.clone();
            // Chains of iptables-legacy are not those of iptables-nft.
            found
                .entry((filter.kind == FilterKind::Legacy, family, table, chain, direction))
                .or_insert((filter.kind, obstacle));
        }
    }
    found.into_values().collect()
}

/// The interfaces by which clients may come: those of the servers are so only where the way to everybody is the same.
fn clients_links(facts: &Facts) -> BTreeSet<String> {
    let all = facts.addresses.iter().map(|it| it.interface.clone()).filter(|name| name != "lo");
    let shared = |name: &String| facts.start.as_ref().is_some_and(|start| start.client_links.contains(name));
    all.filter(|name| shared(name) || !facts.links_to.values().any(|link| link == name)).collect()
}

fn drops(kind: FilterKind, obstacle: &Obstacle) -> Finding {
    let (id, follows) = match obstacle.direction {
        Direction::Request => (Id::DropsRequests, "requests do not reach IPVS"),
        Direction::Scheduled => (Id::DropsScheduled, "requests do not reach the servers"),
        Direction::Reply => (Id::DropsReplies, "replies do not reach the clients"),
    };
    let mut cure = obstacle.cure();
    if kind == FilterKind::Legacy {
        cure =
            cure.replace("iptables -I", "iptables-legacy -I").replace("ip6tables -I", "ip6tables-legacy -I");
    }
    let follows = format!(
        "{follows}: they are untracked, neither new nor established, and no rule of ipvsd can overrule this"
    );
    let cure = format!("let them pass, now and in the file that the firewall is loaded from:\n{cure}");
    match obstacle.certain {
        true => Finding::error(id, obstacle.seen(), follows, cure),
        false => Finding::warning(id, obstacle.seen(), follows, cure),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{config, found, healthy};
    use super::*;
    use crate::nft::{Family, firewall::iptables};

    /// Of nft 1.0.6: `oifname "eth0" masquerade`, `ip saddr 10.0.1.0/24 udp sport 5300 snat to 192.0.2.53:53`, and in table
    /// `inet r`, hook prerouting, `ip saddr 10.0.1.11 udp sport 5300 udp sport set 53 ip saddr set 192.0.2.53`.
    const LISTED: &str = include_str!("testdata/translations.json");

    fn with(kind: FilterKind, ruleset: Value) -> Facts {
        Facts { filters: vec![Filter { kind, ruleset }], ..healthy() }
    }

    fn listed(table: &str) -> Value {
        let mut ruleset: Value = serde_json::from_str(LISTED).unwrap();
        let keep = |object: &Value| {
            let body = object.as_object().and_then(|object| object.values().next());
            body.and_then(|body| body.get("table").or(body.get("name"))).is_none_or(|name| name == table)
        };
        ruleset["nftables"].as_array_mut().unwrap().retain(keep);
        ruleset
    }

    #[test]
    fn snat_catches_replies_only_as_long_as_they_are_tracked() {
        let mut facts = with(FilterKind::Nftables, listed("nat"));
        assert_eq!(found(&facts), []);
        facts.rules = Some(Default::default());
        assert_eq!(found(&facts), [Id::ReplyRules, Id::ReplySnat]);
        facts.services = Some(BTreeMap::new());
        assert_eq!(found(&facts), [Id::ServiceMissing, Id::ServiceMissing], "the rest follows");
    }

    #[test]
    fn a_rewrite_of_somebody_else_is_found_beside_ours() {
        assert_eq!(found(&with(FilterKind::Nftables, listed("r"))), [Id::ForeignRewrite]);
    }

    #[test]
    fn tracked_clients_matter_where_requests_are_tracked() {
        let socket = |text: &str| text.parse().unwrap();
        let by_snat = Tracked {
            source: socket("10.0.1.11:5300"),
            destination: socket("10.0.0.2:40000"),
            reply_destination: socket("192.0.2.53:53"),
        };
        let mut facts = Facts { tracked: Some(vec![by_snat]), ..healthy() };
        assert_eq!(found(&facts), []);
        let (held, _) = facts.rules.as_mut().unwrap();
        held.requests.remove(&socket("192.0.2.53:53"));
        assert_eq!(found(&facts), [Id::ReplyRules, Id::TrackedClients]);
    }

    #[test]
    fn iptables_that_nft_only_names_is_judged_by_its_own_listing() {
        let nft = |body: Value| json!({ "rule": { "family": "ip", "table": "filter", "chain": "INPUT", "handle": 3, "expr": [body, { "accept": null }] } });
        let chain = json!({ "chain": { "family": "ip", "table": "filter", "name": "INPUT", "hook": "input", "prio": 0, "type": "filter", "policy": "drop" } });
        let named = nft(json!({ "xt": { "type": "match", "name": "conntrack" } }));
        let mut facts = with(FilterKind::Nftables, json!({ "nftables": [chain, named] }));
        assert_eq!(found(&facts), [Id::DropsRequests]);
        for (states, drops) in [("NEW,UNTRACKED", false), ("ESTABLISHED", true)] {
            let saved = format!(
                "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate {states} -j ACCEPT\nCOMMIT\n"
            );
            facts.filters.truncate(1);
            let ruleset = iptables::ruleset(&saved, Family::Ip);
            facts.filters.push(Filter { kind: FilterKind::Iptables, ruleset });
            assert_eq!(found(&facts) == [Id::DropsRequests], drops, "{states}");
        }
    }

    #[test]
    fn the_cure_of_a_legacy_rule_is_a_legacy_command() {
        let saved = "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n";
        let facts = with(FilterKind::Legacy, iptables::ruleset(saved, Family::Ip6));
        let findings = judge(&config(), &facts);
        let [only] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(only.id, Id::DropsReplies);
        assert!(only.cure.contains("\nip6tables-legacy -I FORWARD -s fd00:1::11 "), "{}", only.cure);
    }
}
