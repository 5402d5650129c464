//! A config to go by: its pools and probes, a look at the kernel, and what is adopted from there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipvs_netlink::{DestinationKey, ServiceKey};

use super::model::{Config, Target, TargetId};
use super::pool::{Member, Pool, Standing};
use super::{Core, Output, Subject, Time, desired};

impl Core {
    pub(super) fn configure(&mut self, config: Config, out: &mut Vec<Output>) {
        for (key, (_, place)) in &self.index {
            self.drain_of_gone.insert(*key, self.config.services[*place].drain);
        }
        self.config = config;
        self.index = desired::listens(&self.config).map(|(key, vip, place)| (key, (vip, place))).collect();
        self.own.extend(self.index.keys());

        let old = std::mem::take(&mut self.pools);
        let members = old.values().flat_map(|pool| pool.members.values());
        let standings: BTreeMap<TargetId, &Standing> =
            members.filter_map(|member| Some((member.target?, &member.standing))).collect();
        let mut targets = BTreeMap::new();
        self.probed_for.clear();
        for (key, (vip, place)) in &self.index {
            let service = &self.config.services[*place];
            let mut members = BTreeMap::new();
            for server in desired::servers_of(service, *vip) {
                let name = DestinationKey(server.address);
                let target = service.check.as_ref().map(|check| {
                    let probed = (check.target(server.address), check.clone());
                    let known = targets.get(&probed).or_else(|| self.targets.get(&probed)).copied();
                    let id = known.unwrap_or_else(|| {
                        self.next_target += 1;
                        TargetId(self.next_target)
                    });
                    targets.insert(probed, id);
                    self.probed_for.entry(id).or_default().push((*key, name));
                    id
                });
                let standing = target.and_then(|id| standings.get(&id).copied().cloned());
                let standing = standing.unwrap_or(Standing::Unknown { weighted: false });
                members.insert(name, Member { weight: server.weight, target, standing });
            }
            let window = service.check.as_ref().map_or(Duration::ZERO, |check| check.worst_case());
            let mut pool = Pool::new(members, service.when_all_down, window);
            if let Some(old) = old.get(key) {
                pool.inherit(old);
            }
            self.pools.insert(*key, pool);
        }
        self.targets = targets;
        self.started = false;
        self.look(out);
    }

    pub(super) fn look(&mut self, out: &mut Vec<Output>) {
        self.rules = None;
        self.found = None;
        out.push(Output::LookAtRules);
    }

    /// Part of a look came in. The rules come first: they name services of an earlier run that are ours.
    pub(super) fn looked(&mut self, now: Time, out: &mut Vec<Output>) {
        let Some(rules) = &self.rules else { return };
        if self.found.is_none() {
            self.own.extend(rules.requests.iter().map(|vip| ServiceKey::udp(*vip)));
            out.push(Output::LookAtServices(self.own.clone()));
            return;
        }
        self.works(&Subject::Look, "reading the kernel", out);
        if !self.started {
            self.started = true;
            self.adopt();
            out.push(Output::Probe(if self.leaving { Vec::new() } else { self.probes() }));
        }
        self.plan_all(now, out);
    }

    /// Of a weight that is found only zero or not zero counts: the last known verdict.
    fn adopt(&mut self) {
        for (key, pool) in &mut self.pools {
            let Some(service) = self.found.as_ref().and_then(|found| found.get(key)) else { continue };
            for (server, config) in &service.servers {
                pool.found(server, config.weight);
            }
        }
    }

    fn probes(&self) -> Vec<Target> {
        let members = || self.pools.values().flat_map(|pool| pool.members.values());
        let weighted = |member: &&Member| matches!(member.standing, Standing::Unknown { weighted: true });
        let assumed_up: BTreeSet<TargetId> =
            members().filter(weighted).filter_map(|member| member.target).collect();
        let targets = self.targets.iter().map(|((address, check), id)| Target {
            id: *id,
            address: *address,
            check: check.clone(),
            assumed_up: assumed_up.contains(id),
        });
        targets.collect()
    }
}
