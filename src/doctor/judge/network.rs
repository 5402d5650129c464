//! The ways to the servers, and the NICs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipvs_netlink::{Forward, ServiceKey};

use crate::core::desired;
use crate::core::model::{Config, Service, Vip};
use crate::doctor::facts::{Address, Facts};
use crate::kernel::finding::{Finding, Id};

pub fn judge(scope: &Config, facts: &Facts) -> Vec<Finding> {
    let mut findings = no_route(facts);
    findings.extend(shared_segment(scope, facts));
    if scope.services.iter().any(|service| service.ops) {
        findings.extend(nics(facts));
    }
    findings
}

fn no_route(facts: &Facts) -> Vec<Finding> {
    let found = facts.unreached.iter().map(|(server, why)| {
        Finding::error(
            Id::NoRoute,
            format!("there is no way to the server {server}: {why}"),
            "IPVS drops each request for it",
            format!("add a route (`ip route add {server} via GATEWAY`), or take the server from the config"),
        )
    });
    found.collect()
}

/// Under NAT, servers in the network of the VIP itself: so are clients there, and those the servers answer at once.
fn shared_segment(scope: &Config, facts: &Facts) -> Vec<Finding> {
    let nat = |service: &&Service| service.ops && service.forward == Forward::Masquerade;
    let mut shared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for service in scope.services.iter().filter(nat) {
        for vip in service.listen.iter().filter_map(Vip::udp) {
            for server in desired::servers_of(service, ServiceKey::udp(vip)) {
                let on =
                    facts.addresses.iter().find(|it| holds(it, vip.ip()) && holds(it, server.address.ip()));
                if let Some(on) = on {
                    let segment = format!("{} and the VIP {}", on.interface, vip.ip());
                    shared.entry(segment).or_default().insert(server.address.ip().to_string());
                }
            }
        }
    }
    let found = shared.into_iter().map(|(segment, servers)| {
        let servers = servers.into_iter().collect::<Vec<_>>().join(", ");
        Finding::warning(
            Id::SharedSegment,
            format!("the servers {servers} are on one network with {segment}"),
            "clients of that network get their replies from the servers' own addresses, past the director, and throw them \
             away; clients elsewhere only if the director is not the servers' gateway",
            "put the servers on a network of their own behind the director, or use `forward = \"direct\"`; \
             `ipvsd doctor --probe` proves the way of clients elsewhere",
        )
    });
    found.collect()
}

/// Whether an address is in the network of an interface.
fn holds(network: &Address, address: IpAddr) -> bool {
    match (network.address, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let differing = u32::from(one) ^ u32::from(other);
            differing.leading_zeros() >= network.prefix.into() && network.prefix < 32
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let differing = u128::from(one) ^ u128::from(other);
            differing.leading_zeros() >= network.prefix.into() && network.prefix < 128
        }
        _ => false,
    }
}

fn nics(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for link in &facts.links {
        let name = &link.name;
        if !link.gro.is_empty() {
            let off = link.gro.iter().map(|feature| format!("{feature} off")).collect::<Vec<_>>().join(" ");
            findings.push(Finding::warning(
                Id::GroForwarding,
                format!("{name} has {} on", link.gro.join(" and ")),
                "datagrams of one client that come together are one packet to IPVS: all go to the same server, and counters \
                 count one",
                format!("run `ethtool -K {name} {off}`"),
            ));
        }
        if link.queues == Some((1, false)) && facts.cpus > 1 {
            let mask = (1u64 << facts.cpus.min(32)) - 1;
            findings.push(Finding::warning(
                Id::OneQueue,
                format!("{name} has one receive queue, and this machine {} processors", facts.cpus),
                "one processor handles every datagram that comes in there",
                format!(
                    "run `ethtool -L {name} combined {}` if the NIC can; otherwise spread by software: \
                     `echo {mask:x} > /sys/class/net/{name}/queues/rx-0/rps_cpus`",
                    facts.cpus
                ),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, healthy};
    use super::*;
    use crate::doctor::facts::Link;

    #[test]
    fn a_server_without_a_way_is_named() {
        let mut facts = healthy();
        facts.unreached.insert("10.0.1.12".parse().unwrap(), "Network is unreachable".into());
        assert_eq!(found(&facts), [Id::NoRoute]);
    }

    #[test]
    fn servers_beside_the_vip_are_named() {
        let mut facts = healthy();
        for (address, prefix, shared) in
            [("10.0.1.1", 24, false), ("192.0.2.1", 24, false), ("0.0.0.1", 0, true)]
        {
            let interface = "eth0".to_owned();
            facts.addresses = vec![Address { interface, address: address.parse().unwrap(), prefix }];
            assert_eq!(found(&facts) == [Id::SharedSegment], shared, "{address}/{prefix}");
        }
    }

    #[test]
    fn nics_are_named() {
        let link = |gro: &[&str], queues| Link {
            name: "eth0".into(),
            gro: gro.iter().map(|feature| feature.to_string()).collect(),
            queues,
        };
        for (link, ids) in [
            (link(&[], Some((4, false))), vec![]),
            (link(&[], Some((1, true))), vec![]),
            (link(&[], None), vec![]),
            (link(&[], Some((1, false))), vec![Id::OneQueue]),
            (link(&["rx-gro-list"], Some((1, false))), vec![Id::GroForwarding, Id::OneQueue]),
        ] {
            assert_eq!(found(&Facts { links: vec![link], ..healthy() }), ids);
        }
        let link = link(&[], Some((1, false)));
        assert_eq!(found(&Facts { links: vec![link], cpus: 1, ..healthy() }), []);
    }
}
