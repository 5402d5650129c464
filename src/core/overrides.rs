//! What operators say about the weight of a server, until they take it back or its time is over: over reloads and restarts.

use std::net::SocketAddr;

use ipvs_netlink::{DestinationKey, ServiceKey};
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::model::Vip;
use super::pool::Pool;
use super::{Core, Output, Time};

/// The weight of a server as an operator has it, at all VIPs of the service. It is kept although the config may not know the
/// server at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The service's name in the config.
    pub service: String,
    /// The server.
    pub server: SocketAddr,
    /// Its weight when it is up; 0 is drained.
    pub weight: u32,
    /// The user ID of the operator.
    pub by: u32,
    /// Since when.
    pub since: Time,
    /// Until when; none: until it is taken back.
    pub until: Option<Time>,
}

impl Override {
    pub(super) fn is_for(&self, service: &str, server: SocketAddr) -> bool {
        self.service == service && self.server == server
    }
}

impl Core {
    pub(super) fn override_weight(&mut self, now: Time, it: Override, out: &mut Vec<Output>) {
        self.memory.overrides.retain(|other| !other.is_for(&it.service, it.server));
        self.memory.overrides.push(it.clone());
        out.push(Output::Remember(self.memory.clone()));
        out.push(Output::Say(Event::Overridden(it.clone())));
        self.operate(now, &it.service, it.server, Some(it.weight), out);
    }

    /// Of `service` and `server`, if there is something to take back.
    pub(super) fn take_back(
        &mut self,
        now: Time,
        service: &str,
        server: SocketAddr,
        by: u32,
        out: &mut Vec<Output>,
    ) {
        self.end_overrides(now, |it| it.is_for(service, server), Some(by), out);
    }

    /// A VIP of `service` of which no server would have weight if this one were drained, and one has it now.
    pub fn would_empty(&self, now: Time, service: &str, server: SocketAddr) -> Option<Vip> {
        let key = DestinationKey(server);
        let of = self.index.iter().filter(|(_, place)| self.config.services[**place].name == service);
        let weighted = |pool: &Pool| {
            let due =
                |server| pool.due(server).is_some_and(|due| due.weight.is_some_and(|weight| weight > 0));
            pool.members.keys().any(due)
        };
        let empties = |pool: &Pool| {
            let mut after = pool.clone();
            after.operate(now, &key, Some(0));
            pool.members.contains_key(&key) && weighted(pool) && !weighted(&after)
        };
        of.filter(|(of, _)| self.pools.get(*of).is_some_and(empties)).map(|(key, _)| Vip(*key)).next()
    }

    /// Ends those whose time is over.
    pub(super) fn expire_overrides(&mut self, now: Time, out: &mut Vec<Output>) {
        self.end_overrides(now, |it| it.until.is_some_and(|until| until <= now), None, out);
    }

    fn end_overrides(
        &mut self,
        now: Time,
        ends: impl Fn(&Override) -> bool,
        by: Option<u32>,
        out: &mut Vec<Output>,
    ) {
        let over: Vec<Override> = self.memory.overrides.extract_if(.., |it| ends(it)).collect();
        if !over.is_empty() {
            out.push(Output::Remember(self.memory.clone()));
        }
        for it in over {
            out.push(Output::Say(Event::TakenBack { it: it.clone(), by }));
            self.operate(now, &it.service, it.server, None, out);
        }
    }

    /// What operators say about this server.
    pub(super) fn override_of(&self, service: &str, server: SocketAddr) -> Option<&Override> {
        self.memory.overrides.iter().find(|it| it.is_for(service, server))
    }

    /// When one is over.
    pub(super) fn override_times(&self) -> impl Iterator<Item = Time> {
        self.memory.overrides.iter().filter_map(|it| it.until)
    }

    fn operate(
        &mut self,
        now: Time,
        service: &str,
        server: SocketAddr,
        weight: Option<u32>,
        out: &mut Vec<Output>,
    ) {
        let behind = |place: &usize| self.config.services[*place].name == service;
        let keys = self.index.iter().filter(|(_, place)| behind(place)).map(|(key, _)| *key);
        let server = DestinationKey(server);
        for key in keys.collect::<Vec<ServiceKey>>() {
            let Some(pool) = self.pools.get_mut(&key) else { continue };
            if !pool.members.contains_key(&server) {
                continue;
            }
            let turn = pool.operate(now, &server, weight);
            self.weigh(now, key, server, turn, out);
        }
    }
}
