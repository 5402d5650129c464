//! Plans: which steps are asked for now, and what their results change in the picture of the kernel.

use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationKey, Flags, ServiceKey};

use super::desired::Needs;
use super::drift::Thing;
use super::event::{Before, Event};
use super::exchange::cannot_spare;
use super::model::Rules;
use super::plan::{self, Action, Circumstances, FoundService, FoundServices, Step, Wanted};
use super::rules::Need;
use super::{Core, DRAIN_OF_STRANGERS, Output, Subject, Time, desired};

impl Core {
    pub(super) fn wanted(&self, key: &ServiceKey) -> Option<Wanted> {
        let service = self.service(key).filter(|_| !self.leaving)?;
        Some(desired::wanted(service, *key, self.pools.get(key)?))
    }

    /// How long replies of a service may be on the way.
    pub(super) fn drain(&self, key: &ServiceKey) -> Duration {
        let former = || self.former.get(key).map(|(_, drain)| *drain);
        let next = || {
            let (config, _) = self.next.as_ref()?;
            let (_, place) = desired::listens(config).find(|(listed, _)| listed == key)?;
            Some(config.services[place].drain)
        };
        let drain = self.service(key).map(|service| service.drain);
        drain.or_else(former).or_else(next).unwrap_or(DRAIN_OF_STRANGERS)
    }

    pub(super) fn plan_all(&mut self, now: Time, out: &mut Vec<Output>) {
        self.planned = now;
        self.plan_rules(now, out);
        let (before, mut creates) = (out.len(), false);
        for key in self.own().copied().collect::<Vec<_>>() {
            creates |= self.plan_one(now, key, out);
        }
        self.remember_first(creates, before, out);
    }

    pub(super) fn plan(&mut self, now: Time, key: ServiceKey, out: &mut Vec<Output>) {
        let before = out.len();
        let creates = self.plan_one(now, key, out);
        self.remember_first(creates, before, out);
    }

    /// What is created is written down before the first of the steps that create it: once, since a thousand services would be
    /// written down a thousand times otherwise.
    fn remember_first(&self, creates: bool, before: usize, out: &mut Vec<Output>) {
        if creates {
            out.insert(before, Output::Remember(self.memory.clone()));
        }
    }

    pub(super) fn plan_rules(&mut self, now: Time, out: &mut Vec<Output>) {
        let (Some(found), Some(held)) = (&self.found, &self.rules) else { return };
        self.kept.forget(now);
        // Nothing is taken from rules that may not be what they are thought to be.
        let known = self.rules_asked.is_none() && !self.rules_unread;
        if self.started && known && !self.retries.waits(&Subject::Rules) {
            let mut rules = {
                // All that is wanted at once would be the largest thing that the daemon ever holds.
                let needs = |key: &ServiceKey| Some((*key, Needs::of(&self.wanted(key)?)));
                let wanted = self.index.keys().filter_map(needs).collect();
                desired::rules(&wanted, found, held, self.kept.needs())
            };
            self.rules_kept = false;
            if !self.busy.is_empty() {
                let due = rules.clone();
                self.busy.iter().for_each(|key| rules.keep(held, key));
                self.rules_kept = rules != due;
            }
            rules.refuse(self.config.refusals);
            if rules != **held || self.rules_damaged {
                let rules = Arc::new(rules);
                self.rules_asked = Some(Arc::clone(&rules));
                out.push(Output::DoRules(rules));
                return;
            }
            self.works(&Subject::Rules, "the reply rules", out);
            if self.leaving && self.all_gone() && self.kept.is_empty() {
                self.finish(out);
            }
        }
    }

    /// Whether no service of ipvsd's own is left, nor one that a step may make.
    pub(super) fn all_gone(&self) -> bool {
        let there = |key: &ServiceKey| {
            self.busy.contains(key) || self.found.as_ref().is_none_or(|found| found.contains_key(key))
        };
        !self.own().any(there)
    }

    /// Whether a service is to be created that was not written down as ipvsd's own.
    fn plan_one(&mut self, now: Time, key: ServiceKey, out: &mut Vec<Output>) -> bool {
        let (Some(found), Some(rules)) = (&self.found, &self.rules) else { return false };
        if !self.started
            || !self.owns(&key)
            || self.busy.contains(&key)
            || self.retries.waits(&Subject::Service(key))
        {
            return false;
        }
        let wanted = self.wanted(&key);
        let drain = self.drain(&key);
        let found = found.get(&key);
        let stuck = wanted.as_ref().zip(found).is_some_and(|(wanted, found)| cannot_spare(wanted, found));
        let circle = stuck.then(|| self.gives_up_for(&key)).flatten();

        let stranger = |server: &DestinationKey| {
            wanted.as_ref().is_none_or(|wanted| !wanted.servers.contains_key(server))
        };
        // One that somebody gave weight again begins anew.
        let idle = |server: &DestinationKey| {
            found.and_then(|service| service.servers.get(server)).is_some_and(|config| config.weight == 0)
        };
        self.drains.retain(|(service, server), _| *service != key || (stranger(server) && idle(server)));
        for (server, config) in found.iter().flat_map(|service| &*service.servers) {
            if config.weight == 0 && stranger(server) {
                self.drains.entry((key, *server)).or_insert(now + drain);
            }
        }
        let drained =
            |server: &DestinationKey| self.drains.get(&(key, *server)).is_some_and(|time| *time <= now);
        let to_be = self.rules_asked.as_ref().unwrap_or(rules);
        let unwanted = if self.leaving { "all of ipvsd's own is removed" } else { "not in the config" };
        let gives_up = circle.is_some();
        let circumstances = Circumstances { rules, to_be, drained, gives_up, unwanted };
        let mut steps = plan::plan(wanted.as_ref(), found, &circumstances);
        self.reported.forget(&key, wanted.as_ref(), found);
        let out_of = self.out_of(&key);
        steps.retain(|step| {
            let thing = step.action.thing();
            out_of.is_none_or(|server| thing != Thing::Server(server))
                && !self.brake.holds(&(key, thing), now)
                && !self.reported.leaves(&key, thing)
        });
        // A missing service that is left alone has no servers either.
        if found.is_none() && !steps.iter().any(|step| step.action.thing() == Thing::Service) {
            steps.clear();
        }
        self.say_what_waits(key, wanted.as_ref(), out);
        if steps.is_empty() {
            self.works(&Subject::Service(key), &key.to_string(), out);
            self.evict(key, out);
            return false;
        }
        let creates = steps.iter().any(|step| matches!(step.action, Action::AddService(_)))
            && self.memory.created.insert(key);
        if let (Some(circle), Some(service)) = (circle, self.name(&key)) {
            out.push(Output::Say(Event::GivesUp { service, key, circle }));
        }
        self.busy.insert(key);
        out.push(Output::Do(key, steps));
        creates
    }

    pub(super) fn rules_done(
        &mut self,
        now: Time,
        result: Result<Arc<Rules>, String>,
        out: &mut Vec<Output>,
    ) {
        let asked = self.rules_asked.take();
        match result {
            Ok(rules) => {
                self.works(&Subject::Rules, "the reply rules", out);
                let (requests, replies) = (rules.requests.len(), rules.replies.len());
                out.push(Output::Say(Event::Rules { requests, replies }));
                self.rules = Some(rules);
                self.rules_damaged = false;
                if std::mem::take(&mut self.rules_touched) {
                    out.push(Output::LookAtRules);
                }
            }
            Err(error) => {
                // They may have been set all the same.
                self.rules_unread = true;
                self.rules_tried = asked;
                self.failed(now, Subject::Rules, error, out);
            }
        }
        self.plan_all(now, out);
    }

    pub(super) fn done(
        &mut self,
        now: Time,
        key: ServiceKey,
        results: Vec<(Step, Result<(), String>)>,
        out: &mut Vec<Output>,
    ) {
        self.busy.remove(&key);
        let name = self.name(&key);
        let mut errors = Vec::new();
        let mut frees_rules = false;
        let unsure =
            self.retries.fails(&Subject::Service(key)) || results.iter().any(|(_, result)| result.is_err());
        for (step, result) in results {
            self.evicted(now, key, &step.action, result.is_ok());
            let gone = result.is_ok() && step.action == Action::DeleteService && self.wanted(&key).is_none();
            // Somebody else may have made it first.
            let failed = result.is_err() && matches!(step.action, Action::AddService(_));
            if gone {
                self.unnamed.remove(&key);
            }
            if (gone || failed) && self.memory.created.remove(&key) {
                out.push(Output::Remember(self.memory.clone()));
            }
            match result {
                Ok(()) => {
                    let before = self.picture(now, key, &step.action, unsure);
                    frees_rules |= match (&step.action, &before) {
                        (Action::SetServer(_, now), Before::Server(before)) => now.forward != before.forward,
                        (action, _) => matches!(
                            action,
                            Action::SetService(_) | Action::DeleteService | Action::DeleteServer(_)
                        ),
                    };
                    out.push(Output::Say(Event::Done { service: name.clone(), key, step, before }));
                }
                Err(error) => errors.push(error),
            }
        }
        match errors.into_iter().next() {
            Some(error) => self.failed(now, Subject::Service(key), error, out),
            None => self.works(&Subject::Service(key), &key.to_string(), out),
        }
        if self.waits_for_entries() {
            self.look_at_connections(out);
        }
        self.plan(now, key, out);
        if frees_rules || self.rules_kept || self.leaving {
            self.plan_rules(now, out);
        }
    }

    /// Takes a step that succeeded into the picture of the kernel and returns what was there before. After a failure it is
    /// not sure whether the service has OPS already.
    fn picture(&mut self, now: Time, key: ServiceKey, action: &Action, unsure: bool) -> Before {
        let until = now + self.drain(&key);
        let Some(found) = &mut self.found else { return Before::Nothing };
        let thing = action.thing();
        let mut old = part(found, &key, &thing);
        if let Some(old) = old.as_mut().filter(|_| unsure) {
            old.config.flags.value |= Flags::ONE_PACKET;
        }
        let before = change(found, key, action);
        let new = part(found, &key, &thing);
        let rules = [&self.rules, &self.rules_asked, &self.rules_tried];
        let hold = |need: &Need| rules.into_iter().flatten().any(|rules| rules.hold(need));
        self.kept.lost(&key, old.as_ref(), new.as_ref(), hold, until);
        match action {
            Action::DeleteService => self.drains.retain(|(service, _), _| *service != key),
            Action::DeleteServer(server) => drop(self.drains.remove(&(key, *server))),
            _ => {}
        }
        before
    }
}

/// A service with all of its servers, or with the one that a step changes.
fn part(found: &FoundServices, key: &ServiceKey, thing: &Thing) -> Option<FoundService> {
    let service = found.get(key)?;
    let Thing::Server(server) = thing else { return Some(service.clone()) };
    let one = service.servers.get_key_value(server).map(|(server, config)| (*server, *config));
    Some(FoundService { config: service.config.clone(), servers: Arc::new(one.into_iter().collect()) })
}

/// Does a step to the picture of the kernel; what was there before.
fn change(found: &mut FoundServices, key: ServiceKey, action: &Action) -> Before {
    if let Action::AddService(config) = action {
        found.insert(key, FoundService { config: config.clone(), servers: Arc::default() });
        return Before::Nothing;
    }
    if *action == Action::DeleteService {
        return found.remove(&key).map_or(Before::Nothing, |service| Before::Service(service.config));
    }
    let Some(service) = found.get_mut(&key) else { return Before::Nothing };
    let old = match action {
        Action::SetService(config) => {
            return Before::Service(std::mem::replace(&mut service.config, config.clone()));
        }
        Action::AddServer(server, config) | Action::SetServer(server, config) => {
            service.servers_mut().insert(*server, *config)
        }
        Action::DeleteServer(server) => service.servers_mut().remove(server),
        Action::AddService(_) | Action::DeleteService => None,
    };
    old.map_or(Before::Nothing, Before::Server)
}
