//! What `iptables-save` prints, in the words of `nft -j`: so one judge reads both. Unlike nft, it shows every option of a
//! match, the connection states among them; and it alone shows the rules of iptables-legacy.

use serde_json::{Value, json};

use crate::nft::table::Family;

/// The ruleset of one family as `nft -j list ruleset` would print it. An option that is not known may match or not; a target
/// that is not known may do anything. A rule's handle is its number in the table.
pub fn ruleset(printed: &str, family: Family) -> Value {
    let mut objects = Vec::new();
    let (mut table, mut number) = ("", 0u64);
    for line in printed.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            (table, number) = (name, 0);
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or("-"));
            objects.push(chain_object(family, table, name, policy));
        } else if let Some((chain, options)) = rule_of(line) {
            number += 1;
            let mut rule = Rule { family, expressions: Vec::new(), negated: false };
            rule.read(&options);
            objects.push(json!({ "rule": {
                "family": family.word(), "table": table, "chain": chain, "handle": number, "expr": rule.expressions,
            } }));
        }
    }
    json!({ "nftables": objects })
}

/// The rule of a table with this number, as it was printed: `-A CHAIN OPTIONS`.
pub fn printed_rule<'p>(printed: &'p str, table: &str, number: u64) -> Option<&'p str> {
    let lines =
        printed.lines().map(str::trim).skip_while(|line| line.strip_prefix('*') != Some(table)).skip(1);
    let mut rules = lines.take_while(|line| !line.starts_with('*')).filter(|line| rule_of(line).is_some());
    let line = rules.nth(usize::try_from(number.checked_sub(1)?).ok()?)?;
    line.find("-A ").map(|at| &line[at..])
}

fn chain_object(family: Family, table: &str, name: &str, policy: &str) -> Value {
    if policy == "-" {
        return json!({ "chain": { "family": family.word(), "table": table, "name": name } });
    }
    let priority = match table {
        "raw" => -300,
        "mangle" => -150,
        "nat" if matches!(name, "PREROUTING" | "OUTPUT") => -100,
        "nat" => 100,
        "security" => 50,
        _ => 0,
    };
    json!({ "chain": {
        "family": family.word(), "table": table, "name": name, "hook": name.to_ascii_lowercase(), "prio": priority,
        "type": if table == "nat" { "nat" } else { "filter" }, "policy": policy.to_ascii_lowercase(),
    } })
}

/// Chain and options of a line `-A CHAIN OPTIONS`; counters may stand before it.
fn rule_of(line: &str) -> Option<(String, Vec<String>)> {
    let line = match line.strip_prefix('[') {
        Some(rest) => rest.split_once("] ")?.1,
        None => line,
    };
    let mut words = words(line.strip_prefix("-A ")?).into_iter();
    Some((words.next()?, words.collect()))
}

/// Words; quotes hold one together, a backslash takes its meaning from the next character.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            '"' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            character => word.push(character),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

struct Rule {
    family: Family,
    expressions: Vec<Value>,
    negated: bool,
}

impl Rule {
    fn read(&mut self, options: &[String]) {
        let mut options = options.iter().map(String::as_str);
        while let Some(option) = options.next() {
            if option == "!" {
                self.negated = true;
                continue;
            }
            let mut value = || options.next().unwrap_or_default();
            match option {
                "-j" | "-g" => return self.target(option, value()),
                "-m" | "--comment" => _ = value(),
                "-p" => {
                    let protocol = value();
                    self.equal(json!({ "meta": { "key": "l4proto" } }), json!(protocol));
                }
                "-s" | "-d" => {
                    let field = if option == "-s" { "saddr" } else { "daddr" };
                    let address = address(value());
                    self.equal(
                        json!({ "payload": { "protocol": self.family.word(), "field": field } }),
                        address,
                    );
                }
                "-i" | "-o" => {
                    let key = if option == "-i" { "iifname" } else { "oifname" };
                    let name = value();
                    // `eth+` is any that begins so, and `+` any.
                    self.equal(json!({ "meta": { "key": key } }), json!(name.replace('+', "*")));
                }
                "--sport" | "--dport" | "--sports" | "--dports" => {
                    let field = if option.starts_with("--s") { "sport" } else { "dport" };
                    let ports: Vec<Value> = value().split(',').map(port).collect();
                    self.equal(
                        json!({ "payload": { "protocol": "th", "field": field } }),
                        json!({ "set": ports }),
                    );
                }
                "--ctstate" | "--state" => {
                    let states: Vec<String> = value().split(',').map(str::to_ascii_lowercase).collect();
                    self.equal(json!({ "ct": { "key": "state" } }), json!({ "set": states }));
                }
                _ if option.starts_with('-') => {
                    self.expressions.push(json!({ "xt": { "type": "match", "name": "unknown" } }));
                    self.negated = false;
                }
                // A value of an option that is not known.
                _ => {}
            }
        }
    }

    fn equal(&mut self, left: Value, right: Value) {
        let op = if std::mem::take(&mut self.negated) { "!=" } else { "==" };
        self.expressions.push(json!({ "match": { "op": op, "left": left, "right": right } }));
    }

    fn target(&mut self, option: &str, name: &str) {
        let statement = match name {
            "ACCEPT" => json!({ "accept": null }),
            "DROP" => json!({ "drop": null }),
            "REJECT" => json!({ "reject": null }),
            "RETURN" => json!({ "return": null }),
            "MASQUERADE" => json!({ "masquerade": null }),
            "SNAT" => json!({ "snat": null }),
            "NOTRACK" | "CT" | "TRACE" | "TCPMSS" | "CHECKSUM" | "CLASSIFY" => json!({ "counter": null }),
            _ if option == "-g" => json!({ "goto": { "target": name } }),
            _ if name.chars().all(|c| c.is_ascii_uppercase()) && TARGETS.contains(&name) => {
                json!({ "xt": { "type": "target", "name": name } })
            }
            _ => json!({ "jump": { "target": name } }),
        };
        self.expressions.push(statement);
    }
}

/// Targets that are no chains, and neither end a rule nor are known to do no harm.
const TARGETS: [&str; 16] = [
    "LOG", "NFLOG", "MARK", "CONNMARK", "DNAT", "REDIRECT", "NETMAP", "TPROXY", "NFQUEUE", "QUEUE", "TTL",
    "HL", "DSCP", "TOS", "SET", "TEE",
];

/// `10.0.1.0/24`, or an address whose prefix says no more than itself.
fn address(text: &str) -> Value {
    match text.split_once('/') {
        Some((address, length)) => match length.parse::<u8>() {
            Ok(length) => json!({ "prefix": { "addr": address, "len": length } }),
            // A netmask with holes.
            Err(_) => json!({ "unknown": text }),
        },
        None => json!(text),
    }
}

/// `53` or `1024:65535`.
fn port(text: &str) -> Value {
    let number = |text: &str| text.parse::<u16>().map_or(Value::Null, |port| json!(port));
    match text.split_once(':') {
        Some((low, high)) => json!({ "range": [number(low), number(high)] }),
        None => number(text),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::core::model::Rules;
    use crate::nft::firewall::{Direction, Ways, obstacles, translations};

    /// `iptables-legacy-save` of a director with the usual firewall; the last rule of each chain is that of the cure.
    const SAVED: &str = "\
# Generated by iptables-save v1.8.9 on Mon Nov 23 00:20:01 2026
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.0.1.0/24 ! -d 10.0.0.0/8 -m comment --comment \"the servers' way \\\"out\\\"\" -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [12:1008]
:OUTPUT ACCEPT [34:2856]
:dns - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -m conntrack --ctstate NEW -j dns
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i eth+ -p tcp -m multiport --dports 80,443,8000:8100 -j ACCEPT
-A dns -m hashlimit --hashlimit-upto 100/sec --hashlimit-name dns -j ACCEPT
COMMIT
";

    fn rules() -> Rules {
        Rules {
            requests: ["192.0.2.53:53".parse().unwrap()].into(),
            replies: [("10.0.1.11:5300".parse().unwrap(), "192.0.2.53:53".parse().unwrap())].into(),
            ..Rules::default()
        }
    }

    fn dropped(saved: &str) -> Vec<(Direction, bool)> {
        let found = obstacles(&ruleset(saved, Family::Ip), &rules(), &Ways::default());
        found.into_iter().map(|obstacle| (obstacle.direction, obstacle.certain)).collect()
    }

    #[test]
    fn states_and_policies_tell_for_certain() {
        assert_eq!(dropped(SAVED), [(Direction::Reply, true), (Direction::Request, true)]);
        let cured = SAVED
            .replace("-A INPUT -i lo", "-A INPUT -d 192.0.2.53/32 -p udp -m udp --dport 53 -m conntrack --ctstate UNTRACKED -j ACCEPT\n-A INPUT -i lo")
            .replace("-A dns", "-A FORWARD -s 10.0.1.11/32 -p udp -m udp --sport 5000:5999 -m conntrack --ctstate UNTRACKED -j ACCEPT\n-A dns");
        assert_eq!(dropped(&cured), []);
        assert_eq!(dropped(&SAVED.replace("NEW -j", "NEW,UNTRACKED -j")), [(Direction::Reply, true)]);
    }

    /// As Docker has them: the policy drops what does not concern its own bridge.
    #[test]
    fn rules_that_name_interfaces_are_judged_where_those_are_known() {
        let saved = "*filter\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n\
            -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -o docker0 -j DOCKER\n\
            -A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n-A DOCKER -d 172.17.0.2/32 ! -i docker0 -p tcp -j ACCEPT\nCOMMIT\n";
        assert_eq!(dropped(saved), [], "the servers may be behind docker0");
        let server = |link: &str| [("10.0.1.11".parse().unwrap(), link.to_owned())].into();
        let clients = BTreeSet::from(["eth0", "eth1", "docker0"].map(str::to_owned));
        let found = |saved: &str, link: &str| {
            let ways = Ways { clients: clients.clone(), servers: server(link) };
            !obstacles(&ruleset(saved, Family::Ip), &rules(), &ways).is_empty()
        };
        assert!(found(saved, "eth1"));
        assert!(!found(saved, "docker0"), "replies may leave by eth0");
        for passes in ["-i eth1", "-i eth+", "-o eth0", "-i eth1 -o eth0", "! -i docker0"] {
            let cured =
                saved.replace("-A FORWARD -i", &format!("-A FORWARD {passes} -j ACCEPT\n-A FORWARD -i"));
            assert!(!found(&cured, "eth1"), "{passes}: some clients are served");
        }
        let other = saved.replace("-A FORWARD -i", "-A FORWARD -i eth0 -o eth1 -j ACCEPT\n-A FORWARD -i");
        assert!(found(&other, "eth1"), "that is the way of requests");
    }

    #[test]
    fn masquerade_is_found_whoever_is_exempt() {
        let servers: BTreeSet<_> = rules().replies.into_keys().collect();
        let found = translations(&ruleset(SAVED, Family::Ip), Direction::Reply, &servers);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert_eq!((only.table.as_str(), only.hook, only.tracked), ("nat", "postrouting", true));
        assert_eq!(only.rule.to_string(), "rule masquerade, handle 1 of chain POSTROUTING");
        let other = SAVED.replace("-s 10.0.1.0/24", "-s 10.0.9.0/24");
        assert_eq!(translations(&ruleset(&other, Family::Ip), Direction::Reply, &servers), []);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in any::<String>(),
            lines in "(([*:]|-A |\\[0:0\\] |! |-m |-p |-s |-j |--dport |--ctstate |INPUT|DROP|\"|\\\\|[a-z0-9:/]{1,4}| |\n){0,40})",
        ) {
            for text in [text, lines] {
                let ruleset = ruleset(&text, Family::Ip6);
                let _ = (obstacles(&ruleset, &rules(), &Ways::default()), translations(&ruleset, Direction::Reply, rules().replies.keys()));
            }
        }
    }
}
