//! What would change: the kernel against a config, for people and as data. The way there is [`super::plan`]'s.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipvs_netlink::{DestinationConfig, DestinationKey, Flags, ServiceConfig, ServiceKey};

pub use change::{Change, Kind, Object};

use super::desired;
use super::difference::{Difference, of_server, of_service};
use super::evict::EXPIRE;
use super::memory::Memory;
use super::model::{Config, Factor, Outer, Rules, Service, TargetId, Vip};
use super::overrides::Override;
use super::plan::{FoundService, FoundServices, Wanted};
use super::pool::{Known, Member, Pool};
use super::rules::Need;
use super::sysctls::PUT_BACK;

/// What differs between the kernel and `config`, in the order of the file; then what the file does not name.
///
/// `found` are the kernel's services, `own` those among them that are ipvsd's own whether `config` names them or not,
/// `held` and `damage` what the rules hold and where they are not intact. A server that has weight counts as up,
/// of one without nothing is known: its weight is left to its check.
pub fn changes(
    config: &Config,
    found: &FoundServices,
    own: &BTreeSet<ServiceKey>,
    held: &Rules,
    damage: &[String],
    overrides: &[Override],
) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut named = BTreeSet::new();
    // Under NAT with OPS a server answers for one VIP, and for the one that it has until it has lost its weight there.
    let other_vip = |key: ServiceKey, server: SocketAddr| {
        let other = *held.replies.get(&server).filter(|other| ServiceKey::udp(**other) != key)?;
        let there = found.get(&ServiceKey::udp(other))?.servers.get(&DestinationKey(server))?;
        (there.weight > 0).then_some(other)
    };
    for (key, place) in desired::listens(config) {
        named.insert(key);
        let service = &config.services[place];
        let wanted = wanted(service, key, found.get(&key), overrides);
        self::service(service, key, &wanted, found.get(&key), other_vip, &mut changes);
    }
    for key in own.difference(&named) {
        if let Some(found) = found.get(key) {
            gone(*key, found, &mut changes);
        }
    }
    rules(held, &desired::rules_of(config), &mut changes);
    if !damage.is_empty() {
        let note = Some(format!("not as ipvsd made them: {}", damage.join("; ")));
        changes.push(Change { change: Kind::Change, object: Object::Tables, differences: Vec::new(), note });
    }
    changes
}

/// The connection entries that are to go: `entries` has the VIP and server of each.
pub fn evictions(
    config: &Config,
    found: &FoundServices,
    entries: &BTreeSet<(ServiceKey, DestinationKey)>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (key, place) in desired::listens(config) {
        let service = &config.services[place];
        let to: BTreeSet<SocketAddr> =
            desired::servers_of(service, key).map(|server| server.address).collect();
        let pinned = entries.iter().filter(|(of, server)| *of == key && to.contains(&server.0)).count();
        if !service.pins_nobody_at(Vip(key)) || pinned == 0 {
            continue;
        }
        let servers = found.get(&key).into_iter().flat_map(|found| found.servers.values());
        let alone = servers.filter(|server| server.weight > 0).count() < 2;
        let when = if alone { "when another server has weight, " } else { "" };
        let note = Some(match pinned {
            1 => format!("they pin clients to 1 server: {when}it is taken out for a moment"),
            _ => format!(
                "they pin clients to {pinned} servers: {when}each is taken out for a moment, one after the other"
            ),
        });
        let object = Object::ConnectionEntries { service: service.name.clone(), vip: Vip(key) };
        changes.push(Change { change: Kind::Remove, object, differences: Vec::new(), note });
    }
    changes
}

/// The sysctl that an earlier run set to evict connection entries and did not put back, if it is not what it was.
pub fn put_back(memory: &Memory, sysctls: &BTreeMap<String, String>) -> Option<Change> {
    let (was, is) = (memory.sysctls.get(EXPIRE)?, sysctls.get(EXPIRE)?);
    (is != was).then(|| Change::sysctl(EXPIRE, is, was, PUT_BACK))
}

/// What the pool of `service` at `vip` makes of the weights that are found.
fn wanted(
    service: &Service,
    key: ServiceKey,
    found: Option<&FoundService>,
    overrides: &[Override],
) -> Wanted {
    let members = desired::servers_of(service, key).map(|server| {
        let name = DestinationKey(server.address);
        let has = found.and_then(|found| found.servers.get(&name));
        let known = match has.is_some_and(|has| has.weight > 0) {
            true => Known::Up { reason: "it has weight".into(), factor: Factor::FULL },
            false => Known::Unknown,
        };
        let check = service.checks_of(server).first().map(|_| (TargetId(0), known));
        let mut member = Member::new(server.weight, server.fallback, check.into_iter().collect());
        let said = overrides.iter().find(|it| it.is_for(&service.name, server.address));
        member.operator = said.map(|it| it.weight);
        (name, member)
    });
    let pool = Pool::new(members.collect(), service.policy.clone(), service.detection());
    desired::wanted(service, key, &pool)
}

fn service(
    service: &Service,
    key: ServiceKey,
    wanted: &Wanted,
    found: Option<&FoundService>,
    other_vip: impl Fn(ServiceKey, SocketAddr) -> Option<SocketAddr>,
    changes: &mut Vec<Change>,
) {
    let vip = Vip(key);
    let name = Some(service.name.clone());
    let differences = of_service(found.map(|found| &found.config), &wanted.config);
    // The other VIP that each server must leave before it has weight here.
    let leaves: BTreeMap<&DestinationKey, SocketAddr> = (wanted.servers.iter())
        .filter(|(_, server)| matches!(server.need, Some(Need::Reply { .. })) && server.full > 0)
        .filter_map(|(server, _)| Some((server, other_vip(key, server.0)?)))
        .collect();
    if !differences.is_empty() {
        let serve = wanted.servers.values().filter(|server| server.full > 0).count();
        let note = match found {
            Some(found) => cost(&found.config, &wanted.config),
            None => (serve > 0 && leaves.len() == serve).then(|| {
                "its servers are still behind another VIP: clients are refused here until the first has \
                 been drained there, for `drain`"
                    .to_owned()
            }),
        };
        let change = if found.is_some() { Kind::Change } else { Kind::Add };
        let object = Object::Service { service: name.clone(), vip };
        changes.push(Change { change, object, differences, note });
    }
    let object = |server: &DestinationKey| Object::Server { service: name.clone(), vip, server: server.0 };
    let mut spared = wanted.servers.values().all(|server| server.full == 0);
    for (key, server) in &wanted.servers {
        let has = found.and_then(|found| found.servers.get(key));
        let weight = server.due.weight.or(has.map(|has| has.weight)).unwrap_or(0);
        spared |= weight > 0;
        let differences = of_server(has, &DestinationConfig { weight, ..server.config });
        if !differences.is_empty() {
            let later = has.is_none() && weight < server.full;
            let check = later.then(|| format!("its weight {} comes when its check succeeds", server.full));
            let other = (leaves.get(key).filter(|_| has.is_none_or(|has| has.weight == 0)))
                .map(|other| format!("it has no weight here until it has been drained at {other}"));
            let notes: Vec<String> = check.into_iter().chain(other).collect();
            let note = (!notes.is_empty()).then(|| notes.join("; "));
            let change = if has.is_some() { Kind::Change } else { Kind::Add };
            changes.push(Change { change, object: object(key), differences, note });
        }
    }
    for key in found.iter().flat_map(|found| found.servers.keys()) {
        if !wanted.servers.contains_key(key) {
            let when = if spared { "" } else { "when another server has weight: " };
            let note =
                format!("{when}weight 0, and deleted after {}", humantime::format_duration(service.drain));
            let (change, differences) = (Kind::Remove, Vec::new());
            changes.push(Change { change, object: object(key), differences, note: Some(note) });
        }
    }
}

fn cost(found: &ServiceConfig, wanted: &ServiceConfig) -> Option<String> {
    let mut costs = Vec::new();
    if found.scheduler != wanted.scheduler {
        costs.push("about 20 ms of loss while the scheduler changes");
    }
    if wanted.flags.contains(Flags::ONE_PACKET) && !found.flags.contains(Flags::ONE_PACKET) {
        costs.push("connection entries made until now pin their clients until they are evicted");
    }
    (!costs.is_empty()).then(|| costs.join("; "))
}

/// A service that no config names any more: its servers drain, then it goes.
fn gone(key: ServiceKey, found: &FoundService, changes: &mut Vec<Change>) {
    let vip = Vip(key);
    let note = "its servers get weight 0, and go with it when they are drained".to_owned();
    let remove = |object, note| Change { change: Kind::Remove, object, differences: Vec::new(), note };
    changes.push(remove(Object::Service { service: None, vip }, Some(note)));
    for server in found.servers.keys() {
        changes.push(remove(Object::Server { service: None, vip, server: server.0 }, None));
    }
}

fn rules(held: &Rules, wanted: &Rules, changes: &mut Vec<Change>) {
    let mut say = |change, object, differences| {
        changes.push(Change { change, object, differences, note: None });
    };
    let tunnel = |outer: &Outer| Object::TunnelRule {
        to: match outer {
            Outer::Ip(address) => address.to_string(),
            Outer::Udp(address) => address.to_string(),
        },
    };
    let vip = |old: Option<&SocketAddr>, new: &SocketAddr| {
        vec![Difference { field: "VIP", old: old.map(SocketAddr::to_string), new: new.to_string() }]
    };
    for request in wanted.requests.difference(&held.requests) {
        say(Kind::Add, Object::RequestRule { vip: *request }, Vec::new());
    }
    for (server, new) in &wanted.replies {
        let old = held.replies.get(server);
        if old != Some(new) {
            let change = if old.is_some() { Kind::Change } else { Kind::Add };
            say(change, Object::ReplyRule { server: *server }, vip(old, new));
        }
    }
    for outer in wanted.tunnels.difference(&held.tunnels) {
        say(Kind::Add, tunnel(outer), Vec::new());
    }
    // With the first reply rule they come, and with the last one they go.
    if held.refusals != wanted.refusals && !held.replies.is_empty() && !wanted.replies.is_empty() {
        let (old, new) = (held.refusals.words(), wanted.refusals.words());
        let differ = old.into_iter().zip(new).filter(|(old, new)| old != new);
        let differences = differ.map(|((field, old), (_, new))| Difference { field, old: Some(old), new });
        say(Kind::Change, Object::RefusalRules, differences.collect());
    }
    for server in held.replies.keys().filter(|server| !wanted.replies.contains_key(server)) {
        say(Kind::Remove, Object::ReplyRule { server: *server }, Vec::new());
    }
    for outer in held.tunnels.difference(&wanted.tunnels) {
        say(Kind::Remove, tunnel(outer), Vec::new());
    }
    for request in held.requests.difference(&wanted.requests) {
        say(Kind::Remove, Object::RequestRule { vip: *request }, Vec::new());
    }
}

#[cfg(test)]
mod tests;
