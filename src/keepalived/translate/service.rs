//! A virtual server as a `[[service]]`.

use std::net::Ipv4Addr;

use super::super::model::{
    Check, CheckKind, Checksum, Granularity, Method, Protocol, RealServer, Target, Tunnel, VirtualServer,
};
use super::check::duration;
use super::document::{Item, Service, Table, Value};
use super::listen::listen;
use super::note::Notes;
use super::{Scripts, server};

/// Schedulers that take no notice of weights.
pub const UNWEIGHTED: [&str; 3] = ["rr", "lc", "dh"];

/// The keys of a virtual server, but for its name.
pub fn service(server: &VirtualServer, scripts: &Scripts<'_>, notes: &mut Notes) -> Service {
    let mut keys = Table::default();
    let listen = listen(server, scripts.lvs, notes);
    let place = server.place;
    match <[Item; 1]>::try_from(listen) {
        Ok([one]) => keys.0.push(("listen", one)),
        Err(listen) => keys.set("listen", listen, place),
    }
    let (servers, check) = server::servers(server, scripts, notes);
    keys.set("servers", servers, place);
    if let Some(check) = check {
        keys.0.push(("check", check));
    }
    keys.set("scheduler", scheduler(server, notes), server.scheduler.place.unwrap_or(place));
    if !server.flags.is_empty() {
        let flags = server.flags.iter().map(|flag| {
            let word = ["flag-1", "flag-2", "flag-3"][usize::from(flag.value.trailing_zeros().min(2) as u8)];
            Item::new(word, flag.place)
        });
        keys.set("scheduler_flags", flags.collect::<Vec<_>>(), server.flags[0].place);
    }
    keys.0.push(("forward", Item::new(forward(server.method.value), server.method.place.unwrap_or(place))));
    ops(server, scripts, &mut keys, notes);
    persistence(server, &mut keys, notes);
    if let Some(sorry) = &server.sorry {
        keys.0.push(("fallback", server::fallback(sorry, server)));
    }
    for (key, value) in [("quorum", &server.quorum), ("hysteresis", &server.hysteresis)] {
        if let Some(given) = value.place.filter(|_| value.value != u32::from(key == "quorum")) {
            keys.set(key, value.value, given);
        }
    }
    for (key, keyword, script) in
        [("on_up", "quorum_up", &server.quorum_up), ("on_down", "quorum_down", &server.quorum_down)]
    {
        let script = script.as_ref().filter(|script| scripts.ops(script, server).is_none());
        if let Some(hook) = script.and_then(|script| scripts.hook(script, keyword, notes)) {
            keys.0.push((key, hook));
        }
    }
    unsaid(server, notes);
    if let Some(place) = server.omega {
        keys.set("down_on_stop", true, place);
    }
    if let Some(place) = server.ha_suspend {
        keys.set("ha_suspend", true, place);
    }
    Service { place, keys }
}

/// What holds in ipvsd although the file does not ask for it.
fn unsaid(server: &VirtualServer, notes: &mut Notes) {
    if server.real_servers.iter().any(|real| !real.inhibit.value) {
        let said =
            "not given, and holds all the same: keepalived deletes a dead server, ipvsd gives it weight 0";
        notes.noted(server.place, "inhibit_on_failure", said);
    }
    let starts_up = |real: &RealServer| !real.checks.is_empty() && !real.alpha.value;
    if server.real_servers.iter().any(starts_up) {
        let said = "not given, and holds all the same: a server that ipvsd does not find in the kernel gets its weight when it \
                    has answered, with keepalived before that";
        notes.noted(server.place, "alpha", said);
    }
    match &server.sorry {
        Some(sorry) => {
            let said = "it is in the table from the start, with weight 0 while it is not needed: the pool is never empty";
            notes.noted(sorry.place, "sorry_server", said);
            if server.quorum.value > 1 {
                let said =
                    "while it is lost, the servers that are up go on; the sorry server serves when none is";
                notes.noted(server.quorum.place.unwrap_or(server.place), "quorum", said);
            }
        }
        None if server.real_servers.iter().any(|real| !real.checks.is_empty()) => {
            let said = "not given: when all servers are down, the last ones that were up keep their weight; \
                        `when_all_down = \"refuse\"` refuses clients, as keepalived does";
            notes.noted(server.place, "sorry_server", said);
        }
        None => {}
    }
}

/// The scheduler; its weighted twin where checks give weights.
fn scheduler(server: &VirtualServer, notes: &mut Notes) -> String {
    let scheduler = &server.scheduler.value;
    let gives_weight = |check: &Check| match &check.kind {
        CheckKind::Misc { dynamic, .. } => dynamic.is_some(),
        CheckKind::File { weight, .. } => weight.value != 0,
        _ => false,
    };
    let weighs = server.real_servers.iter().flat_map(|real| &real.checks).any(gives_weight);
    if !weighs || !["rr", "lc"].contains(&scheduler.as_str()) {
        return scheduler.clone();
    }
    let said = format!(
        "a check gives weights, of which `{scheduler}` takes no notice: `w{scheduler}` does the same and does"
    );
    notes.noted(server.scheduler.place.unwrap_or(server.place), "lvs_sched", said);
    format!("w{scheduler}")
}

/// ipvsd's default is one-packet scheduling for all datagrams without persistence.
fn ops(server: &VirtualServer, scripts: &Scripts<'_>, keys: &mut Table, notes: &mut Notes) {
    let datagrams = server.protocol.as_ref().is_none_or(|protocol| protocol.value == Protocol::Udp);
    if !datagrams {
        return;
    }
    let hooks = [&server.quorum_up, &server.quorum_down].into_iter();
    let hooks = hooks.chain(server.real_servers.iter().flat_map(|real| [&real.notify_up, &real.notify_down]));
    let by_script =
        hooks.flatten().find_map(|script| scripts.ops(script, server).map(|edit| (script, edit.scheduler)));
    if let Some((script, scheduler)) = &by_script {
        if *scheduler != server.scheduler.value {
            let said = format!(
                "the script gives it `{scheduler}` with one-packet scheduling, the scheduler of an `ipvsadm` that is told none \
                 being wlc: ipvsd stays with `{}`",
                server.scheduler.value
            );
            notes.noted(script.place, "lvs_sched", said);
        }
        let said = "a script that only sets the flag of one-packet scheduling: ipvsd makes the service with it, so that there is no gap";
        notes.noted(script.place, "ops", said);
    }
    let marked = matches!(server.target, Target::Fwmark(_));
    match server.ops.or(by_script.map(|(script, _)| script.place)) {
        Some(place) if server.persistence.is_some() => keys.set("ops", true, place),
        Some(_) => {}
        None => {
            let said = if marked || server.persistence.is_some() {
                "not given: clients stay with their servers, as with keepalived"
            } else {
                "not given: each client stays with one server, as with keepalived. Without `ops = false` every datagram is \
                 scheduled on its own, and replies come from the VIP"
            };
            notes.noted(server.place, "ops", said);
            if server.persistence.is_none() {
                keys.set("ops", false, server.place);
            }
        }
    }
}

fn persistence(server: &VirtualServer, keys: &mut Table, notes: &mut Notes) {
    let Some(timeout) = &server.persistence else {
        if let Some(engine) = &server.engine {
            notes.noted(engine.place, "persistence_engine", "it has no effect without `persistence_timeout`");
        }
        return;
    };
    let mut table = Table::default();
    table.set("timeout", duration(timeout.value), timeout.place);
    if let (Target::Group(_), Some(granularity)) = (&server.target, &server.granularity) {
        let said = "keepalived 2.2.7 leaves it out for a group, ipvsd does not";
        notes.noted(granularity.place, "persistence_granularity", said);
    }
    match server.granularity.as_ref().map(|at| (at.value, at.place)) {
        None => {}
        Some((Granularity::Prefix(bits), place)) => table.set("prefix_v6", bits, place),
        Some((Granularity::Mask(mask), place)) => match bits(mask) {
            Some(bits) => table.set("prefix_v4", bits, place),
            None => {
                let said = format!("{mask} is no prefix: ipvsd takes masks whose ones come first");
                notes.refused(place, "persistence_granularity", said);
            }
        },
    }
    if let Some(engine) = &server.engine {
        table.set("engine", engine.value.as_str(), engine.place);
    }
    match table.0.len() {
        1 => keys.set("persistence", duration(timeout.value), timeout.place),
        _ => keys.set("persistence", table, timeout.place),
    }
}

fn bits(mask: Ipv4Addr) -> Option<u8> {
    let ones = mask.to_bits().leading_ones();
    (mask.to_bits().count_ones() == ones).then_some(ones as u8)
}

pub fn forward(method: Method) -> Value {
    let sum = |sum: Checksum, table: &mut Table| match sum {
        Checksum::None => {}
        Checksum::Plain => table.set("checksum", "full", None),
        Checksum::Remote => table.set("checksum", "remote", None),
    };
    let mut table = Table::default();
    match method {
        Method::Nat => return "nat".into(),
        Method::Dr => return "direct".into(),
        Method::Tun(Tunnel::Ipip) => return "tunnel".into(),
        Method::Tun(Tunnel::Gue(port, checksum)) => {
            table.set("tunnel", "gue", None);
            table.set("port", port, None);
            sum(checksum, &mut table);
        }
        Method::Tun(Tunnel::Gre(checksum)) => {
            table.set("tunnel", "gre", None);
            sum(checksum, &mut table);
        }
    }
    table.into()
}

/// What a service is called: its group or its label, else its protocol and, where `alone` does not hold, its address.
pub fn name(server: &VirtualServer, alone: bool) -> String {
    if let Target::Group(name) = &server.target {
        return name.clone();
    }
    if let Some(label) = &server.virtualhost
        && !server.real_servers.iter().any(RealServer::asks_http)
    {
        return label.value.clone();
    }
    let base = base(server);
    match &server.target {
        Target::Address(address, _) if !alone => format!("{base}-{address}"),
        _ => base,
    }
}

/// The protocol that a service seems to speak.
pub fn base(server: &VirtualServer) -> String {
    let (protocol, port) = match (&server.target, server.protocol.as_ref().map(|protocol| protocol.value)) {
        (Target::Fwmark(mark), _) => return format!("fwmark-{mark}"),
        (Target::Group(name), _) => return name.clone(),
        (Target::Address(_, port), Some(Protocol::Tcp)) => ("tcp", *port),
        (Target::Address(_, port), Some(Protocol::Sctp)) => ("sctp", *port),
        (Target::Address(_, port), Some(Protocol::Udp) | None) => ("udp", *port),
    };
    let known = match port {
        53 => "dns",
        67 => "dhcp",
        69 => "tftp",
        123 => "ntp",
        161 => "snmp",
        162 => "snmptrap",
        514 => "syslog",
        1812 => "radius",
        1813 => "radius-acct",
        2055 => "netflow",
        3478 => "stun",
        4739 => "ipfix",
        5060 => "sip",
        6343 => "sflow",
        0 => return format!("{protocol}-any"),
        _ => return format!("{protocol}-{port}"),
    };
    if protocol == "udp" { known.to_owned() } else { format!("{known}-{protocol}") }
}
