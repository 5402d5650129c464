//! Which rules of a packet filter, made beside keepalived, ipvsd makes unnecessary: those that give replies another source.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;

use serde_json::Value;

use crate::nft::Family;
use crate::nft::firewall::{Direction, RuleName, Translation, iptables, translations};

/// A line for each rule of the ruleset in a file that gives replies of these servers, or requests to them, another source.
///
/// # Errors
/// The file cannot be read, or is no ruleset.
pub fn unnecessary(path: &Path, servers: &BTreeSet<SocketAddr>) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the ruleset {}: {error}", path.display()))?;
    judge(&text, servers).ok_or_else(|| {
        format!(
            "{} is no ruleset: it takes what `nft -j list ruleset` or `iptables-save` prints",
            path.display()
        )
    })
}

fn judge(text: &str, servers: &BTreeSet<SocketAddr>) -> Option<Vec<String>> {
    let (ruleset, family) = match serde_json::from_str::<Value>(text) {
        Ok(ruleset) if ruleset.get("nftables").is_some() => (ruleset, None),
        Err(_) if text.lines().any(|line| line.starts_with('*')) => {
            let family = family(text);
            (iptables::ruleset(text, family), Some(family))
        }
        _ => return None,
    };
    let servers =
        || servers.iter().filter(|server| family.is_none_or(|family| family == Family::of(server.ip())));
    let mut told: BTreeSet<String> = BTreeSet::new();
    let mut lines = Vec::new();
    for (direction, client) in [(Direction::Reply, "daddr"), (Direction::Scheduled, "saddr")] {
        let mut ruleset = ruleset.clone();
        leave_out_clients(&mut ruleset, client);
        // A chain tells the first of its rules that does it: without that it tells the next one.
        while let Some(found) = translations(&ruleset, direction, servers()).first() {
            remove(&mut ruleset, found);
            if told.insert(format!("{} {} {}", found.family, found.table, found.rule)) {
                lines.push(line(found, direction, family.map(|_| text)));
            }
        }
    }
    Some(lines)
}

/// What is saved does not say of which family it is, but by its addresses.
fn family(saved: &str) -> Family {
    let address =
        |word: &str| word.split('/').next().and_then(|word| word.parse::<Ipv6Addr>().ok()).is_some();
    if saved.split_whitespace().any(address) { Family::Ip6 } else { Family::Ip }
}

/// Takes out the rules that name the address of the client: they are about others than the clients of all the world.
fn leave_out_clients(ruleset: &mut Value, field: &str) {
    let Some(objects) = ruleset["nftables"].as_array_mut() else { return };
    objects.retain(|object| {
        let expressions = object["rule"]["expr"].as_array().map_or(&[][..], Vec::as_slice);
        !expressions
            .iter()
            .any(|it| it["match"]["left"]["payload"]["field"] == *field && it["match"]["op"] != *"!=")
    });
}

/// Takes the rule that does it out of a ruleset; its whole chain if the rule is not found.
fn remove(ruleset: &mut Value, found: &Translation) {
    let Some(objects) = ruleset["nftables"].as_array_mut() else { return };
    let before = objects.len();
    let of_table = |it: &Value| it["family"] == *found.family && it["table"] == *found.table;
    objects.retain(|object| {
        let rule = &object["rule"];
        let chain = rule["chain"].as_str().unwrap_or_default();
        !(of_table(rule) && found.rule.chain == chain && rule["handle"] == found.rule.handle)
    });
    if objects.len() == before {
        objects.retain(|object| !(of_table(&object["chain"]) && object["chain"]["name"] == *found.chain));
    }
}

fn line(it: &Translation, direction: Direction, saved: Option<&str>) -> String {
    let first = it.sockets.first().map_or(String::new(), ToString::to_string);
    let more = match it.sockets.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let what = match direction {
        Direction::Reply => format!(
            "gives the replies of {first}{more} another source; ipvsd gives them the VIP's, so take this one out. If it also was what \
             led replies back to this machine, let the servers' routes to the clients do that"
        ),
        Direction::Request | Direction::Scheduled => format!(
            "gives the requests to {first}{more} another source; under ipvsd the servers see the clients' own, so take this one out, \
             and let the servers' routes to the clients lead over this machine"
        ),
    };
    let Translation { family, table, hook, rule: RuleName { word, handle, chain }, .. } = it;
    match saved {
        Some(saved) => {
            let printed = iptables::printed_rule(saved, table, *handle).unwrap_or_default();
            let options = printed.trim_start_matches("-A ");
            let program = if family == Family::Ip6.word() { "ip6tables" } else { "iptables" };
            format!(
                "unnecessary: `{printed}` in table {table} {what}. `{program} -t {table} -D {options}` does it"
            )
        }
        None => format!(
            "unnecessary: rule {word}, handle {handle} of chain {chain} in table {family} {table}, hook {hook}, {what}. \
             `nft delete rule {family} {table} {chain} handle {handle}` does it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> BTreeSet<SocketAddr> {
        ["10.0.1.11:53".parse().expect("an address"), "[fd00::11]:53".parse().expect("an address")].into()
    }

    #[test]
    fn rules_of_iptables_are_told_by_what_they_do() {
        let saved = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 10.0.1.0/24 -p udp -m udp --sport 53 -j SNAT --to-source \
                     192.0.2.53\n-A POSTROUTING -d 10.0.1.0/24 -j MASQUERADE\n-A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE\nCOMMIT\n";
        let lines = judge(saved, &servers()).expect("a ruleset");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].contains("`iptables -t nat -D POSTROUTING -s 10.0.1.0/24 -p udp -m udp --sport 53 -j SNAT --to-source 192.0.2.53`")
                && lines[0].contains("replies of 10.0.1.11:53 another"),
            "{lines:?}"
        );
        assert!(
            lines[1].contains("`-A POSTROUTING -d 10.0.1.0/24 -j MASQUERADE` in table nat")
                && lines[1].contains("requests to 10.0.1.11:53 another"),
            "{lines:?}"
        );
        assert_eq!(judge("*nat\nCOMMIT\n", &servers()), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_ruleset_is_said_so() {
        for text in ["", "[]", "{}", "table ip nat {\n}\n"] {
            assert_eq!(judge(text, &servers()), None, "{text}");
        }
    }

    #[test]
    fn a_rule_of_nft_is_named_by_its_table() {
        let listed = r#"{"nftables": [
            {"chain": {"family": "inet", "table": "mine", "name": "post", "hook": "postrouting", "prio": 100, "type": "nat", "policy": "accept"}},
            {"rule": {"family": "inet", "table": "mine", "chain": "post", "handle": 7, "expr": [{"masquerade": null}]}}
        ]}"#;
        let lines = judge(listed, &servers()).expect("a ruleset");
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(
            line.contains("10.0.1.11:53 and 1 more")
                && line.contains("`nft delete rule inet mine post handle 7`"),
            "{line}"
        );
    }
}
