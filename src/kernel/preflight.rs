//! What would silently break the service, judged from facts: pure. `facts.rs` reads them, the daemon acts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipvs_netlink::Forward;

use crate::core::desired;
use crate::core::model::{Config, Forwarding, Sysctls};
use crate::core::sysctls::{self, IP_FORWARD, IP6_FORWARD, VITAL, Vital};

/// What was read of the director before the first change.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The sysctls of [`keys`] that this kernel has.
    pub sysctls: BTreeMap<String, String>,
    /// IPVS services that are not in the config.
    pub foreign_services: usize,
    /// VIPs that are no address of this machine.
    pub absent_vips: BTreeSet<IpAddr>,
    /// The interface that the route to each server leaves by, where there is a route.
    pub server_links: BTreeMap<IpAddr, String>,
    /// The interfaces by which clients may come: that of the default route, or the only one.
    pub client_links: BTreeSet<String>,
    /// The processes of a keepalived that may manage IPVS in this network namespace.
    pub keepalived: BTreeSet<u32>,
}

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The daemon starts, and says this.
    Warn {
        /// What is wrong and what follows.
        what: String,
        /// What to do.
        cure: String,
    },
    /// The daemon does not start.
    Refuse {
        /// What is wrong and what follows.
        what: String,
        /// What to do.
        cure: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Warn { what, cure } | Self::Refuse { what, cure } => write!(f, "{what}; {cure}"),
        }
    }
}

/// Every sysctl that [`judge`] looks at, on a machine with these interfaces.
pub fn keys(interfaces: &[String]) -> Vec<String> {
    let mut keys: Vec<String> = sysctls::watched().map(str::to_owned).collect();
    for interface in interfaces.iter().map(String::as_str).chain(["all"]) {
        keys.extend(["rp_filter", "send_redirects"].map(|name| per_interface(interface, name)));
    }
    keys
}

fn per_interface(interface: &str, name: &str) -> String {
    format!("net.ipv4.conf.{}.{name}", interface.replace('.', "/"))
}

/// All that is wrong, in the order in which it is said.
pub fn judge(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    forwarding(config, facts, &mut findings);
    if config.services.iter().any(|service| service.ops) {
        vs_keys(config, facts, &mut findings);
    }
    reply_path(config, facts, &mut findings);
    if let Some(process) = facts.keepalived.first() {
        findings.push(Finding::Warn {
            what: format!(
                "keepalived (process {process}) runs in this network namespace: where it has virtual servers of \
                 this config, it will change weights against ipvsd, and delete the services when it is stopped"
            ),
            cure: "kill all its processes at once, so that it cannot (`pkill -KILL keepalived`), or let it do VRRP \
                   only (`keepalived -P`)"
                .to_owned(),
        });
    }
    for vip in &facts.absent_vips {
        findings.push(Finding::Warn {
            what: format!("the VIP {vip} is no address of this machine: requests to it do not get here"),
            cure: "right for a backup director; otherwise add the address (ipvsd does not)".to_owned(),
        });
    }
    findings
}

fn forwarding(config: &Config, facts: &Facts, findings: &mut Vec<Finding>) {
    let families = [
        (IP_FORWARD, "IPv4", false, ""),
        (
            IP6_FORWARD,
            "IPv6",
            true,
            "; a host that learns its default route from router advertisements loses it by this, \
             unless `accept_ra` of that interface is 2",
        ),
    ];
    for (key, family, v6, note) in families {
        let Some(name) = desired::nat(config, v6) else { continue };
        if facts.sysctls.get(key).is_none_or(|value| value != "0") {
            continue;
        }
        if config.kernel.forwarding == Forwarding::Require {
            findings.push(Finding::Refuse {
                what: format!(
                    "{family} is not forwarded, so no reply of service \"{name}\" reaches a client"
                ),
                cure: format!("run `sysctl -w {key}=1`, or set `forwarding = \"set\"` in [kernel]{note}"),
            });
        } else if !note.is_empty() {
            let note = note.trim_start_matches("; ");
            let cure = "see that this is right here".to_owned();
            findings.push(Finding::Warn { what: format!("{key} is set to 1: {note}"), cure });
        }
    }
}

fn vs_keys(config: &Config, facts: &Facts, findings: &mut Vec<Finding>) {
    let foreign = facts.foreign_services;
    let left = if foreign > 0 {
        format!("left alone, since {foreign} IPVS services that are not in the config may depend on it")
    } else if config.kernel.sysctls == Sysctls::Report {
        "left alone, as `sysctls = \"report\"` says".to_owned()
    } else {
        return;
    };
    for Vital { key, right, why, .. } in
        VITAL.iter().filter(|vital| facts.sysctls.get(vital.key).is_some_and(|value| vital.breaks(value)))
    {
        let value = &facts.sysctls[*key];
        findings.push(Finding::Warn {
            what: format!("{key} is {value}: {why}"),
            cure: format!("{left}; run `sysctl -w {key}={right}`"),
        });
    }
}

/// rp_filter and send_redirects: they matter where replies come through the director, in IPv4.
fn reply_path(config: &Config, facts: &Facts, findings: &mut Vec<Finding>) {
    let nat = config.services.iter().filter(|service| service.forward == Forward::Masquerade);
    let servers: BTreeSet<IpAddr> =
        nat.flat_map(|service| &service.servers).map(|s| s.address.ip()).collect();
    let links: BTreeSet<&String> = servers
        .iter()
        .filter(|server| server.is_ipv4())
        .filter_map(|server| facts.server_links.get(server))
        .collect();
    let value = |interface: &str, name: &str| -> u8 {
        let value = facts.sysctls.get(&per_interface(interface, name));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    for link in links {
        // The kernel takes the larger of the two.
        if value("all", "rp_filter").max(value(link, "rp_filter")) == 1 {
            findings.push(Finding::Warn {
                what: format!(
                    "rp_filter is strict on {link}: replies that come in by another interface than the \
                     route to their server are dropped"
                ),
                cure: format!(
                    "if routes are asymmetric run `sysctl -w {}=2`",
                    per_interface(link, "rp_filter")
                ),
            });
        }
        // The kernel takes either of the two.
        if facts.client_links.contains(link)
            && value("all", "send_redirects").max(value(link, "send_redirects")) != 0
        {
            findings.push(Finding::Warn {
                what: format!(
                    "servers and clients are both behind {link}: ICMP redirects teach the servers to answer \
                     past the director, from their own addresses"
                ),
                cure: format!(
                    "run `sysctl -w {}=0 net.ipv4.conf.all.send_redirects=0`, and make the director the \
                     servers' only route to the clients",
                    per_interface(link, "send_redirects")
                ),
            });
        }
    }
}

/// What a VIP or a server needs checked before start.
pub fn addresses(config: &Config) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
    let ip = |address: &SocketAddr| address.ip();
    let vips = config.services.iter().flat_map(|service| service.listen.iter().map(ip)).collect();
    let servers = config.services.iter().flat_map(|service| service.servers.iter().map(|s| s.address.ip()));
    (vips, servers.collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::model::{Server, Service};

    fn config(forward: Forward) -> Config {
        let service = Service {
            name: "dns".to_owned(),
            listen: vec!["192.0.2.53:53".parse().unwrap(), "[2001:db8::53]:53".parse().unwrap()],
            ops: true,
            scheduler: "rr".parse().unwrap(),
            forward,
            servers: vec![Server { address: "10.0.1.11:53".parse().unwrap(), weight: 1, fallback: false }],
            checks: Vec::new(),
            policy: Default::default(),
            drain: Duration::from_secs(5),
            drift: Default::default(),
        };
        Config { services: vec![service], ..Config::default() }
    }

    fn facts(sysctls: &[(&str, &str)]) -> Facts {
        let healthy = [(IP_FORWARD, "1"), (IP6_FORWARD, "1"), ("net.ipv4.vs.nat_icmp_send", "0")];
        let sysctls = healthy.iter().chain(sysctls).map(|(key, value)| (key.to_string(), value.to_string()));
        Facts { sysctls: sysctls.collect(), ..Facts::default() }
    }

    fn said(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_healthy_director_has_no_findings() {
        assert_eq!(said(&judge(&config(Forward::Masquerade), &facts(&[]))), Vec::<String>::new());
    }

    #[test]
    fn forwarding_is_refused_or_set_but_only_for_nat() {
        let off = facts(&[(IP6_FORWARD, "0")]);
        let findings = judge(&config(Forward::Masquerade), &off);
        assert!(matches!(&findings[..], [Finding::Refuse { cure, .. }] if cure.contains("accept_ra")));
        let mut set = config(Forward::Masquerade);
        set.kernel.forwarding = Forwarding::Set;
        assert!(matches!(&judge(&set, &off)[..], [Finding::Warn { what, .. }] if what.contains("accept_ra")));
        assert_eq!(judge(&config(Forward::Direct), &off), []);
    }

    #[test]
    fn a_harmful_key_is_said_where_it_is_left_alone() {
        let mut bad = facts(&[("net.ipv4.vs.nat_icmp_send", "1"), ("net.ipv4.vs.conn_max", "0")]);
        assert_eq!(judge(&config(Forward::Masquerade), &bad), [], "it is set");
        bad.foreign_services = 1;
        let findings = judge(&config(Forward::Masquerade), &bad);
        assert!(findings.iter().all(|finding| matches!(finding, Finding::Warn { .. })), "{findings:?}");
        assert_eq!(findings.len(), 2);
    }

    #[test]
    fn one_armed_with_redirects_and_strict_rp_filter_are_said() {
        let mut bad =
            facts(&[("net.ipv4.conf.eth0.rp_filter", "1"), ("net.ipv4.conf.all.send_redirects", "1")]);
        bad.server_links = BTreeMap::from([("10.0.1.11".parse().unwrap(), "eth0".to_owned())]);
        bad.client_links = BTreeSet::from(["eth0".to_owned()]);
        bad.absent_vips = BTreeSet::from(["192.0.2.53".parse().unwrap()]);
        assert_eq!(judge(&config(Forward::Masquerade), &bad).len(), 3);
    }
}
