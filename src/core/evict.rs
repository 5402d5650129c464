//! Eviction: connection entries of an OPS service, left by whoever ran before, pin clients to a server whatever the
//! flag says by now. They go by deleting their server and adding it again, one server at a time.
//!
//! ```text
//! sysctl expire_nodest_conn = 1 ──> DEL_DEST ──> wait until no entry names the server ──> the plan adds it again
//! ```
//! With the sysctl the next packet of a pinned client goes to another server in the same pass, and nothing is lost. So
//! a server goes only while another has weight. All that an eviction does to a plan is to hold back the steps of the
//! server that is out: it returns as the pool and the rules have it by then, or not at all if nobody wants it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipvs_netlink::{DestinationKey, Flags, ServiceKey};

use super::drift::Thing;
use super::event::Event;
use super::model::Vip;
use super::plan::{Action, Step};
use super::reported::as_wanted;
use super::{Core, Output, Subject, Time, desired};

/// The sysctl that lets the entries of a deleted server go.
pub const EXPIRE: &str = "net.ipv4.vs.expire_nodest_conn";

/// Entries go within 20 ms of their server. A server is not kept out for longer than this.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);
/// So often is a server taken out whose entries come back.
const TRIES: u32 = 3;

/// So long the end, or a new config, waits for a server to return.
const RETURN: Duration = Duration::from_secs(2);

/// The daemon ends, and leaves no server out and no step half done.
#[derive(Debug)]
pub struct Stopping {
    /// Services that servers were taken out of, or that steps are under way for, and are not yet as they should be.
    left: BTreeSet<ServiceKey>,
    /// The end comes at this time, whatever is left.
    pub until: Time,
}

/// Where the eviction of one service stands.
#[derive(Debug, Default)]
pub struct Eviction {
    /// Servers that entries pin clients to, with the tries so far.
    pinned: BTreeMap<DestinationKey, u32>,
    /// The server that is out, and since when; none while it is being deleted.
    out: Option<(DestinationKey, Option<Time>)>,
    /// It has been said that no server can be spared.
    postponed: bool,
}

impl Core {
    fn pins_nobody(&self, key: &ServiceKey) -> bool {
        self.service(key).is_some_and(|service| service.pins_nobody_at(Vip(*key)))
    }

    /// Asks for the connection entries of all services that are to have none.
    pub(super) fn look_at_connections(&self, out: &mut Vec<Output>) {
        let ops = |key: &&ServiceKey| self.pins_nobody(key);
        let keys: BTreeSet<ServiceKey> = self.index.keys().filter(ops).copied().collect();
        if !self.leaving && self.stopping.is_none() && (!keys.is_empty() || !self.evictions.is_empty()) {
            out.push(Output::LookAtConnections(keys));
        }
    }

    /// The connection entries of all OPS services: VIP and server of each. They are to go.
    pub(super) fn connections(
        &mut self,
        now: Time,
        entries: &BTreeSet<(ServiceKey, DestinationKey)>,
        out: &mut Vec<Output>,
    ) {
        self.connections_unread = false;
        for (key, server) in entries {
            if self.pins_nobody(key) && self.stopping.is_none() {
                self.evictions.entry(*key).or_default().pinned.entry(*server).or_default();
            }
        }
        let keys: Vec<ServiceKey> = self.evictions.keys().copied().collect();
        for key in keys {
            let Some(eviction) = self.evictions.get_mut(&key) else { continue };
            let Eviction { pinned, out: left, .. } = eviction;
            left.take_if(|(server, since)| since.is_some() && !entries.contains(&(key, *server)));
            let is_out = |server: &DestinationKey| left.is_some_and(|(out, _)| out == *server);
            pinned.retain(|server, _| is_out(server) || entries.contains(&(key, *server)));
            self.plan(now, key, out);
            self.forget_eviction(key);
        }
        self.plan_sysctls(now, out);
    }

    /// A server is not kept out for ever, whether its entries go or not, and whether they can be read or not.
    pub(super) fn out_of_patience(&mut self, now: Time) {
        for eviction in self.evictions.values_mut() {
            let late =
                |(_, since): &mut (_, Option<Time>)| since.is_some_and(|since| since + PATIENCE <= now);
            if let Some((server, _)) = eviction.out.take_if(late)
                && eviction.pinned.get(&server).is_some_and(|tries| *tries >= TRIES)
            {
                eviction.pinned.remove(&server);
            }
        }
    }

    /// A server that is out comes back at once when the others have fallen: it may be the only one that is up.
    pub(super) fn spare_no_longer(&mut self, key: &ServiceKey) {
        let (Some(pool), Some(eviction)) = (self.pools.get(key), self.evictions.get_mut(key)) else { return };
        eviction.out.take_if(|(out, since)| since.is_some() && pool.alive().all(|(server, _)| server == out));
    }

    /// Whether no server is out of a service that the next config leaves to others. The old config goes on until then.
    pub(super) fn all_returned(&mut self, now: Time) -> bool {
        let Some((next, _)) = self.next.as_ref().filter(|(_, since)| now < *since + RETURN) else {
            return true;
        };
        let named: BTreeSet<ServiceKey> = desired::listens(next).map(|(key, _)| key).collect();
        let left = |key: &ServiceKey| !named.contains(key) && !self.memory.created.contains(key);
        let left: Vec<ServiceKey> = self.evictions.keys().filter(|key| left(key)).copied().collect();
        for key in &left {
            self.evictions
                .get_mut(key)
                .and_then(|eviction| eviction.out.take_if(|(_, since)| since.is_some()));
        }
        left.iter()
            .all(|key| self.out_of(key).is_none() && !self.busy.contains(key) && self.has_all_servers(key))
    }

    /// Takes the next server of a service out, if it has pinned clients and another server has weight.
    pub(super) fn evict(&mut self, key: ServiceKey, out: &mut Vec<Output>) {
        // One that nobody wants drains, and its entries go with it.
        let Some(pool) = self.pools.get(&key).filter(|_| !self.leaving) else { return };
        if !self.pins_nobody(&key) {
            return;
        }
        let (Some(eviction), Some(found)) = (self.evictions.get_mut(&key), &self.found) else { return };
        let expires = self.sysctls.get(EXPIRE).is_some_and(|value| value == "1");
        let Some(service) =
            found.get(&key).filter(|service| service.config.flags.contains(Flags::ONE_PACKET))
        else {
            return;
        };
        if eviction.out.is_some() || !expires || self.sysctls_set || self.next.is_some() {
            return;
        }
        let weighted = |except: &DestinationKey| {
            service.servers.iter().any(|(server, config)| server != except && config.weight > 0)
        };
        let pinned = eviction.pinned.keys().copied();
        let mut pinned =
            pinned.filter(|server| pool.members.contains_key(server) && service.servers.contains_key(server));
        let Some(server) = pinned.clone().find(weighted) else {
            if let Some(server) = pinned.next()
                && !std::mem::replace(&mut eviction.postponed, true)
            {
                out.push(Output::Say(Event::EvictionPostponed { key, server }));
            }
            return;
        };
        *eviction.pinned.entry(server).or_default() += 1;
        eviction.out = Some((server, None));
        eviction.postponed = false;
        let why = "connection entries of an earlier run pin clients to it".to_owned();
        self.busy.insert(key);
        out.push(Output::Do(key, vec![Step { action: Action::DeleteServer(server), why }]));
    }

    /// A step was done for a service: it may have been the eviction's own.
    pub(super) fn evicted(&mut self, now: Time, key: ServiceKey, action: &Action, done: bool) {
        let Some(eviction) = self.evictions.get_mut(&key) else { return };
        if let Some((server, since @ None)) = &mut eviction.out
            && *action == Action::DeleteServer(*server)
        {
            *since = Some(now);
            // It may be there or not: a look will tell.
            eviction.out.take_if(|_| !done);
        }
    }

    /// Over, unless clients are still pinned or a server is still out.
    fn forget_eviction(&mut self, key: ServiceKey) {
        if self.evictions.get(&key).is_some_and(|left| left.pinned.is_empty() && left.out.is_none()) {
            self.evictions.remove(&key);
        }
    }

    /// The daemon is to end and leave all as it is: evictions end before it.
    pub(super) fn stop(&mut self, now: Time) {
        self.next = None;
        let evicted = std::mem::take(&mut self.evictions).into_keys();
        let left = evicted.chain(self.busy.iter().copied()).collect();
        self.stopping.get_or_insert(Stopping { left, until: now + RETURN });
    }

    /// Whether a server may be out.
    pub(super) fn evicts(&self) -> bool {
        !self.evictions.is_empty() || self.stopping.as_ref().is_some_and(|stopping| !stopping.left.is_empty())
    }

    /// Whether all that were out are back, and the sysctl is what it was.
    pub(super) fn stopped(&mut self, now: Time, out: &mut Vec<Output>) {
        let Some(mut stopping) = self.stopping.take() else { return };
        stopping.left.retain(|key| {
            self.plan(now, *key, out);
            !self.started || self.busy.contains(key) || self.retries.waits(&Subject::Service(*key))
        });
        if stopping.left.is_empty() {
            self.plan_sysctls(now, out);
        }
        let back = stopping.left.is_empty() && !self.memory.sysctls.contains_key(EXPIRE);
        if back || stopping.until <= now {
            if !back && !self.finished {
                let keys: Vec<String> = stopping.left.iter().map(ToString::to_string).collect();
                let error = format!(
                    "the end comes before all is as it was: a server may be out of {}, or {EXPIRE} still be set; \
                     the next ipvsd mends it",
                    keys.join(", ")
                );
                out.push(Output::Say(Event::Failed { error }));
            }
            self.finished(out);
        }
        self.stopping = Some(stopping);
    }

    /// Whether a service that is there has all the servers that the config wants.
    fn has_all_servers(&self, key: &ServiceKey) -> bool {
        let found = self.found.as_ref().and_then(|found| found.get(key));
        let wanted = self.wanted(key);
        let mut servers = wanted.iter().flat_map(|wanted| wanted.servers.keys());
        found.is_none() || servers.all(|server| as_wanted(Thing::Server(*server), wanted.as_ref(), found))
    }

    /// The server that is out of a service on purpose: no plan adds it.
    pub(super) fn out_of(&self, key: &ServiceKey) -> Option<DestinationKey> {
        self.evictions.get(key)?.out.map(|(server, _)| server)
    }

    /// Whether any server's entries are being waited for.
    pub(super) fn waits_for_entries(&self) -> bool {
        self.evictions.values().any(|eviction| matches!(eviction.out, Some((_, Some(_)))))
    }

    /// When the entries are to be looked at again.
    pub(super) fn next_entries(&self, now: Time) -> Option<Time> {
        self.waits_for_entries().then_some(now + POLL)
    }
}
