//! What must hold between services, and between the VIPs of one service.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipvs_netlink::{Family, Forward, ServiceKey};

use super::draft::At;
use super::report::{Place, Problems};
use super::validate::Resolved;
use crate::core::model::Vip;

const ONE_VIP: &str = "under NAT with one-packet scheduling a reply can be given the address of one VIP only";
const CURES: &str = "`forward = \"direct\"` or `\"tunnel\"`, another port on the servers for one of the VIPs, or `ops = false`";

/// All errors that need more than one service or VIP to be seen.
pub fn judge(services: &[Resolved<'_>], problems: &mut Problems) {
    names(services, problems);
    let vips = vips(services, problems);
    for service in services {
        two_vips(service, problems);
        marks(service, problems);
        loops(service, &vips, problems);
    }
    shared_servers(services, problems);
}

fn names(services: &[Resolved<'_>], problems: &mut Problems) {
    let mut seen = BTreeMap::new();
    for name in services.iter().filter_map(|service| service.draft.name.given()) {
        if let Some(first) = seen.insert(name.value.as_str(), name.place) {
            problems
                .error(name.place, format!("two services are named `{}`", name.value))
                .related(first, "first here")
                .help("names tell services apart: give each its own");
        }
    }
}

fn vips(services: &[Resolved<'_>], problems: &mut Problems) -> BTreeMap<Vip, Place> {
    let mut seen = BTreeMap::new();
    for vip in services.iter().flat_map(|service| service.listen()) {
        if let Some(first) = seen.insert(vip.value, vip.place) {
            problems
                .error(vip.place, format!("the VIP {} is listed twice", vip.value))
                .related(first, "first here")
                .help("a VIP and port can belong to one service, once");
        }
    }
    seen
}

/// A service with the reply rewrite has one VIP in each family.
fn two_vips(service: &Resolved<'_>, problems: &mut Problems) {
    for (family, called) in [(Family::Inet, "IPv4"), (Family::Inet6, "IPv6")] {
        let mut vips =
            service.listen().iter().filter(|vip| vip.value.0.family() == family && vip.value.udp().is_some());
        let served = service.servers_of(family).any(|server| service.rewrites(server));
        let Some(first) = vips.next().filter(|_| served) else { continue };
        if let Some(second) = vips.find(|vip| vip.value != first.value) {
            problems
                .error(
                    second.place,
                    format!("{} has two {called} VIPs over the same servers: {ONE_VIP}", service.called),
                )
                .related(first.place, "the first VIP")
                .help(CURES);
        }
    }
}

/// What a firewall mark selects has no address that ipvsd could give a reply.
fn marks(service: &Resolved<'_>, problems: &mut Problems) {
    if service.ops != Some(true) {
        return;
    }
    for vip in service.listen().iter().filter(|vip| vip.value.address().is_none()) {
        let nat = |forward: Forward| forward == Forward::Masquerade;
        let mut servers = service.servers_of(vip.value.0.family());
        if servers.any(|server| service.forward_to(server).is_some_and(|at| nat(at.value))) {
            problems
                .error(
                    vip.place,
                    format!(
                        "{} has a firewall mark, NAT and one-packet scheduling: a reply cannot tell the address that its \
                         client asked",
                        service.called
                    ),
                )
                .help("`forward = \"direct\"` or `\"tunnel\"`, `ops = false`, or VIPs by their addresses");
        }
    }
}

/// A server that is itself a VIP would send the datagrams back to the director.
fn loops(service: &Resolved<'_>, vips: &BTreeMap<Vip, Place>, problems: &mut Problems) {
    for server in service.servers() {
        let nat = service.forward_to(server).is_some_and(|at| at.value == Forward::Masquerade);
        let server = server.address;
        let same = |vip: &&At<Vip>| vip.value.0.family() == Family::of(server.value.ip());
        let mut behind = service.listen().iter().filter(same).filter(|_| nat);
        let vip = behind.find_map(|vip| match vip.value.0 {
            ServiceKey::Address { protocol, .. } => {
                vips.get(&Vip(ServiceKey::Address { protocol, address: server.value }))
            }
            ServiceKey::FwMark { .. } => None,
        });
        if let Some(vip) = vip {
            problems
                .error(
                    server.place,
                    format!("the server {} of {} is itself a VIP", server.value, service.called),
                )
                .related(*vip, "the VIP")
                .help("name the address of the machine that answers");
        }
    }
}

/// Two services with the reply rewrite share no server. One error for each pair of services, however much they share.
fn shared_servers(services: &[Resolved<'_>], problems: &mut Problems) {
    let mut owners: BTreeMap<SocketAddr, (usize, Place)> = BTreeMap::new();
    for (index, service) in services.iter().enumerate() {
        let mut shared: BTreeMap<usize, Vec<(SocketAddr, Place, Place)>> = BTreeMap::new();
        for server in service.servers().iter().filter(|server| service.rewrites(server)) {
            let at = server.address;
            let (owner, first) = *owners.entry(at.value).or_insert((index, at.place));
            if owner != index {
                shared.entry(owner).or_default().push((at.value, at.place, first));
            }
        }
        for (owner, servers) in shared {
            let (address, place, first) = servers[0];
            let more = match servers.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let other = &services[owner].called;
            problems
                .error(
                    place,
                    format!("the server {address}{more} is behind {} and {other}: {ONE_VIP}", service.called),
                )
                .related(first, format!("in {other}"))
                .help(CURES);
        }
    }
}
