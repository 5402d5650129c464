//! The tasks between the core and the kernel, as the daemon has them: one for IPVS, one for the rules, one for the
//! connection entries. Bugs are planted here.

use std::sync::Arc;

use ipvs_netlink::{Flags, ServiceKey};

use super::bugs::Bug;
use super::kernel::Errno;
use super::promises::Edits;
use super::world::{Answer, Looking, World, word, words};
use crate::core::plan::{Action, FoundService, Step};
use crate::core::{FoundRules, Input};

/// So many glances that show nothing, then a full look.
pub const GLANCES: u32 = 15;

impl World {
    /// A few steps of a batch, or half a look when no batch is left.
    pub(super) fn work_ipvs(&mut self) {
        if let Some(looking) = self.looking.take() {
            return self.list_servers(looking);
        }
        if self.batches.is_empty() {
            return self.list_services();
        }
        let stops = |place: &usize| self.batches[*place].left.iter().any(|step| step.action.stops_traffic());
        let place = (0..self.batches.len()).find(stops).unwrap_or(0);
        for _ in 0..=self.random.below(4) {
            let batch = &mut self.batches[place];
            let (key, known) = (batch.key, batch.known.clone());
            let Some(step) = batch.left.pop_front() else { break };
            let result = self.step(key, &step, &known);
            self.batches[place].done.push((step, result));
        }
        if self.batches[place].left.is_empty()
            && let Some(batch) = self.batches.remove(place)
            && !self.planted(Bug::ResultsLost)
        {
            let look = |answer: &Answer| matches!(answer.input, Input::FoundServices(_));
            let look = self.answers.iter().position(look).filter(|_| self.bug == Some(Bug::LookLate));
            let late = look.and_then(|place| self.answers.remove(place));
            let (steps, results): (Vec<_>, Vec<_>) = batch.done.into_iter().unzip();
            let failed = results.into_iter().enumerate();
            let failed = failed.filter_map(|(place, result)| Some((place, result.err()?))).collect();
            self.answer(Input::Done(batch.key, steps.into(), failed));
            self.answers.extend(late);
        }
    }

    fn step(&mut self, key: ServiceKey, step: &Step, known: &Edits) -> Result<(), String> {
        let fails = self.fault();
        if fails && self.random.one_in(2) {
            if self.planted(Bug::FaultIsSuccess) {
                return Ok(());
            }
            self.promises.edited(self.now, &self.kernel, key);
            return Err("fault".to_owned());
        }
        self.log.push(format!("{key} {}", word(&step.action)));
        if matches!(step.action, Action::SetServer(..)) && self.planted(Bug::WeightTwice) {
            let _ = self.write(key, &step.action, known);
        }
        let result = self.write(key, &step.action, known);
        if fails {
            self.promises.edited(self.now, &self.kernel, key);
            return Err("the answer was lost".to_owned());
        }
        match result {
            // What was to go is gone.
            Err(Errno::NoService | Errno::NoServer)
                if matches!(step.action, Action::DeleteService | Action::DeleteServer(_)) =>
            {
                self.promises.gone(key, &step.action);
                Ok(())
            }
            Err(Errno::Exists) if self.planted(Bug::ExistsIsSuccess) => Ok(()),
            Err(Errno::NoServer) if self.planted(Bug::MissingIsSuccess) => Ok(()),
            result => result.map_err(words),
        }
    }

    fn write(&mut self, key: ServiceKey, action: &Action, known: &Edits) -> Result<(), Errno> {
        let old = self.kernel.services.get(&key).cloned();
        self.promises.before(self.now, &self.kernel, key);
        let result = self.apply(key, action);
        self.say(|| format!("    {key} {action:?}: {result:?}"));
        self.promises.stepped(self.now, &self.kernel, key, action, old.as_ref(), result, known);
        result
    }

    fn apply(&mut self, key: ServiceKey, action: &Action) -> Result<(), Errno> {
        let mut action = action.clone();
        match &mut action {
            Action::DeleteService if self.planted(Bug::Flush) => self.kernel.services.clear(),
            Action::AddService(config) if self.planted(Bug::NoOps) => config.flags = Flags::exactly(0),
            Action::SetServer(server, config) if config.weight == 0 => {
                let server = *server;
                if self.planted(Bug::RuleFirst) {
                    self.kernel.rules.replies.remove(&server.0);
                }
                if self.planted(Bug::DeletedAtOnce) {
                    action = Action::DeleteServer(server);
                }
            }
            _ => {}
        }
        self.kernel.apply(key, &action)
    }

    fn list_services(&mut self) {
        let Some((own, always)) = self.look.take() else { return };
        let services: Vec<(_, FoundService)> =
            self.kernel.services.iter().map(|(key, service)| (*key, service.clone())).collect();
        self.glances += 1;
        let seen = self.glanced.as_ref() != Some(&services) || self.glances >= GLANCES;
        self.glanced = Some(services.clone());
        if !always && (!seen || self.bug == Some(Bug::DriftNotSeen)) {
            return self.answer(Input::Unchanged);
        }
        self.glances = 0;
        self.looking = Some(Looking { own, services, edits: self.promises.edits.clone() });
    }

    fn list_servers(&mut self, looking: Looking) {
        if self.fault() {
            return self.answer(Input::FoundServices(Err("fault".to_owned())));
        }
        let Looking { own, mut services, mut edits } = looking;
        // What changes while it is listed may be skipped or repeated.
        let changed = edits != self.promises.edits;
        if changed && !services.is_empty() && self.random.one_in(3) {
            let place = self.random.below(services.len());
            if self.random.one_in(2) {
                services.remove(place);
            } else {
                services.push(services[place].clone());
            }
            let all = self.promises.ours.iter().chain(self.kernel.services.keys());
            edits.extend(all.map(|key| (*key, u64::MAX)));
        }
        // Of a service whose servers are not listed nothing is known.
        edits.retain(|key, _| own.contains(key));
        let mut found = Vec::new();
        for (key, mut service) in services {
            service.servers_mut().clear();
            if own.contains(&key) {
                match self.kernel.services.get(&key) {
                    Some(now) => service.servers.clone_from(&now.servers),
                    // The kernel lists no servers of a service that is gone.
                    None => {
                        edits.extend(self.promises.edits.get(&key).map(|times| (key, *times)));
                        if !self.planted(Bug::EmptyIsThere) {
                            continue;
                        }
                    }
                }
            }
            found.push((key, service));
        }
        if self.planted(Bug::OldPicture)
            && let Some(old) = &self.old_picture
        {
            found.clone_from(old);
        }
        if self.old_picture.is_none() || self.random.one_in(8) {
            self.old_picture = Some(found.clone());
        }
        self.answers.push_back(Answer { input: Input::FoundServices(Ok(found)), known: Some(edits) });
    }

    pub(super) fn work_rules(&mut self) {
        let Some((rules, known)) = self.rules.pop_front() else { return };
        let fails = self.fault();
        let Some(rules) = rules else {
            let (rules, damage) = (self.kernel.rules.clone(), self.kernel.damaged);
            let damage = damage.then(|| "a chain is gone".to_owned()).into_iter().collect();
            let found = FoundRules { rules: rules.into(), damage };
            return self.answer(Input::FoundRules(if fails { Err("fault".to_owned()) } else { Ok(found) }));
        };
        if fails && self.random.one_in(2) {
            let lied = self.planted(Bug::RulesNotSet);
            return self.answer(Input::RulesDone(if lied {
                Ok(Arc::new(rules))
            } else {
                Err("fault".to_owned())
            }));
        }
        let before = std::mem::replace(&mut self.kernel.rules, rules.clone());
        self.say(|| format!("    rules set, faulty: {fails}"));
        self.kernel.damaged = false;
        if fails {
            self.promises.torn(self.now, &self.kernel, &before);
            self.answer(Input::RulesDone(Err("the answer was lost".to_owned())));
        } else {
            self.promises.ruled(self.now, &self.kernel, &known);
            self.answer(Input::RulesDone(Ok(Arc::new(rules))));
        }
        self.tell_of_rules();
    }

    /// nftables tells of every change.
    pub(super) fn tell_of_rules(&mut self) {
        if self.bug != Some(Bug::TouchNotHeard) {
            self.answer(Input::RulesTouched);
        }
    }

    pub(super) fn look_at_connections(&mut self) {
        if let Some(own) = self.connections.pop_front() {
            let mut entries = self.kernel.connections.clone();
            entries.retain(|(key, _)| own.contains(key));
            let fails = self.fault();
            self.answer(Input::FoundConnections(if fails { Err("fault".to_owned()) } else { Ok(entries) }));
        }
    }
}
