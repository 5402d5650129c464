//! Real servers and the sorry server as a service's `servers` and `fallback`.

use std::net::SocketAddr;

use super::super::model::{Member, RealServer, SorryServer, Target, VirtualServer};
use super::super::place::At;
use super::check::Checks;
use super::document::{Item, Table};
use super::note::Notes;
use super::service::{UNWEIGHTED, forward};
use super::{Scripts, shared};

/// The servers, and the check that the most of them have.
pub fn servers(
    server: &VirtualServer,
    scripts: &Scripts<'_>,
    notes: &mut Notes,
) -> (Vec<Item>, Option<Item>) {
    let real = &server.real_servers;
    // Of a mark the kernel knows no port, and only NAT writes one into the packet.
    let marks = match &server.target {
        Target::Group(name) => {
            let groups = scripts.lvs.groups.iter().filter(|group| group.name.value == *name);
            let is_mark = |it: &&At<Member>| matches!(it.value, Member::Fwmark { .. });
            let (marks, addresses): (Vec<&At<Member>>, Vec<_>) =
                groups.flat_map(|group| &group.members).partition(is_mark);
            let mixed = marks.first().filter(|_| !addresses.is_empty());
            if let Some(mark) = mixed.filter(|_| real.iter().any(|real| real.method.value.keeps_port())) {
                let said = "its servers have the port that they have behind the group's addresses, with keepalived none: \
                            no packet of a mark is changed by either";
                notes.noted(mark.place, "fwmark", said);
            }
            mixed.is_none() && !marks.is_empty()
        }
        _ => false,
    };
    let any_port = |real: &RealServer| marks && real.method.value.keeps_port();
    let checks =
        real.iter().map(|real| Checks { scripts, any_port: any_port(real), notes: &mut *notes }.of(real));
    let mut checks: Vec<Item> = checks.collect();
    shared::generalise(real, &mut checks);
    let check = shared::most_common(&checks);
    let scheduler = &server.scheduler.value;
    let weighed = !UNWEIGHTED.contains(&scheduler.as_str());
    let mut weights = real.iter().map(|real| real.weight.value).filter(|weight| *weight > 0);
    let differ = weights.next().is_some_and(|first| weights.any(|weight| weight != first));
    if differ && !weighed {
        let said = format!("`{scheduler}` takes no notice of weights that differ: each server has weight 1");
        notes.noted(server.place, "weight", said);
        if server.quorum.value > 1 {
            let said = format!(
                "it adds up weights, and `{scheduler}` takes no notice of them: use `wrr`, or weights that are alike"
            );
            notes.refused(server.quorum.place.unwrap_or(server.place), "quorum", said);
        }
    }
    let items = real.iter().zip(checks).map(|(real, own)| {
        let mut table = Table::default();
        let port = if any_port(real) { 0 } else { real.port };
        table.set("address", SocketAddr::new(real.address, port).to_string(), real.place);
        let weight = if differ && !weighed { real.weight.value.min(1) } else { real.weight.value };
        if weight != 1 {
            table.set("weight", weight, real.weight.place);
        }
        if real.method.value != server.method.value {
            table.set("forward", forward(real.method.value), real.method.place);
        }
        thresholds(real, &mut table, notes);
        if check.as_ref() != Some(&own) {
            table.0.push(("check", own));
        }
        hooks(real, server, scripts, &mut table, notes);
        let place = real.place;
        if let [("address", address)] = table.0.as_slice() {
            return Item::new(address.value.clone(), place);
        }
        Item::new(table, place)
    });
    (items.collect(), check)
}

fn thresholds(real: &RealServer, table: &mut Table, notes: &mut Notes) {
    let (upper, lower) = (&real.upper_threshold, &real.lower_threshold);
    if upper.value != 0 {
        table.set("upper_threshold", upper.value, upper.place);
    }
    if lower.value > upper.value {
        let said =
            "it is above `uthreshold`, and is left out: the kernel refuses keepalived's server with both";
        notes.noted(lower.place.unwrap_or(real.place), "lthreshold", said);
    } else if lower.value != 0 {
        table.set("lower_threshold", lower.value, lower.place);
    }
}

fn hooks(
    real: &RealServer,
    server: &VirtualServer,
    scripts: &Scripts<'_>,
    table: &mut Table,
    notes: &mut Notes,
) {
    for (key, keyword, script) in
        [("on_up", "notify_up", &real.notify_up), ("on_down", "notify_down", &real.notify_down)]
    {
        let script = script.as_ref().filter(|script| scripts.ops(script, server).is_none());
        if let Some(hook) = script.and_then(|script| scripts.hook(script, keyword, notes)) {
            table.0.push((key, hook));
        }
    }
}

pub fn fallback(sorry: &SorryServer, server: &VirtualServer) -> Item {
    let address = SocketAddr::new(sorry.address, sorry.port).to_string();
    if sorry.method.value == server.method.value {
        return Item::new(address, sorry.place);
    }
    let mut table = Table::default();
    table.set("address", address, sorry.place);
    table.set("forward", forward(sorry.method.value), sorry.method.place);
    Item::new(table, sorry.place)
}
