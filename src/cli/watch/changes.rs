//! What changed between two answers of the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::core::Time;
use crate::core::overrides::Override;
use crate::core::status::{ServerStatus, ServiceStatus, Status};

use crate::cli::status::{drift, health, verdict};
use crate::cli::words::span;

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When it was; as exactly as the daemon says it.
    pub at: Time,
    /// Of which service.
    pub service: String,
    /// Of which server of it; none: of the service.
    pub server: Option<SocketAddr>,
    /// What, in words.
    pub what: String,
}

/// What is different in `new`, oldest first. What both have is compared, and what came or left is named.
pub fn between(old: &Status, new: &Status) -> Vec<Change> {
    let before: BTreeMap<_, _> = old.services.iter().map(|it| ((&it.name, it.vip), it)).collect();
    let mut changes = Vec::new();
    for service in &new.services {
        let mut say = |at, server, what| {
            changes.push(Change { at, service: service.name.clone(), server, what });
        };
        match before.get(&(&service.name, service.vip)) {
            None => say(new.now, None, format!("{} is new in the config", service.vip)),
            Some(old) => of_service(old, service, new.now, &mut say),
        }
    }
    let after: BTreeSet<_> = new.services.iter().map(|it| (&it.name, it.vip)).collect();
    let gone = old.services.iter().filter(|it| !after.contains(&(&it.name, it.vip)));
    changes.extend(gone.map(|it| Change {
        at: new.now,
        service: it.name.clone(),
        server: None,
        what: format!("{} is no longer in the config", it.vip),
    }));
    changes.sort_by_key(|it| it.at);
    changes
}

type Say<'a> = dyn FnMut(Time, Option<SocketAddr>, String) + 'a;

fn of_service(old: &ServiceStatus, new: &ServiceStatus, now: Time, say: &mut Say) {
    if old.present != new.present {
        let what = if new.present { "in the kernel" } else { "not in the kernel any more" };
        say(now, None, format!("{} is {what}", new.vip));
    }
    if old.health != new.health {
        say(now, None, format!("{}: {}", new.vip, health(new).0));
    }
    if old.quorum != new.quorum
        && let Some(reached) = new.quorum
    {
        say(now, None, format!("{}: quorum {}", new.vip, if reached { "reached" } else { "lost" }));
    }
    if old.drift != new.drift
        && let Some(it) = &new.drift
    {
        say(it.at, None, format!("drift of {}", drift(it)));
    }
    let before: BTreeMap<_, _> = old.servers.iter().map(|it| (it.address, it)).collect();
    for server in &new.servers {
        let mut say = |at, what| say(at, Some(server.address), what);
        match before.get(&server.address) {
            None => say(now, "a new server".to_owned()),
            Some(old) => of_server(old, server, now, &mut say),
        }
    }
    let after: BTreeSet<_> = new.servers.iter().map(|it| it.address).collect();
    for gone in old.servers.iter().filter(|it| !after.contains(&it.address)) {
        say(now, Some(gone.address), "gone".to_owned());
    }
}

fn of_server(old: &ServerStatus, new: &ServerStatus, now: Time, say: &mut dyn FnMut(Time, String)) {
    if old.operator != new.operator {
        match &new.operator {
            Some(it) => say(it.since, operator(it)),
            None => say(now, "as the config says again, not as an operator did".to_owned()),
        }
    }
    if (old.verdict, old.configured.is_some()) != (new.verdict, new.configured.is_some()) {
        let reason = new.checks.iter().find(|check| check.up == Some(false));
        let reason = reason.map(|check| format!(": {}", check.reason)).unwrap_or_default();
        let what = format!("{} → {}{reason}", verdict(old).0, verdict(new).0);
        say(new.since.filter(|since| old.since != Some(*since)).unwrap_or(now), what);
    }
    if old.weight != new.weight {
        let said = |weight: Option<u32>| weight.map_or("-".to_owned(), |weight| weight.to_string());
        say(now, format!("weight {} → {}", said(old.weight), said(new.weight)));
    }
}

/// What an operator says of a server.
pub fn operator(it: &Override) -> String {
    let what = match it.weight {
        0 => "drained".to_owned(),
        weight => format!("given weight {weight}"),
    };
    let lasts = match it.until {
        Some(until) => format!(" for {}", span(until.saturating_sub(it.since))),
        None => String::new(),
    };
    format!("{what} by an operator (uid {}){lasts}", it.by)
}
