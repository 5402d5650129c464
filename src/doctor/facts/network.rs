//! Reads routes, addresses and interfaces, by the JSON of ip(8), by ethtool(8) and by sysfs.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

use super::{Address, Facts, Link, Skipped, read};
use crate::core::model::Config;
use crate::doctor::program;
use crate::kernel::preflight;

impl Facts {
    /// Asks for the route to each server, as the kernel would take it for a packet of its own.
    pub(super) async fn read_routes(&mut self, scope: &Config, skipped: &mut Vec<Skipped>) {
        let (_, mut servers) = preflight::addresses(scope);
        let asked: String = servers.iter().map(|server| format!("route get {server}\n")).collect();
        match program::feed("ip", &["-j", "-force", "-batch", "-"], &asked).await {
            Ok(text) => {
                for (server, link) in reached(&text) {
                    servers.remove(&server);
                    self.links_to.insert(server, link);
                }
            }
            Err(why) => return skipped.push(Skipped::new("routes to servers", why)),
        }
        // Of those that are left it is not said which failed why.
        for server in servers.into_iter().take(UNREACHED) {
            let why = program::run("ip", &["-j", "route", "get", &server.to_string()]).await;
            self.unreached.insert(server, why.err().unwrap_or_else(|| "its route leads nowhere".to_owned()));
        }
    }

    /// Addresses and interfaces.
    pub(super) async fn read_links(&mut self, skipped: &mut Vec<Skipped>) {
        let links = match program::run("ip", &["-j", "addr"]).await {
            Ok(text) => links(&text),
            Err(why) => return skipped.push(Skipped::new("addresses and interfaces", why)),
        };
        for (name, index, addresses) in links {
            let with_prefix = addresses.into_iter().map(|(address, prefix)| Address {
                interface: name.clone(),
                address,
                prefix,
            });
            self.addresses.extend(with_prefix);
            if name == "lo" {
                continue;
            }
            let gro = match program::run("ethtool", &["-k", &name]).await {
                Ok(text) => gro(&text),
                Err(why) => {
                    if !skipped.iter().any(|skipped| skipped.what == GRO) {
                        skipped.push(Skipped::new(GRO, why));
                    }
                    Vec::new()
                }
            };
            self.links.push(Link { queues: queues(&name, index), name, gro });
        }
    }
}

/// So many servers without a route are asked for one by one.
const UNREACHED: usize = 16;

const GRO: &str = "UDP GRO of the interfaces";

/// `ip -j -batch` of many `route get ADDRESS`, one document each: the addresses that there is a way to, and
/// its interface.
fn reached(text: &str) -> impl Iterator<Item = (IpAddr, String)> {
    let documents = serde_json::Deserializer::from_str(text).into_iter::<Value>().map_while(Result::ok);
    documents.filter_map(|document| {
        let text = |key| document.get(0)?.get(key)?.as_str();
        let nowhere = matches!(text("type"), Some("blackhole" | "unreachable" | "prohibit" | "throw"));
        if nowhere { None } else { Some((text("dst")?.parse().ok()?, text("dev")?.to_owned())) }
    })
}

/// Name, index, and addresses with the bits of their networks.
type Addressed = (String, u64, Vec<(IpAddr, u8)>);

/// `ip -j addr`: the interfaces that are up.
fn links(text: &str) -> Vec<Addressed> {
    let printed: Value = serde_json::from_str(text).unwrap_or_default();
    let link = |link: &Value| {
        let flags = link.get("flags")?.as_array()?;
        let address = |address: &Value| {
            let prefix = address.get("prefixlen")?.as_u64()?;
            Some((address.get("local")?.as_str()?.parse().ok()?, u8::try_from(prefix).ok()?))
        };
        let addresses = link.get("addr_info").and_then(Value::as_array).into_iter().flatten();
        flags.iter().any(|flag| flag == "UP").then_some((
            link.get("ifname")?.as_str()?.to_owned(),
            link.get("ifindex")?.as_u64()?,
            addresses.filter_map(address).collect(),
        ))
    };
    printed.as_array().into_iter().flatten().filter_map(link).collect()
}

/// Of `ethtool -k`, what lets a train of datagrams pass as one packet.
fn gro(text: &str) -> Vec<String> {
    let on = text.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once(": ")?;
        (["rx-udp-gro-forwarding", "rx-gro-list"].contains(&name) && value.starts_with("on"))
            .then(|| name.to_owned())
    });
    on.collect()
}

/// The receive queues of a NIC; none of what is no hardware, and where sysfs shows another network namespace.
fn queues(name: &str, index: u64) -> Option<(usize, bool)> {
    let dir = Path::new("/sys/class/net").join(name);
    let seen = read(dir.join("ifindex").to_str()?).parse::<u64>().ok();
    if seen != Some(index) || !dir.join("device").exists() {
        return None;
    }
    let entries = fs::read_dir(dir.join("queues")).ok()?.flatten();
    let receive = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-"));
    let masks: Vec<String> =
        receive.map(|entry| fs::read_to_string(entry.path().join("rps_cpus")).unwrap_or_default()).collect();
    let spread = masks.iter().any(|mask| mask.chars().any(|c| c.is_ascii_hexdigit() && c != '0'));
    Some((masks.len(), spread))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn routes_of_iproute2_are_read() {
        let text = r#"[{"dst":"10.0.1.11","gateway":"10.0.9.1","dev":"back","prefsrc":"10.0.1.1","flags":[],"uid":0,"cache":[]}]
[{"type":"blackhole","dst":"10.9.9.9","dev":"lo"}]
[{"dst":"fd00:1::11","dev":"back","table":"main"}]
"#;
        let expected = ["10.0.1.11", "fd00:1::11"].map(|it| (it.parse().unwrap(), "back".to_owned()));
        assert_eq!(reached(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn interfaces_that_are_up_and_their_addresses_are_read() {
        let text = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"addr_info":[{"family":"inet","local":"192.0.2.53","prefixlen":32}]},
            {"ifindex":2,"ifname":"back","flags":["BROADCAST"],"addr_info":[]},
            {"ifindex":3,"ifname":"front","flags":["UP"],"addr_info":[{"local":"rubbish","prefixlen":24},{"local":"fd00::1","prefixlen":64}]}]"#;
        let lo = ("lo".to_owned(), 1, vec![("192.0.2.53".parse().unwrap(), 32)]);
        let front = ("front".to_owned(), 3, vec![("fd00::1".parse().unwrap(), 64)]);
        assert_eq!(links(text), [lo, front]);
    }

    #[test]
    fn both_features_of_ethtool_are_read() {
        let text = "Features for v0:\nrx-gro-hw: off [fixed]\nrx-gro-list: on\nrx-udp-gro-forwarding: on [requested off]\n\
                    generic-receive-offload: on\n";
        assert_eq!(gro(text), ["rx-gro-list", "rx-udp-gro-forwarding"]);
        assert!(gro(&text.replace(": on", ": off")).is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), json in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            for text in [text, json] {
                let _ = (reached(&text).count(), links(&text), gro(&text));
            }
        }
    }
}
