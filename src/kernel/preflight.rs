//! What would silently break the service, judged from facts: pure. `facts.rs` reads them, the daemon acts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipvs_netlink::{Family, Forward};

use super::finding::{Finding, Id};
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

/// What is said at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// With any of these the daemon does not start.
    pub refusals: Vec<Finding>,
    /// The daemon starts, and says these.
    pub warnings: Vec<Finding>,
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

/// All that is wrong at start, in the order in which it is said. What the daemon will set is not.
pub fn judge(config: &Config, facts: &Facts) -> Verdict {
    let mut verdict = Verdict::default();
    let off = forwarding_off(config, facts);
    if config.kernel.forwarding == Forwarding::Require {
        verdict.refusals = off;
    } else if off.iter().any(|finding| finding.seen.starts_with(IP6_FORWARD)) {
        verdict.warnings.push(Finding::warning(
            Id::ForwardingOff,
            format!("{IP6_FORWARD} is set to 1"),
            ACCEPT_RA,
            "see that this is right here",
        ));
    }
    let foreign = facts.foreign_services;
    let left = if foreign > 0 {
        Some(format!("left alone, since {foreign} IPVS services that are not in the config may depend on it"))
    } else if config.kernel.sysctls == Sysctls::Report {
        Some("left alone, as `sysctls = \"report\"` says".to_owned())
    } else {
        None
    };
    if let Some(left) = left {
        let mut keys = vital_keys(config, facts);
        keys.iter_mut().for_each(|finding| finding.cure = format!("{left}; {}", finding.cure));
        verdict.warnings.append(&mut keys);
    }
    verdict.warnings.extend(reply_path(config, facts));
    verdict.warnings.extend(keepalived(facts));
    verdict.warnings.extend(absent_vips(facts));
    verdict
}

const ACCEPT_RA: &str = "a host that learns its default route from router advertisements loses it by this, \
                         unless `accept_ra` of that interface is 2";

/// The families with a service under NAT that are not forwarded.
pub fn forwarding_off(config: &Config, facts: &Facts) -> Vec<Finding> {
    let families = [
        (IP_FORWARD, "IPv4", Family::Inet, String::new()),
        (IP6_FORWARD, "IPv6", Family::Inet6, format!("; {ACCEPT_RA}")),
    ];
    let off = families.into_iter().filter_map(|(key, called, family, note)| {
        let name = desired::nat(config, family)?;
        facts.sysctls.get(key).filter(|value| *value == "0")?;
        Some(Finding::error(
            Id::ForwardingOff,
            format!("{key} is 0"),
            format!("{called} is not forwarded, so no reply of service \"{name}\" reaches a client"),
            format!("run `sysctl -w {key}=1`, or set `forwarding = \"set\"` in [kernel]{note}"),
        ))
    });
    off.collect()
}

/// The keys of `net.ipv4.vs` that break one-packet scheduling.
pub fn vital_keys(config: &Config, facts: &Facts) -> Vec<Finding> {
    if !config.services.iter().any(|service| service.ops) {
        return Vec::new();
    }
    let broken = VITAL.iter().filter_map(|vital| {
        let value = facts.sysctls.get(vital.key).filter(|value| vital.breaks(value))?;
        let id = match vital.key {
            "net.ipv4.vs.nat_icmp_send" => Id::NatIcmpSend,
            "net.ipv4.vs.drop_packet" => Id::DropPacket,
            "net.ipv4.vs.backup_only" => Id::BackupOnly,
            "net.ipv4.vs.schedule_icmp" => Id::ScheduleIcmp,
            _ => Id::ConnMax,
        };
        let Vital { key, right, why, .. } = vital;
        Some(Finding::error(id, format!("{key} is {value}"), *why, format!("run `sysctl -w {key}={right}`")))
    });
    broken.collect()
}

/// A keepalived beside ipvsd.
pub fn keepalived(facts: &Facts) -> Option<Finding> {
    let process = facts.keepalived.first()?;
    Some(Finding::warning(
        Id::Keepalived,
        format!("keepalived (process {process}) runs in this network namespace"),
        "where it has virtual servers of this config, it will change weights against ipvsd, and delete the services \
         when it is stopped",
        "kill all its processes at once, so that it cannot (`pkill -KILL keepalived`), or let it do VRRP only \
         (`keepalived -P`)",
    ))
}

/// The VIPs that are not here.
pub fn absent_vips(facts: &Facts) -> impl Iterator<Item = Finding> {
    facts.absent_vips.iter().map(|vip| {
        Finding::warning(
            Id::VipAbsent,
            format!("the VIP {vip} is no address of this machine"),
            "requests to it do not get here",
            "right for a backup director; otherwise add the address (ipvsd does not): \
             `ip addr add ADDRESS dev INTERFACE`",
        )
    })
}

/// rp_filter and send_redirects: they matter where replies come through the director, in IPv4.
pub fn reply_path(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
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
            findings.push(Finding::warning(
                Id::RpFilter,
                format!("rp_filter is strict on {link}"),
                "replies that come in by another interface than the route to their server are dropped",
                format!("if routes are asymmetric run `sysctl -w {}=2`", per_interface(link, "rp_filter")),
            ));
        }
        // The kernel takes either of the two.
        if facts.client_links.contains(link)
            && value("all", "send_redirects").max(value(link, "send_redirects")) != 0
        {
            findings.push(Finding::warning(
                Id::SendRedirects,
                format!("servers and clients are both behind {link}"),
                "ICMP redirects teach the servers to answer past the director, from their own addresses",
                format!(
                    "run `sysctl -w {}=0 net.ipv4.conf.all.send_redirects=0`, and make the director the \
                     servers' only route to the clients",
                    per_interface(link, "send_redirects")
                ),
            ));
        }
    }
    findings
}

/// What a VIP or a server needs checked before start.
pub fn addresses(config: &Config) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
    let vips = config.services.iter().flat_map(|service| &service.listen);
    let vips = vips.filter_map(|vip| Some(vip.address()?.ip())).collect();
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
            scheduler_flags: 0,
            persistence: None,
            forward,
            servers: ["10.0.1.11:53", "[fd00::11]:53"]
                .map(|it| Server::new(it.parse().unwrap(), 1, forward))
                .to_vec(),
            checks: Vec::new(),
            own_checks: BTreeMap::new(),
            own_commands: BTreeMap::new(),
            down_on_stop: false,
            ha_suspend: false,
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

    #[test]
    fn a_healthy_director_has_no_findings() {
        assert_eq!(judge(&config(Forward::Masquerade), &facts(&[])), Verdict::default());
    }

    #[test]
    fn forwarding_is_refused_or_set_but_only_for_nat() {
        let off = facts(&[(IP6_FORWARD, "0")]);
        let verdict = judge(&config(Forward::Masquerade), &off);
        assert!(verdict.refusals.iter().all(|finding| finding.cure.contains("accept_ra")));
        assert_eq!((verdict.refusals.len(), verdict.warnings.len()), (1, 0));
        let mut set = config(Forward::Masquerade);
        set.kernel.forwarding = Forwarding::Set;
        let verdict = judge(&set, &off);
        assert!(verdict.warnings.iter().all(|finding| finding.follows.contains("accept_ra")));
        assert_eq!((verdict.refusals.len(), verdict.warnings.len()), (0, 1));
        assert_eq!(judge(&config(Forward::Direct), &off), Verdict::default());
    }

    #[test]
    fn a_harmful_key_is_said_where_it_is_left_alone() {
        let mut bad = facts(&[("net.ipv4.vs.nat_icmp_send", "1"), ("net.ipv4.vs.conn_max", "0")]);
        assert_eq!(judge(&config(Forward::Masquerade), &bad), Verdict::default(), "it is set");
        bad.foreign_services = 1;
        let ids = |findings: &[Finding]| findings.iter().map(|finding| finding.id).collect::<Vec<_>>();
        let verdict = judge(&config(Forward::Masquerade), &bad);
        assert_eq!(
            (ids(&verdict.refusals), ids(&verdict.warnings)),
            (vec![], vec![Id::NatIcmpSend, Id::ConnMax])
        );
        assert!(verdict.warnings[0].to_string().contains("left alone, since 1 IPVS services"));
    }

    #[test]
    fn each_vital_key_has_a_name_of_its_own() {
        for vital in VITAL {
            let bad = facts(&[(vital.key, vital.wrong.unwrap_or("9"))]);
            let found = vital_keys(&config(Forward::Masquerade), &bad);
            let name = vital.key.rsplit('.').next().unwrap().replace('_', "-");
            assert_eq!(found.iter().map(|finding| finding.id.name()).collect::<Vec<_>>(), [name]);
        }
    }

    #[test]
    fn one_armed_with_redirects_and_strict_rp_filter_are_said() {
        let mut bad =
            facts(&[("net.ipv4.conf.eth0.rp_filter", "1"), ("net.ipv4.conf.all.send_redirects", "1")]);
        bad.server_links = BTreeMap::from([("10.0.1.11".parse().unwrap(), "eth0".to_owned())]);
        bad.client_links = BTreeSet::from(["eth0".to_owned()]);
        bad.absent_vips = BTreeSet::from(["192.0.2.53".parse().unwrap()]);
        let warnings = judge(&config(Forward::Masquerade), &bad).warnings;
        let ids: Vec<Id> = warnings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, [Id::RpFilter, Id::SendRedirects, Id::VipAbsent]);
    }
}
