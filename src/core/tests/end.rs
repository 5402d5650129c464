//! The end of a history: when faults and edits stop, the kernel becomes what is wanted within a bounded time, and then
//! nothing more is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipvs_netlink::{DestinationConfig, DestinationKey, Flags, Forward, ServiceKey};

use super::configs::rewritten;
use super::history::History;
use super::promises::is_ipv4;
use super::tasks::GLANCES;
use crate::core::model::{Drift, Server, Service, WhenAllDown};
use crate::core::{Input, suspend};

/// What is left alone after many repairs waits for a quarter of an hour at most.
const JUMP: Duration = Duration::from_secs(61);
const JUMPS: usize = 40;

/// No more trouble.
pub fn end(history: &mut History) {
    history.world.faults = 0;
    if history.world.promises.ending {
        quiet(history);
        history.world.now += JUMP;
        history.world.ring();
    }
    while history.world.finished.is_some() {
        history.step();
        history.world.faults = 0;
    }
    history.here = suspend::vips(&history.config).collect();
    history.world.hand_over(Input::Here(history.here.clone()));
    history.trouble.by_hand = false;
    history.trouble.faults = false;
    if history.config.services.iter().any(|service| service.drift == Drift::Report) {
        let mut config = history.config.clone();
        config.services.iter_mut().for_each(|service| service.drift = Drift::Repair);
        history.reconfigure(config);
    }
    let leaving = history.world.promises.leaving;
    let leaves = leaving || history.world.random.one_in(4);
    if leaves && !leaving {
        history.world.hand_over(Input::Remove);
    }
    let mut wrong = None;
    for jump in 0..JUMPS {
        quiet(history);
        if history.world.promises.broken.is_some() {
            return;
        }
        wrong = if leaves { left(history) } else { difference(history) };
        let done = history.world.written().is_empty();
        // What a dump has skipped is seen at the next full look.
        if wrong.is_none() && done && jump > GLANCES as usize {
            break;
        }
        history.world.now += JUMP;
        history.world.ring();
    }
    history
        .world
        .promises
        .must(wrong.is_none(), || format!("it never comes right: {}", wrong.unwrap_or_default()));
    history.world.written();
    for _ in 0..3 {
        history.world.now += JUMP;
        history.world.ring();
        quiet(history);
    }
    let written = history.world.written();
    history.world.promises.must(written.is_empty(), || format!("there is no end to it: {written:?}"));
}

fn quiet(history: &mut History) {
    loop {
        history.world.settle();
        if !history.tell_verdict() || history.world.promises.broken.is_some() {
            return;
        }
    }
}

/// How the kernel differs from what the config and the living servers ask for.
fn difference(history: &History) -> Option<String> {
    let (promises, kernel) = (&history.world.promises, &history.world.kernel);
    for key in &promises.ours {
        let found = kernel.services.get(key);
        let (service, found) = match (promises.config.get(key), found) {
            (None, None) => continue,
            (None, Some(_)) => return Some(format!("{key} is left")),
            (Some(_), None) => return Some(format!("{key} is missing")),
            (Some(service), Some(found)) => (service, found),
        };
        let config = &found.config;
        // A stranger that cannot be spared and has no rule forbids OPS.
        let forbids = |(server, config): (&DestinationKey, &DestinationConfig)| {
            config.weight > 0
                && config.forward == Forward::Masquerade
                && kernel.rules.replies.get(&server.0).is_none_or(|vip| ServiceKey::udp(*vip) != *key)
        };
        if found.servers.iter().any(forbids) && service.ops && !config.flags.contains(Flags::ONE_PACKET) {
            continue;
        }
        if config.flags.contains(Flags::ONE_PACKET) != service.ops || config.scheduler != service.scheduler {
            return Some(format!("{key} is {config:?}"));
        }
        let due = due(history, key, service);
        // No step empties a pool: strangers stay until a server of the config has weight.
        let weighted =
            |server| found.servers.get(server).is_some_and(|config: &DestinationConfig| config.weight > 0);
        let spared = due.keys().any(weighted) || service.servers.iter().all(|server| server.weight == 0);
        let mut strangers = found.servers.keys().filter(|server| !due.contains_key(server));
        let missing = due.keys().any(|server| !found.servers.contains_key(server));
        if missing || strangers.any(|server| spared || !weighted(server)) {
            return Some(format!("{key} has the servers {:?}", found.servers.keys()));
        }
        for (server, weight) in &due {
            let config = &found.servers[server];
            let listed = service.servers.iter().find(|listed| listed.address == server.0);
            let forward = listed.map_or(config.forward, |listed| listed.forward);
            let comes = config.weight > 0 && config.forward == forward;
            if !comes && answers_elsewhere(history, key, server, &mut BTreeSet::from([*key])) {
                continue;
            }
            if weight.is_some_and(|weight| weight != config.weight) || config.upper_threshold != 0 {
                return Some(format!("{key} {server} has weight {}, due is {weight:?}", config.weight));
            }
            if config.forward != forward {
                return Some(format!("{key} {server} is {:?}", config.forward));
            }
        }
        let pinned =
            kernel.connections.iter().any(|(pinned, server)| pinned == key && due.contains_key(server));
        let weighted = found.servers.values().filter(|config| config.weight > 0).count();
        if service.ops && pinned && weighted > 1 && !promises.sysctls_by_hand {
            return Some(format!("{key} has connection entries"));
        }
    }
    if let Some(it) = promises.overdue(history.world.now) {
        return Some(format!("{it:?} is over"));
    }
    let rules = crate::core::desired::rules_of(&history.config);
    // What another ipvsd left, and nobody remembers, keeps its rules.
    let left = |vip: &std::net::SocketAddr| {
        let key = ServiceKey::udp(*vip);
        kernel.services.contains_key(&key) && !promises.ours.contains(&key)
    };
    let behind = |server: &std::net::SocketAddr, vip: &std::net::SocketAddr| {
        let service = kernel.services.get(&ServiceKey::udp(*vip));
        service.is_some_and(|service| service.servers.contains_key(&DestinationKey(*server)))
    };
    let requests = kernel.rules.requests.iter().filter(|vip| !left(vip));
    let missing = rules.replies.iter().any(|(server, vip)| {
        kernel.rules.replies.get(server).is_none_or(|held| held != vip && !behind(server, held))
    });
    let extra = kernel.rules.replies.iter().any(|(server, vip)| !behind(server, vip));
    if !requests.eq(&rules.requests) || missing || extra || kernel.damaged {
        return Some(format!("the rules are {:?}, due are {rules:?}", kernel.rules));
    }
    None
}

/// Under NAT with OPS a server waits as long as its replies leave from where it cannot be spared: another's, or one of ours
/// whose own servers are down or wait like this one. A circle is no reason to wait.
fn answers_elsewhere(
    history: &History,
    key: &ServiceKey,
    server: &DestinationKey,
    seen: &mut BTreeSet<ServiceKey>,
) -> bool {
    let (promises, kernel) = (&history.world.promises, &history.world.kernel);
    let nat = promises.config.get(key).is_some_and(|service| rewritten(service, server.0));
    let other = kernel.rules.replies.get(&server.0).map(|vip| ServiceKey::udp(*vip));
    let Some(other) = other.filter(|other| nat && other != key) else { return false };
    if !promises.ours.contains(&other) {
        return true;
    }
    let weight = kernel.services.get(&other).and_then(|found| Some(found.servers.get(server)?.weight));
    let Some(service) = promises.config.get(&other).filter(|_| weight > Some(0)) else { return false };
    let due = due(history, &other, service);
    service.servers.iter().any(|server| server.weight > 0)
        && seen.insert(other)
        && due
            .iter()
            .filter(|(_, weight)| **weight > Some(0))
            .all(|(server, _)| answers_elsewhere(history, &other, server, seen))
}

type Due = BTreeMap<DestinationKey, Option<u32>>;

/// The weight of each server; none where the last healthy set may keep it.
fn due(history: &History, key: &ServiceKey, service: &Service) -> Due {
    let servers = service.servers.iter().filter(|server| server.address.is_ipv4() == is_ipv4(key));
    let weight = |server: &Server| match service.checks_of(server) {
        [] => server.weight,
        _ if !history.alive[&server.address] => 0,
        _ => history.world.promises.weight_when_up(service, server.address).unwrap_or(0),
    };
    let all_down = servers.clone().all(|server| weight(server) == 0);
    let keeps = all_down && service.policy.when_all_down == WhenAllDown::Keep;
    servers
        .map(|server| {
            let due = weight(server);
            let weight = if due > 0 { Some(due) } else { (!keeps).then_some(0) };
            (DestinationKey(server.address), weight)
        })
        .collect()
}

/// What is still there after the daemon has left.
fn left(history: &History) -> Option<String> {
    let kernel = &history.world.kernel;
    if history.world.finished != Some(true) {
        return Some("the daemon does not end".to_owned());
    }
    // What could not be put back is still remembered.
    let back = |(key, value): (&String, &String)| {
        kernel.sysctls.get(key) == Some(value) || history.world.disk.sysctls.contains_key(key)
    };
    let same = history.sysctls.iter().all(back) || history.sysctls_changed;
    (!same).then(|| format!("the sysctls are {:?}, they were {:?}", kernel.sysctls, history.sysctls))
}
