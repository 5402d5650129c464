//! Drift: what the kernel holds and ipvsd did not make. Found by comparing two pictures of one service.

use std::collections::BTreeMap;

use ipvs_netlink::{DestinationConfig, DestinationKey};
use serde::{Deserialize, Serialize};

use super::Time;
use super::difference::of_server;
use super::plan::{FoundService, service_difference};

/// What has drifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Thing {
    /// The service itself.
    Service,
    /// One of its servers.
    Server(DestinationKey),
}

/// One difference, in words: `weight 1 → 5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// What has drifted.
    pub thing: Thing,
    /// How.
    pub what: String,
}

/// What is different now from what ipvsd last made; none stands for no service.
pub fn drifts(made: Option<&FoundService>, now: Option<&FoundService>) -> Vec<Drift> {
    let service = |what: &str| vec![Drift { thing: Thing::Service, what: what.to_owned() }];
    let (made, now) = match (made, now) {
        (None, None) => return Vec::new(),
        (Some(_), None) => return service("the service is gone"),
        (None, Some(_)) => return service("the service was added"),
        (Some(made), Some(now)) => (made, now),
    };
    let mut drifts = Vec::new();
    // Words are made only where there is something to say: this runs over every service at each look. A service that
    // ipvsd has just made still differs here, by the kernel's own flag, of which there is nothing to say.
    if made.config != now.config {
        let what = service_difference(&made.config, &now.config);
        if !what.is_empty() {
            drifts.push(Drift { thing: Thing::Service, what });
        }
    }
    for (key, config) in &*made.servers {
        let what = match now.servers.get(key) {
            None => "the server is gone".to_owned(),
            Some(now) if now == config => continue,
            Some(now) => server_difference(config, now),
        };
        drifts.push(Drift { thing: Thing::Server(*key), what });
    }
    for key in now.servers.keys().filter(|key| !made.servers.contains_key(key)) {
        drifts.push(Drift { thing: Thing::Server(*key), what: "the server was added".to_owned() });
    }
    drifts
}

fn server_difference(made: &DestinationConfig, now: &DestinationConfig) -> String {
    let mut parts: Vec<String> = of_server(Some(made), now).iter().map(ToString::to_string).collect();
    if made.weight != 0 && now.weight == 0 {
        parts.push("to take a server out by hand use `ipvsd drain`".to_owned());
    }
    parts.join(", ")
}

/// The brake on repairs: what drifts again and again is managed by another program, and a fight helps nobody.
#[derive(Debug)]
pub struct Brake<K> {
    drifts: BTreeMap<K, Record>,
}

#[derive(Debug)]
struct Record {
    /// The drifts within the last [`WINDOW`], at most [`REPAIRS`] and one.
    times: Vec<Time>,
    wait: Time,
    until: Option<Time>,
}

const WINDOW: Time = Time::from_secs(60);
const REPAIRS: usize = 3;
const LONGEST_WAIT: Time = Time::from_secs(15 * 60);

impl<K> Default for Brake<K> {
    fn default() -> Self {
        Self { drifts: BTreeMap::new() }
    }
}

/// What the brake says to one more drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ruling {
    /// Repair it.
    Repair,
    /// It is the fourth within a minute: leave it for a while.
    BackOff(Time),
    /// It is left alone already.
    Held,
}

impl<K: Ord> Brake<K> {
    /// One more drift of `key`.
    pub fn drifted(&mut self, key: K, now: Time) -> Ruling {
        let record = self.drifts.entry(key).or_insert_with(|| Record {
            times: Vec::new(),
            wait: WINDOW / 2,
            until: None,
        });
        if record.until.is_some_and(|until| until > now) {
            return Ruling::Held;
        }
        if record.until.is_some_and(|until| until + record.wait < now) {
            *record = Record { times: Vec::new(), wait: WINDOW / 2, until: None };
        }
        record.times.retain(|time| *time + WINDOW > now);
        record.times.push(now);
        if record.times.len() <= REPAIRS && record.until.is_none() {
            return Ruling::Repair;
        }
        record.wait = (record.wait * 2).min(LONGEST_WAIT);
        record.until = Some(now + record.wait);
        record.times.clear();
        Ruling::BackOff(record.wait)
    }

    /// Whether `key` is left alone for now.
    pub fn holds(&self, key: &K, now: Time) -> bool {
        self.drifts.get(key).is_some_and(|record| record.until.is_some_and(|until| until > now))
    }

    /// `key` is to be changed for a reason of ours: that is no repair.
    pub fn release(&mut self, key: &K) {
        self.drifts.remove(key);
    }

    /// When things that are left alone are looked at again.
    pub fn times(&self) -> impl Iterator<Item = Time> {
        self.drifts.values().filter_map(|record| record.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_drift_in_a_minute_is_left_alone_and_tried_again_later() {
        let mut brake = Brake::default();
        let at = |seconds| Time::from_secs(seconds);
        for second in 0..3 {
            assert_eq!(brake.drifted("weight", at(second)), Ruling::Repair);
        }
        assert_eq!(brake.drifted("weight", at(4)), Ruling::BackOff(WINDOW));
        assert_eq!(brake.drifted("weight", at(5)), Ruling::Held);
        assert!(brake.holds(&"weight", at(63)) && !brake.holds(&"weight", at(64)));
        assert_eq!(brake.drifted("weight", at(70)), Ruling::BackOff(2 * WINDOW), "it goes on");
        assert_eq!(brake.drifted("weight", at(1000)), Ruling::Repair, "after long peace");
        assert_eq!(brake.drifted("another", at(70)), Ruling::Repair);
        brake.release(&"weight");
        assert_eq!(brake.drifted("weight", at(71)), Ruling::Repair);
    }

    #[test]
    fn drifts_far_apart_are_repaired_for_ever() {
        let mut brake = Brake::default();
        for minute in 0..100 {
            assert_eq!(brake.drifted((), Time::from_secs(minute * 61)), Ruling::Repair);
        }
    }
}
