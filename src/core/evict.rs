//! Eviction: connection entries of an OPS service, left by whoever ran before, pin clients to a server whatever the
//! flag says by now. They go by deleting their server and adding it again, one server at a time.
//!
//! ```text
//! sysctl expire_nodest_conn = 1 ──> DEL_DEST ──> wait until no entry names the server ──> NEW_DEST, weight as before
//! ```
//! With the sysctl the next packet of a pinned client goes to another server in the same pass, and nothing is lost. So
//! a server goes only while another has weight.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipvs_netlink::{DestinationConfig, DestinationKey, Flags, ServiceKey};

use super::event::Event;
use super::plan::{Action, Step};
use super::rules::Need;
use super::{Core, Output, Time};

/// The sysctl that lets the entries of a deleted server go.
pub const EXPIRE: &str = "net.ipv4.vs.expire_nodest_conn";

/// Entries go within 20 ms of their server. A server is not kept out for longer than this.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);
/// So often is a server taken out whose entries come back.
const TRIES: u32 = 3;

/// Where the eviction of one service stands.
#[derive(Debug, Default)]
pub struct Eviction {
    /// Servers that entries pin clients to, with the tries so far.
    pinned: BTreeMap<DestinationKey, u32>,
    /// The server that is out.
    pub(super) out: Option<Out>,
    /// It has been said that no server can be spared.
    postponed: bool,
}

#[derive(Debug)]
pub struct Out {
    server: DestinationKey,
    config: DestinationConfig,
    stage: Stage,
}

#[derive(Debug, PartialEq)]
enum Stage {
    Leaving,
    Gone { since: Time },
    Returning,
}

impl Core {
    /// The connection entries of our services: VIP and server of each. Those of OPS services are to go.
    pub(super) fn connections(
        &mut self,
        now: Time,
        entries: &BTreeSet<(ServiceKey, DestinationKey)>,
        out: &mut Vec<Output>,
    ) {
        for (key, server) in entries {
            if self.service(key).is_some_and(|(service, _)| service.ops) {
                self.evictions.entry(*key).or_default().pinned.entry(*server).or_default();
            }
        }
        let keys: Vec<ServiceKey> = self.evictions.keys().copied().collect();
        for key in keys {
            let out_of = self.evictions.get(&key).and_then(|eviction| eviction.out.as_ref());
            let back = out_of.and_then(|left| self.as_it_returns(&key, left));
            let Some(eviction) = self.evictions.get_mut(&key) else { continue };
            let free = |server: &DestinationKey| !entries.contains(&(key, *server));
            if let Some(left) = &mut eviction.out
                && let Stage::Gone { since } = left.stage
                && (free(&left.server) || since + PATIENCE <= now)
                && !self.busy.contains(&key)
                && self.started
            {
                left.stage = Stage::Returning;
                if free(&left.server) || eviction.pinned.get(&left.server).is_none_or(|tries| *tries >= TRIES)
                {
                    eviction.pinned.remove(&left.server);
                }
                if let Some(config) = back {
                    let action = Action::AddServer(left.server, config);
                    let why = "the connection entries that pinned clients to it are gone".to_owned();
                    self.busy.insert(key);
                    out.push(Output::Do(key, vec![Step { action, why }]));
                } else {
                    eviction.out = None;
                }
            }
            let out_now = eviction.out.as_ref().map(|left| left.server);
            eviction.pinned.retain(|server, _| out_now == Some(*server) || !free(server));
            self.forget_eviction(key);
            self.evict(key, out);
        }
        self.plan_sysctls(now, out);
    }

    /// A server returns with the weight it had, unless a verdict or the rules have changed. One that nobody wants by now
    /// returns to drain: its replies may be on the way. None if its service is gone, or somebody else has brought it back.
    fn as_it_returns(&self, key: &ServiceKey, left: &Out) -> Option<DestinationConfig> {
        self.found.as_ref()?.get(key).filter(|service| !service.servers.contains_key(&left.server))?;
        let wanted = self.wanted(key);
        let server = wanted.as_ref().and_then(|wanted| Some((wanted, wanted.servers.get(&left.server)?)));
        let Some((wanted, server)) = server else {
            return Some(DestinationConfig { weight: 0, ..left.config });
        };
        let holds = |need: &Need| self.rules.as_ref().is_some_and(|rules| rules.hold(need));
        let may = wanted.need.iter().chain(&server.need).all(holds);
        let weight = if may { server.due.weight.unwrap_or(left.config.weight) } else { 0 };
        Some(DestinationConfig { weight, ..server.config })
    }

    /// Takes the next server of a service out, if it has pinned clients and another server has weight.
    pub(super) fn evict(&mut self, key: ServiceKey, out: &mut Vec<Output>) {
        // One that nobody wants drains, and its entries go with it.
        let Some(pool) = self.pools.get(&key).filter(|_| !self.leaving) else { return };
        let (Some(eviction), Some(found)) = (self.evictions.get_mut(&key), &self.found) else { return };
        let expires = self.sysctls.get(EXPIRE).is_some_and(|value| value == "1");
        let Some(service) =
            found.get(&key).filter(|service| service.config.flags.contains(Flags::ONE_PACKET))
        else {
            return;
        };
        if eviction.out.is_some() || self.busy.contains(&key) || !expires || !self.started {
            return;
        }
        let weighted = |except: &DestinationKey| {
            service.servers.iter().any(|(server, config)| server != except && config.weight > 0)
        };
        let pinned = eviction.pinned.keys().filter(|server| pool.members.contains_key(server));
        let mut pinned = pinned.filter_map(|server| Some((*server, *service.servers.get(server)?)));
        let Some((server, config)) = pinned.clone().find(|(server, _)| weighted(server)) else {
            if let Some((server, _)) = pinned.next()
                && !std::mem::replace(&mut eviction.postponed, true)
            {
                out.push(Output::Say(Event::EvictionPostponed { key, server }));
            }
            return;
        };
        *eviction.pinned.entry(server).or_default() += 1;
        eviction.out = Some(Out { server, config, stage: Stage::Leaving });
        eviction.postponed = false;
        let why = "connection entries of an earlier run pin clients to it".to_owned();
        self.busy.insert(key);
        out.push(Output::Do(key, vec![Step { action: Action::DeleteServer(server), why }]));
    }

    /// A step was done for a service: it may have been the eviction's own.
    pub(super) fn evicted(&mut self, now: Time, key: ServiceKey, action: &Action, done: bool) {
        let Some(eviction) = self.evictions.get_mut(&key) else { return };
        let Some(left) = &mut eviction.out else { return };
        match action {
            Action::DeleteServer(server) if *server == left.server && left.stage == Stage::Leaving => {
                if done {
                    left.stage = Stage::Gone { since: now };
                } else {
                    eviction.out = None;
                }
            }
            // If it failed, the server is missing, and the next plan adds it.
            Action::AddServer(server, _) if *server == left.server => eviction.out = None,
            _ => {}
        }
        self.forget_eviction(key);
    }

    /// Over, unless clients are still pinned or a server is still out.
    fn forget_eviction(&mut self, key: ServiceKey) {
        if self.evictions.get(&key).is_some_and(|left| left.pinned.is_empty() && left.out.is_none()) {
            self.evictions.remove(&key);
        }
    }

    /// The server that is out of a service on purpose: no plan adds it.
    pub(super) fn out_of(&self, key: &ServiceKey) -> Option<DestinationKey> {
        Some(self.evictions.get(key)?.out.as_ref()?.server)
    }

    /// Whether any server's entries are being waited for.
    pub(super) fn waits_for_entries(&self) -> bool {
        let gone = |eviction: &Eviction| {
            eviction.out.as_ref().is_some_and(|left| matches!(left.stage, Stage::Gone { .. }))
        };
        self.evictions.values().any(gone)
    }

    /// When the entries are to be looked at again.
    pub(super) fn next_entries(&self, now: Time) -> Option<Time> {
        self.waits_for_entries().then_some(now + POLL)
    }
}
