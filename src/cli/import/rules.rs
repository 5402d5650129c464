//! Which rules of a packet filter, made beside keepalived, ipvsd makes unnecessary: those that give replies another source.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde_json::Value;

use crate::nft::Family;
use crate::nft::firewall::{Direction, RuleName, Translation, iptables, translations};

/// A line for each rule of the ruleset in a file that gives replies of these servers, or requests to them, another source. Those that ask for a VIP
/// which is none of these are none.
///
/// # Errors
/// The file cannot be read, or is no ruleset.
pub fn unnecessary(
    path: &Path,
    servers: &BTreeSet<SocketAddr>,
    vips: &BTreeSet<SocketAddr>,
) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the ruleset {}: {error}", path.display()))?;
    judge(&text, servers, vips).ok_or_else(|| {
        format!(
            "{} is no ruleset: it takes what `nft -j list ruleset` or `iptables-save` prints",
            path.display()
        )
    })
}

fn judge(text: &str, servers: &BTreeSet<SocketAddr>, vips: &BTreeSet<SocketAddr>) -> Option<Vec<String>> {
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
            let printed = family.and_then(|_| iptables::printed_rule(text, &found.table, found.rule.handle));
            if told.insert(format!("{} {} {}", found.family, found.table, found.rule))
                && !printed.is_some_and(|rule| of_another_vip(rule, vips))
            {
                lines.push(line(found, direction, printed));
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

/// Whether a rule of iptables asks, by `-m ipvs`, for a VIP that is none of these.
fn of_another_vip(rule: &str, vips: &BTreeSet<SocketAddr>) -> bool {
    let words: Vec<&str> = rule.split(' ').collect();
    let of = |option: &str| {
        let at = words.iter().position(|word| *word == option)?;
        let plain = at.checked_sub(1).is_some_and(|before| words[before] != "!");
        words.get(at + 1).filter(|_| plain)
    };
    let address = of("--vaddr")
        .and_then(|it| it.trim_end_matches("/32").trim_end_matches("/128").parse::<IpAddr>().ok());
    let port = of("--vport").and_then(|it| it.parse::<u16>().ok());
    let fits = |vip: &SocketAddr| {
        address.is_none_or(|ip| vip.ip() == ip) && port.is_none_or(|port| vip.port() == port)
    };
    !vips.iter().any(fits)
}

fn line(it: &Translation, direction: Direction, printed: Option<&str>) -> String {
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
    let what = format!("{what}. If it serves others, too, it need only leave these servers out");
    let Translation { family, table, hook, rule: RuleName { word, handle, chain }, .. } = it;
    match printed {
        Some(printed) => {
            let options = printed.trim_start_matches("-A ");
            let program = if family == Family::Ip6.word() { "ip6tables" } else { "iptables" };
            format!(
                "unnecessary: `{printed}` in table {table} {what}. `{program} -t {table} -D {options}` takes it out"
            )
        }
        None => format!(
            "unnecessary: rule {word}, handle {handle} of chain {chain} in table {family} {table}, hook {hook}, {what}. \
             `nft delete rule {family} {table} {chain} handle {handle}` takes it out"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> BTreeSet<SocketAddr> {
        ["10.0.1.11:53".parse().expect("an address"), "[fd00::11]:53".parse().expect("an address")].into()
    }

    fn vips() -> BTreeSet<SocketAddr> {
        ["192.0.2.53:53".parse().expect("an address")].into()
    }

    #[test]
    fn a_rule_for_another_vip_is_left_alone() {
        let of = |option: &str| {
            let saved = format!(
                "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -m ipvs {option} -j MASQUERADE\nCOMMIT\n"
            );
            judge(&saved, &servers(), &vips()).expect("a ruleset").len()
        };
        for ours in
            ["--vaddr 192.0.2.53/32 --vport 53", "--vport 53", "! --vaddr 192.0.2.9/32", "--vproto 17"]
        {
            assert_eq!(of(ours), 1, "{ours}");
        }
        for others in ["--vaddr 192.0.2.9/32 --vport 53", "--vaddr 192.0.2.53/32 --vport 80"] {
            assert_eq!(of(others), 0, "{others}");
        }
    }

    #[test]
    fn rules_of_iptables_are_told_by_what_they_do() {
        let saved = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 10.0.1.0/24 -p udp -m udp --sport 53 -j SNAT --to-source \
                     192.0.2.53\n-A POSTROUTING -d 10.0.1.0/24 -j MASQUERADE\n-A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE\nCOMMIT\n";
        let lines = judge(saved, &servers(), &vips()).expect("a ruleset");
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
        assert_eq!(judge("*nat\nCOMMIT\n", &servers(), &vips()), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_ruleset_is_said_so() {
        for text in ["", "[]", "{}", "table ip nat {\n}\n"] {
            assert_eq!(judge(text, &servers(), &vips()), None, "{text}");
        }
    }

    #[test]
    fn a_rule_of_nft_is_named_by_its_table() {
        let listed = r#"{"nftables": [
            {"chain": {"family": "inet", "table": "mine", "name": "post", "hook": "postrouting", "prio": 100, "type": "nat", "policy": "accept"}},
            {"rule": {"family": "inet", "table": "mine", "chain": "post", "handle": 7, "expr": [{"masquerade": null}]}}
        ]}"#;
        let lines = judge(listed, &servers(), &vips()).expect("a ruleset");
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(
            line.contains("10.0.1.11:53 and 1 more")
                && line.contains("`nft delete rule inet mine post handle 7`"),
            "{line}"
        );
    }
}
