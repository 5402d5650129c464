//! What must hold within one service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipvs_netlink::{Family, Forward};

use super::draft::{At, Field, ServerDraft};
use super::report::{Place, Problems};
use super::validate::Resolved;
use super::{address, scheduler};
use crate::core::model::{Check, Probe, Vip};

/// All errors and warnings of one service; a setting in `advised` (by its place) has had its warning.
pub fn judge(service: &Resolved<'_>, advised: &mut BTreeSet<Place>, problems: &mut Problems) {
    present(service, problems);
    for vip in service.listen() {
        let Some(at) = vip.value.address() else { continue };
        address::judge("the VIP", at.ip(), vip.place, problems);
        if at.port() == 0 && matches!(service.draft.persistence, Field::Missing) {
            problems.error(vip.place, format!("the VIP {at} has port 0, which is any port")).help(
                "name the port, or add `persistence`: the kernel has services for any port with it only",
            );
        }
    }
    if let Some(at) = service.draft.ha_suspend.given().filter(|at| at.value)
        && service.listen().iter().any(|vip| vip.value.address().is_none())
    {
        problems
            .error(at.place, "a firewall mark has no address that could be on another machine")
            .help("remove `ha_suspend`");
    }
    servers(service, problems);
    families(service, problems);
    ports(service, problems);
    weights(service, problems);
    if let (Some(true), Some(scheduler), Field::Missing) =
        (service.ops, &service.scheduler, &service.draft.persistence)
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
        address::judge("the server", at.value.ip(), at.place, problems);
        if at.value.port() == 0 {
            no_port(service, server, problems);
        }
        other_family(service, server, problems);
        if let Some(weight) = server.weight.given() {
            weight.within("the weight", 0..=i32::MAX, problems);
        }
        if let (Some(lower), upper) = (server.lower_threshold.given(), server.upper_threshold.value_or(0))
            && lower.value > upper
        {
            problems
                .error(lower.place, format!("the lower threshold {} is above the upper one, {upper}", lower.value))
                .help("`upper_threshold` says when a server gets no more, `lower_threshold` when it gets some again");
        }
        for (field, what) in
            [(&server.upper_threshold, "`upper_threshold`"), (&server.lower_threshold, "`lower_threshold`")]
        {
            field.given().and_then(|at| at.within(what, 0..=u32::MAX, problems));
        }
        if let Some(first) = seen.insert(at.value, at.place) {
            problems
                .error(at.place, format!("{} has the server {} twice", service.called, at.value))
                .related(first, "first here")
                .help("remove one of them; `weight` under `wrr` gives a server a larger share");
        }
    }
}

/// A server without a port gets packets at theirs: behind VIPs without one, and asked at another.
fn no_port(service: &Resolved<'_>, draft: &ServerDraft, problems: &mut Problems) {
    let server = draft.address;
    let any_port = |vip: &At<Vip>| vip.value.address().is_none_or(|vip| vip.port() == 0);
    let asks_a_port = |check: &Arc<Check>| {
        check.port.is_none() && !matches!(check.probe, Probe::Icmp | Probe::File(_) | Probe::Exec(_))
    };
    if !service.listen().iter().all(any_port) {
        problems
            .error(server.place, format!("the server {} has port 0", server.value))
            .help("name the port: only behind VIPs without one it is that of the packet");
    } else if service.checks_of(draft).iter().any(asks_a_port) {
        problems
            .error(server.place, format!("the server {} has port 0, and a check needs a port", server.value))
            .help("give the check a `port`");
    }
}

/// Probes go from a source of the family that they go to.
fn other_family(service: &Resolved<'_>, server: &ServerDraft, problems: &mut Problems) {
    for check in service.checks_of(server) {
        let Some(source) = check.origin.source else { continue };
        let probed = check.target(server.address.value);
        if source.is_ipv4() != probed.is_ipv4() {
            problems
                .error(
                    server.address.place,
                    format!("{} is not probed from {}: another family", probed.ip(), source.ip()),
                )
                .help("give the servers of each family a `check` with a `source` of theirs");
        }
    }
}

/// Each family that has a VIP has a server, and the other way round.
fn families(service: &Resolved<'_>, problems: &mut Problems) {
    let (Some(listen), Some(servers)) = (service.draft.listen.given(), service.draft.servers.given()) else {
        return;
    };
    for (family, of) in [("IPv4", Family::Inet), ("IPv6", Family::Inet6)] {
        let vip = service.listen().iter().find(|vip| vip.value.0.family() == of);
        let mut of_family = service.servers_of(of);
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
    for server in service.servers() {
        let word = match service.forward_to(server) {
            Some(at) if at.value == Forward::Direct => "direct",
            Some(at) if matches!(at.value, Forward::Tunnel(_)) => "tunnel",
            _ => continue,
        };
        let server = server.address;
        let other = service.listen().iter().find_map(|vip| {
            let of = vip.value.address().filter(|of| of.is_ipv4() == server.value.is_ipv4())?;
            (of.port() != server.value.port()).then_some((vip, of.port()))
        });
        if let Some((vip, port)) = other {
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
    let weighing =
        service.servers().iter().find(|server| service.checks_of(server).iter().any(|check| check.weighs()));
    if let Some(server) = weighing {
        let check = server.check.given().or(service.draft.check.given());
        let place = check.map_or(service.draft.place, |at| at.place);
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
