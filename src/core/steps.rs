//! Plans: which steps are asked for now, and what their results change in the picture of the kernel.

use std::collections::BTreeMap;

use ipvs_netlink::{DestinationConfig, DestinationKey, ServiceKey};

use super::drift::Thing;
use super::event::{Before, Event};
use super::plan::{self, Action, Circumstances, FoundService, Step, Wanted};
use super::{Core, DRAIN_OF_STRANGERS, Output, Subject, Time, desired};

impl Core {
    pub(super) fn wanted(&self, key: &ServiceKey) -> Option<Wanted> {
        let (service, vip) = self.service(key).filter(|_| !self.leaving)?;
        Some(desired::wanted(service, vip, self.pools.get(key)?))
    }

    pub(super) fn plan_all(&mut self, now: Time, out: &mut Vec<Output>) {
        self.plan_rules(out);
        for key in self.own.clone() {
            self.plan(now, key, out);
        }
    }

    pub(super) fn plan_rules(&mut self, out: &mut Vec<Output>) {
        let (Some(found), Some(held)) = (&self.found, &self.rules) else { return };
        if self.started && self.rules_asked.is_none() && !self.retries.waits(&Subject::Rules) {
            let mut rules = {
                let wanted = self.index.keys().filter_map(|key| Some((*key, self.wanted(key)?))).collect();
                desired::rules(&wanted, found, held)
            };
            let all_gone = self.leaving && self.own.iter().all(|key| !found.contains_key(key));
            let due = rules.clone();
            let under_way = |key: &&ServiceKey| self.busy.contains(*key) || self.out_of(key).is_some();
            self.own.iter().filter(under_way).for_each(|key| rules.keep(held, key));
            self.rules_kept = rules != due;
            rules.refuse(self.config.refusals);
            if rules != *held || self.rules_damaged {
                self.rules_asked = Some(rules.clone());
                out.push(Output::DoRules(rules));
                return;
            }
            self.works(&Subject::Rules, "the reply rules", out);
            if all_gone {
                self.finish(out);
            }
        }
    }

    pub(super) fn plan(&mut self, now: Time, key: ServiceKey, out: &mut Vec<Output>) {
        let (Some(found), Some(rules)) = (&self.found, &self.rules) else { return };
        if !self.started || self.busy.contains(&key) || self.retries.waits(&Subject::Service(key)) {
            return;
        }
        let wanted = self.wanted(&key);
        let drain = self.service(&key).map(|(service, _)| service.drain);
        let drain = drain.or(self.former.get(&key).map(|(_, drain)| *drain)).unwrap_or(DRAIN_OF_STRANGERS);
        let found = found.get(&key);

        let stranger = |server: &DestinationKey| {
            wanted.as_ref().is_none_or(|wanted| !wanted.servers.contains_key(server))
        };
        // One that somebody gave weight again begins anew.
        let idle = |server: &DestinationKey| {
            found.and_then(|service| service.servers.get(server)).is_some_and(|config| config.weight == 0)
        };
        self.drains.retain(|(service, server), _| *service != key || (stranger(server) && idle(server)));
        for (server, config) in found.iter().flat_map(|service| &service.servers) {
            if config.weight == 0 && stranger(server) {
                self.drains.entry((key, *server)).or_insert(now + drain);
            }
        }
        let drained =
            |server: &DestinationKey| self.drains.get(&(key, *server)).is_some_and(|time| *time <= now);
        let to_be = self.rules_asked.as_ref().unwrap_or(rules);
        let unwanted = if self.leaving { "all of ipvsd's own is removed" } else { "not in the config" };
        let mut steps =
            plan::plan(wanted.as_ref(), found, &Circumstances { rules, to_be, drained, unwanted });
        let out_of = self.out_of(&key);
        steps.retain(|step| {
            let thing = step.action.thing();
            out_of.is_none_or(|server| thing != Thing::Server(server))
                && !self.brake.holds(&(key, thing), now)
        });
        if steps.is_empty() {
            self.works(&Subject::Service(key), &key.to_string(), out);
            return self.evict(key, out);
        }
        if steps.iter().any(|step| matches!(step.action, Action::AddService(_)))
            && self.memory.created.insert(key)
        {
            out.push(Output::Remember(self.memory.clone()));
        }
        self.busy.insert(key);
        out.push(Output::Do(key, steps));
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
        for (step, result) in results {
            self.evicted(now, key, &step.action, result.is_ok());
            if result.is_ok() && step.action == Action::DeleteService && self.memory.created.remove(&key) {
                out.push(Output::Remember(self.memory.clone()));
            }
            match result {
                Ok(()) => {
                    let before = self.picture(key, &step.action);
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
            out.push(Output::LookAtConnections(self.evictions.keys().copied().collect()));
        }
        self.plan(now, key, out);
        if frees_rules || self.rules_kept {
            self.plan_rules(out);
        }
    }

    /// Takes a step that succeeded into the picture of the kernel and returns what was there before.
    fn picture(&mut self, key: ServiceKey, action: &Action) -> Before {
        let Some(found) = &mut self.found else { return Before::Nothing };
        let server_before = |old: Option<DestinationConfig>| old.map_or(Before::Nothing, Before::Server);
        match action {
            Action::AddService(config) => {
                found.insert(key, FoundService { config: config.clone(), servers: BTreeMap::new() });
                Before::Nothing
            }
            Action::SetService(config) => match found.get_mut(&key) {
                Some(service) => Before::Service(std::mem::replace(&mut service.config, config.clone())),
                None => Before::Nothing,
            },
            Action::DeleteService => {
                self.drains.retain(|(service, _), _| *service != key);
                found.remove(&key).map_or(Before::Nothing, |service| Before::Service(service.config))
            }
            Action::AddServer(server, config) | Action::SetServer(server, config) => server_before(
                found.get_mut(&key).and_then(|service| service.servers.insert(*server, *config)),
            ),
            Action::DeleteServer(server) => {
                self.drains.remove(&(key, *server));
                server_before(found.get_mut(&key).and_then(|service| service.servers.remove(server)))
            }
        }
    }
}
