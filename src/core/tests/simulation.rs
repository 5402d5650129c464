//! Many histories, and the law at the end of each: when faults and edits stop, the kernel becomes what is wanted within
//! a bounded time, and then nothing more is done.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bugs::{self, Bug};
use super::history::History;
use super::promises::is_ipv4;
use super::world::table;
use crate::core::Input;
use crate::core::model::{Drift, Service, WhenAllDown};
use ipvs_netlink::{DestinationConfig, DestinationKey, Flags, Forward, ServiceKey};

const SEEDS: u64 = 2000;
const STEPS: usize = 1000;

/// What is left alone after many repairs waits for a quarter of an hour at most.
const JUMP: Duration = Duration::from_secs(61);
const JUMPS: usize = 40;

/// Runs one history to its end; what was wrong, if anything.
fn run(seed: u64, bug: Option<Bug>, trace: bool) -> Option<String> {
    let mut history = History::new(seed, bug, trace);
    for _ in 0..STEPS {
        history.step();
        if history.world.promises.broken.is_some() {
            return history.world.promises.broken;
        }
    }
    end(&mut history);
    let what = history.world.promises.broken.take()?;
    Some(format!("{what}; {:?}; the kernel has {:?}", history.trouble, table(&history.world.kernel)))
}

/// No more trouble.
fn end(history: &mut History) {
    history.world.faults = 0;
    while history.world.finished.is_some() {
        history.step();
        history.world.faults = 0;
    }
    history.trouble.by_hand = false;
    history.trouble.faults = false;
    if history.config.services.iter().any(|service| service.drift == Drift::Report) {
        let mut config = history.config.clone();
        config.services.iter_mut().for_each(|service| service.drift = Drift::Repair);
        history.reconfigure(config);
    }
    let leaves = history.world.random.one_in(4);
    if leaves {
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
        if wrong.is_none() && done && jump > 0 {
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
            // Its replies leave from where it cannot be spared yet.
            let elsewhere = kernel.rules.replies.get(&server.0).is_some_and(|vip| {
                let other = kernel.services.get(&ServiceKey::udp(*vip));
                let other = other.and_then(|service| service.servers.get(server));
                ServiceKey::udp(*vip) != *key && other.is_some_and(|config| config.weight > 0)
            });
            let elsewhere = elsewhere
                || kernel
                    .rules
                    .replies
                    .get(&server.0)
                    .is_some_and(|vip| !promises.ours.contains(&ServiceKey::udp(*vip)));
            if elsewhere && config.weight == 0 && service.forward == Forward::Masquerade {
                continue;
            }
            if weight.is_some_and(|weight| weight != config.weight) || config.upper_threshold != 0 {
                return Some(format!("{key} {server} has weight {}, due is {weight:?}", config.weight));
            }
            if config.forward != service.forward {
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
    let rules = crate::core::desired::rules_of(&history.config);
    // What another ipvsd left, and nobody remembers, keeps its rules.
    let left = |vip: &SocketAddr| {
        let key = ServiceKey::udp(*vip);
        kernel.services.contains_key(&key) && !promises.ours.contains(&key)
    };
    let behind = |server: &SocketAddr, vip: &SocketAddr| {
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

type Due = std::collections::BTreeMap<DestinationKey, Option<u32>>;

/// The weight of each server; none where the last healthy set may keep it.
fn due(history: &History, key: &ServiceKey, service: &Service) -> Due {
    let servers = service.servers.iter().filter(|server| server.address.is_ipv4() == is_ipv4(key));
    let up = |server: &&crate::core::model::Server| {
        server.weight > 0 && (service.checks.is_empty() || history.alive[&server.address])
    };
    let all_down = servers.clone().filter(up).count() == 0;
    let keeps = all_down && service.policy.when_all_down == WhenAllDown::Keep;
    servers
        .map(|server| {
            let weight = if up(&server) { Some(server.weight) } else { (!keeps).then_some(0) };
            (DestinationKey(server.address), weight)
        })
        .collect()
}

/// What is still there after the daemon has left.
fn left(history: &History) -> Option<String> {
    let (promises, kernel) = (&history.world.promises, &history.world.kernel);
    if let Some(key) = promises.ours.iter().find(|key| kernel.services.contains_key(*key)) {
        return Some(format!("{key} is left"));
    }
    if kernel.rules.requests.iter().any(|vip| promises.ours.contains(&ServiceKey::udp(*vip))) {
        return Some(format!("rules are left: {:?}", kernel.rules));
    }
    if history.world.finished != Some(true) {
        return Some("the daemon does not end".to_owned());
    }
    let same = kernel.sysctls == history.sysctls || history.sysctls_changed;
    (!same).then(|| format!("the sysctls are {:?}, they were {:?}", kernel.sysctls, history.sysctls))
}

/// A panic says which seed it was.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

#[test]
fn simulation() {
    if let Some(seed) = std::env::var("IPVSD_SEED").ok().and_then(|seed| seed.parse().ok()) {
        assert_eq!(run(seed, None, true), None, "seed {seed}");
        return;
    }
    let seeds = std::env::var("IPVSD_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let seed = Seed(next.fetch_add(1, Ordering::Relaxed));
            if seed.0 >= seeds {
                return failures;
            }
            failures.extend(run(seed.0, None, false).map(|what| format!("IPVSD_SEED={}: {what}", seed.0)));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    let some: Vec<&String> = failures.iter().take(10).collect();
    assert!(failures.is_empty(), "{} of {seeds} histories fail: {some:#?}", failures.len());
}

#[test]
fn every_planted_bug_is_found() {
    for bug in bugs::ALL {
        let found = (0..500).find_map(|seed| Some((seed, run(seed, Some(bug), false)?)));
        let (seed, what) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?}: seed {seed}: {what}");
    }
}
