//! Drift as it is found at a look: repaired, left alone by the brake, or only reported.

use std::collections::BTreeSet;

use ipvs_netlink::{DestinationConfig, DestinationKey, Flags, ServiceKey};

use super::drift::{Drift, Ruling, Thing, drifts};
use super::event::Event;
use super::model;
use super::model::Vip;
use super::plan::{FoundService, FoundServices, Wanted, same_service};
use super::status::LastDrift;
use super::{Core, Output, Subject, Time};

/// Drift that is reported and not repaired: no step is made for it.
#[derive(Debug, Default)]
pub struct Reported(BTreeSet<(ServiceKey, Thing)>);

impl Reported {
    /// Whether `thing` is left as somebody made it.
    pub fn leaves(&self, key: &ServiceKey, thing: Thing) -> bool {
        self.0.contains(&(*key, thing))
    }

    /// What is left so.
    fn iter(&self) -> impl Iterator<Item = &(ServiceKey, Thing)> {
        self.0.iter()
    }

    /// A verdict changes what is wanted of a server: that is no repair.
    pub fn release(&mut self, key: &ServiceKey, server: DestinationKey) {
        self.0.remove(&(*key, Thing::Server(server)));
    }

    /// What is as it is wanted has not drifted any more.
    pub fn forget(&mut self, key: &ServiceKey, wanted: Option<&Wanted>, found: Option<&FoundService>) {
        self.0.retain(|(of, thing)| of != key || !as_wanted(*thing, wanted, found));
    }
}

fn has(service: Option<&FoundService>, thing: Thing) -> bool {
    service.is_some_and(|service| match thing {
        Thing::Service => true,
        Thing::Server(server) => service.servers.contains_key(&server),
    })
}

/// Whether a thing is in the kernel as it is wanted, or neither wanted nor there.
pub fn as_wanted(thing: Thing, wanted: Option<&Wanted>, found: Option<&FoundService>) -> bool {
    let Thing::Server(server) = thing else {
        return match (wanted, found) {
            (Some(wanted), Some(found)) => same_service(&found.config, &wanted.config),
            (wanted, found) => wanted.is_none() && found.is_none(),
        };
    };
    let wanted = wanted.and_then(|wanted| wanted.servers.get(&server));
    match (wanted, found.and_then(|found| found.servers.get(&server))) {
        (Some(wanted), Some(found)) => {
            let weight = wanted.due.weight.unwrap_or(found.weight);
            *found == DestinationConfig { weight, ..wanted.config }
        }
        (wanted, found) => wanted.is_none() && found.is_none(),
    }
}

impl Core {
    /// What somebody else changed and ipvsd leaves so, in words.
    pub(super) fn left(&self) -> Option<String> {
        let mut left = self.reported.iter();
        let (key, thing) = left.next()?;
        let what = match thing {
            Thing::Service => format!("{key}"),
            Thing::Server(server) => format!("{} of {key}", server.0),
        };
        let more = match left.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        Some(format!("somebody else changed {what}{more}, and the config says that this is only reported"))
    }

    /// Compares what is found with what was last made.
    pub(super) fn judge_drift(&mut self, now: Time, services: &FoundServices, out: &mut Vec<Output>) {
        let Some(made) = &self.found else { return };
        let mut lost_ops = false;
        for key in self.index.keys().chain(self.unnamed.keys()) {
            let service = self.index.get(key).map(|place| &self.config.services[*place]);
            let lost = |found: &FoundService| !found.config.flags.contains(Flags::ONE_PACKET);
            lost_ops |= service.is_some_and(|service| service.ops_at(Vip(*key)))
                && services.get(key).is_some_and(lost);
            // What failed may have been done in part: that is no drift.
            if self.retries.fails(&Subject::Service(*key)) || self.out_of(key).is_some() {
                continue;
            }
            let report_only =
                service.is_some_and(|service| service.drift == model::Drift::Report) && !self.leaving;
            // What nobody wants and somebody has taken need not be repaired.
            let spared = service.is_none() && !services.contains_key(key);
            for Drift { thing, what } in drifts(made.get(key), services.get(key)) {
                let ruling = if spared {
                    None
                } else if report_only {
                    // What was taken and is there again is as it is wanted from now on.
                    let returned = self.reported.leaves(key, thing) && !has(made.get(key), thing);
                    if returned {
                        self.reported.0.remove(&(*key, thing));
                    } else {
                        self.reported.0.insert((*key, thing));
                    }
                    None
                } else {
                    match self.brake.drifted((*key, thing), now) {
                        Ruling::Held => continue,
                        ruling => Some(ruling),
                    }
                };
                let service = service.map(|service| service.name.clone());
                let repaired = matches!(ruling, Some(Ruling::Repair));
                self.drifted.insert(*key, LastDrift { at: now, thing, what: what.clone(), repaired });
                out.push(Output::Say(Event::Drift { service, key: *key, thing, what, ruling }));
            }
        }
        if lost_ops {
            self.look_at_connections(out);
        }
    }
}
