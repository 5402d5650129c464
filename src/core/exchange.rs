//! Servers that move between VIPs. Under NAT with OPS a server answers for one VIP at a time, so it gets weight at the new
//! one when its replies from the old one are out. Services that wait for each other's servers in a circle would wait for
//! ever, since no step empties a pool: there, one of them gives its servers up, and its clients are refused until the
//! others come.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipvs_netlink::{DestinationKey, ServiceKey};

use super::event::Event;
use super::plan::{FoundService, Wanted};
use super::rules::Need;
use super::{Core, Output};

impl Core {
    /// Says once of each server that is up that it still answers for another VIP.
    pub(super) fn say_what_waits(&mut self, key: ServiceKey, wanted: Option<&Wanted>, out: &mut Vec<Output>) {
        let waiting = wanted.map(|wanted| self.elsewhere(&key, wanted)).unwrap_or_default();
        let said = self.waiting.remove(&key).unwrap_or_default();
        let servers: BTreeMap<DestinationKey, SocketAddr> = waiting
            .iter()
            .filter(|(server, _)| !said.contains(server))
            .map(|(server, vip)| (*server, *vip))
            .collect();
        if let Some(service) = self.name(&key).filter(|_| !servers.is_empty()) {
            out.push(Output::Say(Event::Waits { service, key, servers }));
        }
        if !waiting.is_empty() {
            self.waiting.insert(key, waiting.into_keys().collect());
        }
    }

    /// The servers that are up, have no weight, and still answer for this other VIP.
    fn elsewhere(&self, key: &ServiceKey, wanted: &Wanted) -> BTreeMap<DestinationKey, SocketAddr> {
        let found = self.found.as_ref().and_then(|found| found.get(key));
        let waits = wanted.servers.iter().filter_map(|(server, wanted)| {
            let has = found.and_then(|found| found.servers.get(server));
            let Some(Need::Reply { server: address, vip }) = wanted.need else { return None };
            if has.is_some_and(|config| config.weight > 0) || !self.is_up(key, server) {
                return None;
            }
            let other = self.rules.as_ref()?.replies.get(&address)?;
            (*other != vip).then_some((*server, *other))
        });
        waits.collect()
    }

    fn is_up(&self, key: &ServiceKey, server: &DestinationKey) -> bool {
        self.pools.get(key).is_some_and(|pool| pool.is_up(server))
    }

    /// The services, this one first, that wait in a circle for each other's servers, if this is the one of them that gives
    /// its own up: the first of them in order.
    pub(super) fn gives_up_for(&self, key: &ServiceKey) -> Option<Vec<ServiceKey>> {
        let mut waits: BTreeMap<ServiceKey, Vec<ServiceKey>> = BTreeMap::new();
        let mut unknown = vec![*key];
        while let Some(key) = unknown.pop() {
            if let Entry::Vacant(place) = waits.entry(key) {
                unknown.extend(place.insert(self.waits_for(&key)).iter());
            }
        }
        // One that waits for nobody gives its servers free by itself, and so does one that waits for that one.
        loop {
            let free: BTreeSet<ServiceKey> = waits
                .iter()
                .filter(|(_, others)| others.iter().any(|key| !waits.contains_key(key)) || others.is_empty())
                .map(|(key, _)| *key)
                .collect();
            if free.is_empty() {
                break;
            }
            waits.retain(|key, _| !free.contains(key));
        }
        let mut circle = vec![*key];
        let mut at = *waits.get(key)?.first()?;
        while at != *key {
            if circle.contains(&at) || at < *key {
                return None;
            }
            circle.push(at);
            at = *waits.get(&at)?.first()?;
        }
        Some(circle)
    }

    /// The services from which all the servers must come that could take over from the strangers in this one; empty if
    /// it can spare them, or if a server comes from elsewhere or without anybody's doing.
    fn waits_for(&self, key: &ServiceKey) -> Vec<ServiceKey> {
        let wait = || {
            let (wanted, found) = (self.wanted(key)?, self.found.as_ref()?);
            if !cannot_spare(&wanted, found.get(key)?) {
                return None;
            }
            let elsewhere = self.elsewhere(key, &wanted);
            let up = wanted.servers.keys().filter(|server| self.is_up(key, server));
            let from = up.map(|server| {
                let other = ServiceKey::udp(*elsewhere.get(server)?);
                (found.get(&other)?.servers.get(server)?.weight > 0).then_some(other)
            });
            from.collect::<Option<Vec<_>>>()
        };
        wait().unwrap_or_default()
    }
}

/// Whether all weight is with servers that nobody wants.
pub fn cannot_spare(wanted: &Wanted, found: &FoundService) -> bool {
    let mut weighted = found.servers.iter().filter(|(_, config)| config.weight > 0).peekable();
    weighted.peek().is_some() && weighted.all(|(server, _)| !wanted.servers.contains_key(server))
}
