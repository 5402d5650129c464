//! A config to go by: its pools and probes, a look at the kernel, and what is adopted from there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipvs_netlink::{DestinationKey, ServiceKey};

use super::drift::{Brake, Ruling};
use super::event::Event;
use super::model::{Config, TargetId};
use super::plan::{FoundService, FoundServices};
use super::pool::{Known, Member, Pool};
use super::reported::Reported;
use super::rules::Need;
use super::{Core, FoundRules, Output, Subject, Time, desired};

const LOOK: Duration = Duration::from_secs(1);
/// Until the next look while a new config waits.
const WAIT: Duration = Duration::from_millis(100);
/// One is not enough: a dump may leave out a service while others change.
const LOOKS_TO_DISOWN: u32 = 4;
/// So many servers are looked at less often.
const MANY: usize = 2000;
const LOOK_AT_MANY: Duration = Duration::from_millis(1890);

impl Core {
    fn configure(&mut self, now: Time, config: Config, out: &mut Vec<Output>) {
        for (key, place) in &self.index {
            let service = &self.config.services[*place];
            self.former.insert(*key, (service.name.clone(), service.drain));
        }
        let left: Vec<ServiceKey> = self.index.keys().copied().collect();
        self.config = config;
        self.index = desired::listens(&self.config).collect();
        for key in left {
            let there = self.found.as_ref().is_some_and(|found| found.contains_key(&key));
            if there && !self.index.contains_key(&key) && !self.memory.created.contains(&key) && !self.leaving
            {
                out.push(Output::Say(Event::Left { key }));
            }
        }
        let unnamed = self.memory.created.iter().filter(|key| !self.index.contains_key(key));
        let looks = |key| self.unnamed.get(key).copied().unwrap_or_default();
        self.unnamed = unnamed.map(|key| (*key, looks(key))).collect();
        let mut evictions = std::mem::take(&mut self.evictions);
        evictions.retain(|key, _| self.owns(key));
        self.evictions = evictions;

        let old = std::mem::take(&mut self.pools);
        let members = old.values().flat_map(|pool| pool.members.values());
        let known: BTreeMap<TargetId, &Known> =
            members.flat_map(|member| &member.checks).map(|(id, known)| (*id, known)).collect();
        let (mut targets, mut probed_for) = (BTreeMap::new(), BTreeSet::new());
        for (key, place) in &self.index {
            let service = &self.config.services[*place];
            let mut members = BTreeMap::new();
            for server in desired::servers_of(service, *key) {
                let name = DestinationKey(server.address);
                let checks = service.checks_of(server).iter().map(|check| {
                    let probed = (check.target(server.address), check.clone());
                    let before = || {
                        let place = self.targets.binary_search_by(|(known, _)| known.cmp(&probed)).ok()?;
                        Some(self.targets[place].1)
                    };
                    let id = targets.get(&probed).copied().or_else(before).unwrap_or_else(|| {
                        self.next_target += 1;
                        TargetId(self.next_target)
                    });
                    targets.insert(probed, id);
                    probed_for.insert((id, *place));
                    (id, known.get(&id).copied().cloned().unwrap_or_default())
                });
                let mut member = Member::new(server.weight, server.fallback, checks.collect());
                member.operator = self.override_of(&service.name, server.address).map(|it| it.weight);
                members.insert(name, member);
            }
            let mut pool = Pool::new(members, service.policy.clone(), service.detection());
            if let Some(old) = old.get(key) {
                pool.inherit(now, old);
            }
            if pool.next().is_some() {
                self.ramping.insert(*key);
            }
            self.pools.insert(*key, pool);
        }
        self.targets = targets.into_iter().collect();
        self.probed_for = probed_for.into_iter().collect();
        self.quorums.retain(|key, _| self.index.contains_key(key));
        self.drifted.retain(|key, _| self.index.contains_key(key));
        // Of a new config everything is put right, also what was only reported.
        self.reported = Reported::default();
        self.brake = Brake::default();
        self.rules_brake = Brake::default();
    }

    /// A look that is under way may not be what is asked for: then one more follows it.
    pub(super) fn look(&mut self, out: &mut Vec<Output>) {
        self.look_anew = std::mem::replace(&mut self.looking, true);
        if self.look_anew {
            return;
        }
        self.look_at_sysctls(out);
        out.push(Output::LookAtRules);
    }

    /// From one look to the next: drift is repaired within 2 seconds, of which a large table takes all.
    fn pause(&self) -> Duration {
        let servers: usize = self.pools.values().map(|pool| pool.members.len()).sum();
        if servers > MANY { LOOK_AT_MANY } else { LOOK }
    }

    /// The look is over. True if another follows at once, since this one may not be what was asked for.
    pub(super) fn looked(&mut self, now: Time, out: &mut Vec<Output>) -> bool {
        self.looking = false;
        // A look that took long is not followed by another at once.
        self.next_look = self.next_look.max(now + self.pause() / 2);
        self.services_asked = false;
        let anew = std::mem::take(&mut self.look_anew);
        if anew {
            self.look(out);
        }
        anew
    }

    /// The kernel could be read.
    pub(super) fn can_read(&mut self, now: Time, out: &mut Vec<Output>) {
        self.read = Some(now);
        if !self.rules_unread && self.retries.over(&Subject::Look) {
            out.push(Output::Say(Event::Works { what: "reading the kernel".to_owned() }));
        }
    }

    /// The rules come first: they name services whose replies are rewritten, whoever wants them.
    pub(super) fn found_rules(&mut self, now: Time, found: FoundRules, out: &mut Vec<Output>) {
        let differ = self.rules.as_ref().is_none_or(|made| *made != found.rules);
        let drifted = (self.rules.is_some() && differ) || !found.damage.is_empty();
        if self.started && self.rules_asked.is_none() && drifted && !self.retries.fails(&Subject::Rules) {
            let FoundRules { rules, damage } = &found;
            let (requests, replies) = (rules.requests.len(), rules.replies.len());
            let again = self.rules_brake.drifted((), now) != Ruling::Repair;
            out.push(Output::Say(Event::RulesDrift { requests, replies, damage: damage.clone(), again }));
        }
        self.rules_damaged = !found.damage.is_empty();
        // What is known already is not held while all is planned.
        match differ {
            true => self.rules = Some(found.rules),
            false => drop(found),
        }
        self.rules_unread = false;
        self.rules_tried = None;
        if self.looking && !self.services_asked {
            self.services_asked = true;
            out.push(Output::LookAtServices(self.watched()));
        } else {
            self.plan_all(now, out);
        }
    }

    /// The rules could not be read.
    pub(super) fn no_rules(&mut self, now: Time, error: String, out: &mut Vec<Output>) {
        self.rules_unread = true;
        self.failed(now, Subject::Look, error, out);
        if self.looking && !self.services_asked {
            self.looked(now, out);
        }
    }

    /// The services whose servers are read.
    pub(super) fn watched(&self) -> BTreeSet<ServiceKey> {
        let rewritten = self.rules.iter().flat_map(|rules| &rules.requests).map(|vip| ServiceKey::udp(*vip));
        let next = self.next.iter().flat_map(|(config, _)| desired::listens(config)).map(|(key, _)| key);
        self.own().copied().chain(rewritten).chain(next).collect()
    }

    /// All the time, whether anybody else has changed something.
    pub(super) fn glance(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.started && !self.looking && self.next_look <= now {
            self.next_look = now + self.pause();
            // Of what a new config names nothing may be known yet that could be unchanged.
            if self.next.is_some() {
                return self.look(out);
            }
            self.looking = true;
            self.services_asked = true;
            self.look_at_sysctls(out);
            out.push(Output::GlanceAtServices(self.watched()));
            if !self.evictions.is_empty() || self.connections_unread {
                self.look_at_connections(out);
            }
        }
    }

    /// A look has ended; none: as a glance shows, nothing has changed.
    pub(super) fn look_ended(
        &mut self,
        now: Time,
        found: Option<Result<Vec<(ServiceKey, FoundService)>, String>>,
        out: &mut Vec<Output>,
    ) {
        let anew = self.looked(now, out);
        match found {
            Some(Ok(services)) => self.found_services(now, services.into_iter().collect(), anew, out),
            Some(Err(error)) => self.failed(now, Subject::Look, error, out),
            None => {
                self.can_read(now, out);
                if self.next.is_some() {
                    self.take_next(now, anew, out);
                    self.plan_all(now, out);
                }
            }
        }
    }

    /// A service that the config does not name and that is gone is ipvsd's own no more: whoever makes it again has made it.
    fn disown(&mut self, out: &mut Vec<Output>) {
        let Some(found) = &self.found else { return };
        for (key, looks) in &mut self.unnamed {
            let gone = !found.contains_key(key) && !self.busy.contains(key);
            *looks = if gone { *looks + 1 } else { 0 };
        }
        let gone: Vec<_> = self.unnamed.extract_if(.., |_, looks| *looks >= LOOKS_TO_DISOWN).collect();
        if !gone.is_empty() {
            self.memory.created.retain(|key| !gone.iter().any(|(gone, _)| gone == key));
            out.push(Output::Remember(self.memory.clone()));
        }
    }

    fn found_services(&mut self, now: Time, services: FoundServices, anew: bool, out: &mut Vec<Output>) {
        self.retries.looked();
        if self.started {
            self.judge_drift(now, &services, out);
        }
        self.keep_what_is_lost(now, &services);
        self.found = Some(services);
        self.disown(out);
        self.can_read(now, out);
        self.take_next(now, anew, out);
        self.plan_sysctls(now, out);
        self.plan_all(now, out);
    }

    /// The kernel was read, or is as it was: time to go by the new config, if there is one.
    fn take_next(&mut self, now: Time, anew: bool, out: &mut Vec<Output>) {
        let ready = !anew && !self.rules_unread && self.all_returned(now);
        if let Some((config, _)) = self.next.take_if(|_| ready) {
            let suspended = self.all_suspended();
            self.configure(now, config, out);
            self.say_suspended(&suspended, out);
            if !std::mem::replace(&mut self.started, true) && std::mem::take(&mut self.rules_touched) {
                out.push(Output::LookAtRules);
            }
            self.adopt();
            for key in self.index.keys().copied().collect::<Vec<_>>() {
                self.quorum(key, out);
            }
            self.tell_all(out);
            out.push(Output::Probe(if self.leaving { Vec::new() } else { self.probes() }));
            self.look_at_connections(out);
        }
        if self.next.is_some() {
            self.next_look = now + WAIT;
        }
    }

    /// Somebody else, or a step of which nothing was heard, has taken servers whose replies may be on the way.
    fn keep_what_is_lost(&mut self, now: Time, services: &FoundServices) {
        let rules = [&self.rules, &self.rules_asked, &self.rules_tried];
        let hold = |need: &Need| rules.into_iter().flatten().any(|rules| rules.hold(need));
        let mut kept = std::mem::take(&mut self.kept);
        match &self.found {
            None => {
                let held = self.rules.clone().unwrap_or_default();
                kept.adopt(&held, |key| now + self.drain(key));
            }
            Some(found) => {
                for (key, before) in found {
                    let after = services.get(key);
                    if after != Some(before) {
                        kept.lost(key, Some(before), after, hold, now + self.drain(key));
                    }
                }
            }
        }
        self.kept = kept;
    }

    /// Of a weight that is found only zero or not zero counts: the last known verdict.
    fn adopt(&mut self) {
        for (key, pool) in &mut self.pools {
            let Some(service) = self.found.as_ref().and_then(|found| found.get(key)) else { continue };
            pool.found(service.servers.iter().map(|(server, config)| (*server, config.weight)));
        }
    }
}
