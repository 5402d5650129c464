//! The IPVS table against the config: what keeps each datagram from being scheduled on its own, to a server that lives.

use std::collections::BTreeSet;

use ipvs_netlink::{DestinationKey, Flags, Forward, Protocol, ServiceKey};

use super::apply;
use crate::core::desired;
use crate::core::model::{Config, Service, Vip};
use crate::core::plan::{FoundService, FoundServices};
use crate::doctor::facts::Facts;
use crate::kernel::finding::{Finding, Id};

/// The schedulers that spread the datagrams of one client under OPS.
const SPREADING: [&str; 3] = ["rr", "wrr", "twos"];
/// Those that look a server up by a hash, and find one that is down as well.
const HASHING: [&str; 2] = ["sh", "mh"];

pub fn judge(config: &Config, scope: &Config, facts: &Facts) -> Vec<Finding> {
    let Some(services) = &facts.services else { return Vec::new() };
    let mut findings = Vec::new();
    for (key, place) in desired::listens(scope) {
        let (wanted, vip) = (&scope.services[place], Vip(key));
        match services.get(&key) {
            None => findings.push(Finding::error(
                Id::ServiceMissing,
                format!("IPVS has no service at {vip} (\"{}\")", wanted.name),
                "its clients are refused, or answered by this machine itself",
                apply(facts),
            )),
            Some(found) => {
                settings(wanted, vip, found, facts, &mut findings);
                servers(wanted, vip, found, facts, &mut findings);
            }
        }
        findings.extend(pinned(vip, wanted, facts));
    }
    findings.extend(shared(config, scope, services));
    findings.extend(on_loopback(scope));
    findings
}

fn settings(wanted: &Service, vip: Vip, found: &FoundService, facts: &Facts, findings: &mut Vec<Finding>) {
    let name = &wanted.name;
    let flags = found.config.flags;
    if wanted.ops_at(vip) && !flags.contains(Flags::ONE_PACKET) {
        findings.push(Finding::error(
            Id::NoOps,
            format!("the IPVS service {vip} (\"{name}\") is without one-packet scheduling"),
            "each client port is pinned to one server, also when that server is dead",
            apply(facts),
        ));
    } else if wanted.pins_nobody_at(vip) && flags.contains(Flags::PERSISTENT) {
        findings.push(Finding::error(
            Id::NoOps,
            format!("the IPVS service {vip} (\"{name}\") is persistent"),
            "each client is pinned to one server, one-packet scheduling or not",
            apply(facts),
        ));
    }
    let scheduler = found.config.scheduler.to_string();
    if wanted.pins_nobody_at(vip) && !SPREADING.contains(&scheduler.as_str()) {
        findings.push(Finding::warning(
            Id::Scheduler,
            format!("the IPVS service {vip} (\"{name}\") has the scheduler {scheduler}"),
            match HASHING.contains(&scheduler.as_str()) {
                true => "all datagrams of a client go to the same server",
                false => "it counts connections, of which one-packet scheduling makes none: all datagrams go to the same server",
            },
            "set `scheduler = \"rr\"`, or \"wrr\" with weights, and run `ipvsd reload`; live it costs about 20 ms of datagrams",
        ));
    }
}

fn servers(wanted: &Service, vip: Vip, found: &FoundService, facts: &Facts, findings: &mut Vec<Finding>) {
    let name = &wanted.name;
    let down: Vec<String> =
        found.servers.iter().filter(|(_, it)| it.weight == 0).map(|(key, _)| key.0.to_string()).collect();
    let hashing = HASHING.contains(&found.config.scheduler.to_string().as_str());
    if down.len() == found.servers.len() {
        findings.push(Finding::error(
            Id::NoWeight,
            format!("no server of the IPVS service {vip} (\"{name}\") has weight"),
            "clients are refused (ICMP port unreachable)",
            match facts.daemon_runs {
                true => "`ipvsd status` says why each is down",
                false => {
                    "start ipvsd (`systemctl start ipvsd`), which gives weight to the servers that answer"
                }
            },
        ));
    } else if hashing && !down.is_empty() && !found.config.flags.contains(Flags::SCHED1) {
        findings.push(Finding::error(
            Id::DeadSlot,
            format!(
                "the scheduler {} of {vip} (\"{name}\") has no fallback, and {} has weight 0",
                found.config.scheduler,
                down.join(", ")
            ),
            "the clients whose hash leads there are refused (ICMP port unreachable), and only they",
            "set `scheduler = \"rr\"` or \"wrr\" and run `ipvsd reload`, or bring the server up",
        ));
    }
}

fn pinned(vip: Vip, wanted: &Service, facts: &Facts) -> Option<Finding> {
    let entries = facts.entries.as_ref()?.iter().filter(|(service, _)| *service == vip.0);
    let servers: Vec<String> = entries.map(|(_, server)| server.0.to_string()).collect();
    if !wanted.pins_nobody_at(vip) || servers.is_empty() {
        return None;
    }
    Some(Finding::error(
        Id::PinnedClients,
        format!("/proc/net/ip_vs_conn has entries of {vip} (\"{}\") to {}", wanted.name, servers.join(", ")),
        "these clients keep their server as long as they send, whether it lives or not: entries outlive the switch to \
         one-packet scheduling",
        match facts.daemon_runs {
            true => {
                "ipvsd evicts them as soon as a second server has weight: `ipvsd status` shows the servers"
            }
            false => "start ipvsd (`systemctl start ipvsd`), which evicts them server by server",
        },
    ))
}

/// Servers under NAT with OPS that a service of somebody else has as well.
fn shared(config: &Config, scope: &Config, services: &FoundServices) -> Vec<Finding> {
    let own: BTreeSet<ServiceKey> = desired::listens(config).map(|(key, _)| key).collect();
    let rules = desired::rules_of(scope);
    let foreign = services.iter().filter(|(key, found)| {
        let udp =
            matches!(key, ServiceKey::Address { protocol: Protocol::UDP, .. } | ServiceKey::FwMark { .. });
        udp && !own.contains(key) && found.config.flags.contains(Flags::ONE_PACKET)
    });
    let mut findings = Vec::new();
    for (key, found) in foreign {
        for (DestinationKey(server), config) in found.servers.iter() {
            let Some(vip) = rules.replies.get(server).filter(|_| config.forward == Forward::Masquerade)
            else {
                continue;
            };
            findings.push(Finding::error(
                Id::SharedServer,
                format!("{server} of {vip} is also a server of the IPVS service {key}, which is not in the config"),
                format!("its replies all leave from {vip}: under NAT with one-packet scheduling a server answers for one VIP"),
                "remove the other service (`ipvsadm -D`), give it servers on another port, or put both into the config \
                 with `forward = \"direct\"` or `\"tunnel\"`",
            ));
        }
    }
    findings
}

fn on_loopback(scope: &Config) -> Vec<Finding> {
    let nat = scope.services.iter().filter(|service| service.forward == Forward::Masquerade);
    let servers = nat.flat_map(|service| service.servers.iter().map(move |server| (service, server.address)));
    let found = servers.filter(|(_, server)| server.ip().is_loopback()).map(|(service, server)| {
        Finding::error(
            Id::LoopbackServer,
            format!("the server {server} of \"{}\" is a loopback address", service.name),
            "the kernel forwards nothing to loopback under NAT: each of its requests is dropped",
            "let the server listen on another address of this machine, and name that one",
        )
    });
    found.collect()
}
