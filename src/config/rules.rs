//! What must hold within one service.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_netlink::Forward;

use super::draft::{Field, ServerDraft};
use super::report::{Place, Problems};
use super::validate::Resolved;
use super::{address, scheduler};

/// All errors and warnings of one service; a setting in `advised` (by its place) has had its warning.
pub fn judge(service: &Resolved<'_>, advised: &mut BTreeSet<Place>, problems: &mut Problems) {
    present(service, problems);
    for vip in service.listen() {
        address::judge("the VIP", vip.value, vip.place, problems);
    }
    servers(service, problems);
    families(service, problems);
    ports(service, problems);
    weights(service, problems);
    if let (Some(true), Some(scheduler)) = (service.ops, &service.scheduler)
        && advised.insert(scheduler.place)
    {
        scheduler::advise(&scheduler.value, scheduler.place, problems);
    }
}

fn present(service: &Resolved<'_>, problems: &mut Problems) {
    let draft = service.draft;
    match &draft.name {
        Field::Missing => {
            problems.error(draft.place, "a service needs a `name`").help("it stands in logs and commands");
        }
        Field::Given(name) if name.value.is_empty() || name.value.contains(char::is_control) => {
            problems.error(name.place, "a service's name must be text in one line, and not empty");
        }
        Field::Given(_) | Field::Broken => {}
    }
    let listen = match &draft.listen {
        Field::Missing => Some(draft.place),
        Field::Given(at) if at.value.items.is_empty() && at.value.whole => Some(at.place),
        Field::Given(_) | Field::Broken => None,
    };
    if let Some(place) = listen {
        problems
            .error(place, format!("{} has no VIP", service.called))
            .help("`listen = \"192.0.2.53:53\"`, or a list");
    }
    let servers = match &draft.servers {
        Field::Missing => Some(draft.place),
        Field::Given(at) if at.value.items.is_empty() && at.value.whole => Some(at.place),
        Field::Given(_) | Field::Broken => None,
    };
    if let Some(place) = servers {
        problems
            .error(place, format!("{} has no server", service.called))
            .help("`servers = [\"10.0.1.11:53\", \"10.0.1.12:53\"]`");
    }
}

fn servers(service: &Resolved<'_>, problems: &mut Problems) {
    let mut seen = BTreeMap::new();
    for server in service.servers() {
        let at = server.address;
        address::judge("the server", at.value, at.place, problems);
        if let Some(weight) = server.weight.given() {
            weight.within("the weight", 0..=i32::MAX, problems);
        }
        if let Some(first) = seen.insert(at.value, at.place) {
            problems
                .error(at.place, format!("{} has the server {} twice", service.called, at.value))
                .related(first, "first here")
                .help("remove one of them; `weight` under `wrr` gives a server a larger share");
        }
    }
}

/// Each family that has a VIP has a server, and the other way round.
fn families(service: &Resolved<'_>, problems: &mut Problems) {
    let (Some(listen), Some(servers)) = (service.draft.listen.given(), service.draft.servers.given()) else {
        return;
    };
    for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
        let vip = service.listen().iter().find(|vip| vip.value.is_ipv4() == is_v4);
        let mut of_family = service.servers().iter().filter(|server| server.address.value.is_ipv4() == is_v4);
        // A fallback alone is no server, and needs a VIP all the same.
        let server = match vip {
            Some(_) => of_family.find(|server| !server.fallback),
            None => of_family.next(),
        };
        match (vip, server) {
            (Some(vip), None) if servers.value.whole && !servers.value.items.is_empty() => {
                problems
                    .error(
                        vip.place,
                        format!("{} has an {family} VIP and no {family} server", service.called),
                    )
                    .help(format!("add an {family} server or remove the VIP"));
            }
            (None, Some(server)) if listen.value.whole && !listen.value.items.is_empty() => {
                let place = server.address.place;
                problems
                    .error(place, format!("{} has an {family} server and no {family} VIP", service.called))
                    .help(format!("add an {family} address to `listen` or remove the server"));
            }
            _ => {}
        }
    }
}

/// `direct` and `tunnel` leave the packet as it is: a server's port is the VIP's.
fn ports(service: &Resolved<'_>, problems: &mut Problems) {
    let word = match &service.forward {
        Some(at) if at.value == Forward::Direct => "direct",
        Some(at) if matches!(at.value, Forward::Tunnel(_)) => "tunnel",
        _ => return,
    };
    for server in service.servers() {
        let server = server.address;
        let other = service.listen().iter().find(|vip| {
            vip.value.is_ipv4() == server.value.is_ipv4() && vip.value.port() != server.value.port()
        });
        if let Some(vip) = other {
            let port = vip.value.port();
            problems
                .error(
                    server.place,
                    format!("`{word}` cannot change the port from {port} to {}", server.value.port()),
                )
                .related(vip.place, "the VIP")
                .help(format!("let the server answer on port {port}, or use `forward = \"nat\"`"));
        }
    }
}

/// Weights that differ need a scheduler that heeds them. Weight 0 does not count: no scheduler takes such a server.
fn weights(service: &Resolved<'_>, problems: &mut Problems) {
    let Some(scheduler) = service.scheduler.as_ref().filter(|at| scheduler::ignores_weights(&at.value))
    else {
        return;
    };
    if service.checks.iter().flatten().any(|check| check.weighs()) {
        let place = service.draft.check.given().map_or(service.draft.place, |at| at.place);
        problems
            .error(place, format!("a check gives weights, which `{}` ignores", scheduler.value))
            .related(scheduler.place, "the scheduler")
            .help("`scheduler = \"wrr\"` heeds them");
    }
    let mut weights = service
        .servers()
        .iter()
        .filter(|server| !matches!(server.weight, Field::Broken) && !server.fallback)
        .map(|server| (server.weight.value_or(1), server))
        .filter(|(weight, _)| (1..=i32::MAX.into()).contains(weight));
    let Some((first, first_server)) = weights.next() else { return };
    let Some((other, server)) = weights.find(|(weight, _)| *weight != first) else { return };
    let place =
        |server: &ServerDraft| server.weight.given().map_or(server.address.place, |weight| weight.place);
    problems
        .error(
            place(server),
            format!(
                "{} has weights that differ, which the scheduler `{}` ignores",
                service.called, scheduler.value
            ),
        )
        .label(format!("weight {other}"))
        .related(place(first_server), format!("weight {first}"))
        .help("`scheduler = \"wrr\"` heeds them");
}
