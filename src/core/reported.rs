//! Drift as it is found at a look: repaired, left alone by the brake, or only reported.

use std::collections::BTreeMap;

use ipvs_netlink::{Flags, ServiceKey};

use super::drift::{Drift, Ruling, Thing, drifts};
use super::event::Event;
use super::model;
use super::plan::{FoundService, FoundServices};
use super::{Core, Output, Subject, Time};

/// Drift that is reported and not repaired.
#[derive(Debug, Default)]
pub struct Reported(BTreeMap<(ServiceKey, Thing), Left>);

/// How it was left.
#[derive(Debug)]
struct Left {
    /// As it was last said.
    what: String,
    /// Somebody has taken it, or made it before ipvsd did.
    out_of_reach: bool,
}

impl Reported {
    /// Whether no step for `thing` can succeed: somebody has taken it or its service, or made it, and that is left so.
    pub fn out_of_reach(&self, key: &ServiceKey, thing: Thing) -> bool {
        let out_of_reach = |thing| self.0.get(&(*key, thing)).is_some_and(|left| left.out_of_reach);
        out_of_reach(thing) || out_of_reach(Thing::Service)
    }
}

impl Core {
    /// Compares what is found with what was last made. Where drift is only reported, the picture stays as it was.
    pub(super) fn judge_drift(&mut self, now: Time, services: &mut FoundServices, out: &mut Vec<Output>) {
        let Some(made) = &self.found else { return };
        let mut reported = BTreeMap::new();
        let mut lost_ops = false;
        for key in &self.memory.own {
            let service = self.index.get(key).map(|(_, place)| &self.config.services[*place]);
            let lost = |found: &FoundService| !found.config.flags.contains(Flags::ONE_PACKET);
            lost_ops |= service.is_some_and(|service| service.ops) && services.get(key).is_some_and(lost);
            let report_only =
                service.is_some_and(|service| service.drift == model::Drift::Report) && !self.leaving;
            // What failed may have been done in part: that is no drift.
            let ours = self.retries.fails(&Subject::Service(*key)) || self.out_of(key).is_some();
            if ours && !report_only {
                continue;
            }
            for Drift { thing, what } in drifts(made.get(key), services.get(key)) {
                let before = self.reported.0.get(&(*key, thing));
                let ruling = if report_only {
                    if ours && before.is_none() {
                        continue;
                    }
                    let news = before.is_none_or(|left| left.what != what);
                    let out_of_reach = leave(services, made, *key, thing);
                    reported.insert((*key, thing), Left { what: what.clone(), out_of_reach });
                    if !news {
                        continue;
                    }
                    None
                } else {
                    match self.brake.drifted((*key, thing), now) {
                        Ruling::Held => continue,
                        ruling => Some(ruling),
                    }
                };
                let service = service.map(|service| service.name.clone());
                out.push(Output::Say(Event::Drift { service, key: *key, thing, what, ruling }));
            }
        }
        self.reported = Reported(reported);
        if lost_ops {
            self.look_at_connections(out);
        }
    }
}

/// Makes the picture of one thing what it was before it drifted. Whether one of the two does not have it at all.
fn leave(services: &mut FoundServices, made: &FoundServices, key: ServiceKey, thing: Thing) -> bool {
    let before = made.get(&key);
    let (Some(before), Thing::Server(server)) = (before, thing) else {
        let there = services.contains_key(&key);
        match (before, services.get_mut(&key)) {
            (Some(before), Some(now)) => now.config = before.config.clone(),
            (Some(before), None) => drop(services.insert(key, before.clone())),
            (None, _) => drop(services.remove(&key)),
        }
        return there != before.is_some();
    };
    let Some(now) = services.get_mut(&key) else { return true };
    let found = match before.servers.get(&server) {
        Some(config) => now.servers.insert(server, *config),
        None => now.servers.remove(&server),
    };
    found.is_some() != before.servers.contains_key(&server)
}
