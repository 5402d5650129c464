//! The pure core: all decisions, no I/O and no clock. The daemon only translates.
//!
//! ```text
//! Config, verdicts ──> pool, desired ──> Wanted, Rules ──┐
//!                                                        ├──> plan ──> steps ──> kernel
//! kernel ──> FoundServices, Rules ───────────────────────┘               └──> results ──> found
//! ```
//! `message.rs` has both ends of it. The core keeps its own picture of the kernel: what was found when it last looked, and every step that
//! succeeded since. One batch of steps for a service is under way at a time, and one transaction of rules.

pub mod changes;
pub mod desired;
pub mod difference;
pub mod drift;
pub mod event;
mod evict;
mod exchange;
pub mod history;
mod kept;
pub mod memory;
mod message;
pub mod model;
pub mod overrides;
pub mod plan;
pub mod pool;
pub mod probes;
mod reported;
pub mod retry;
pub mod rules;
mod start;
pub mod status;
mod steps;
pub mod suspend;
pub mod sysctls;
#[cfg(test)]
mod tests;
pub mod traffic;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationKey, ServiceKey};

use drift::{Brake, Thing};
use event::Event;
use evict::{Eviction, Stopping};
use kept::Kept;
use memory::Memory;
use model::{Check, Config, OnStop, Rules, Service, TargetId};
use plan::FoundServices;
use pool::{Pool, Quorum};
use reported::Reported;
use retry::Retries;
use status::LastDrift;

pub use message::{FoundRules, Hook, Input, Output, Turned};

/// A moment: the time since one that the daemon chose. A plain number, so that a history can be written down.
pub type Time = Duration;

/// What is tried again when it fails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Service(ServiceKey),
    Rules,
    Look,
}

/// The core.
#[derive(Default)]
pub struct Core {
    config: Config,
    /// The config to go by as soon as the kernel was read for it, and since when it waits. Until then the other one goes on.
    next: Option<(Config, Time)>,
    /// The VIP of each IPVS service of the config, and the place of its service there.
    index: BTreeMap<ServiceKey, usize>,
    pools: BTreeMap<ServiceKey, Pool>,
    quorums: BTreeMap<ServiceKey, Quorum>,
    /// Of servers that have commands, or of all with a FIFO for verdicts: the state that was told last.
    told: BTreeMap<(ServiceKey, DestinationKey), bool>,
    /// The pools with a server that starts slowly: next to none, and asked for after each input.
    ramping: BTreeSet<ServiceKey>,
    /// What is probed, in the order of address and check. There may be tens of thousands: no map, which takes twice as much.
    targets: Vec<((SocketAddr, Arc<Check>), TargetId)>,
    /// The services of the config that a target's verdict is about, by their places there, in the order of both.
    probed_for: Vec<(TargetId, usize)>,
    next_target: u32,
    /// The VIPs of services that may be suspended which are addresses of this machine.
    here: BTreeSet<IpAddr>,
    /// The kernel's services as far as they are known; none until they were read.
    found: Option<FoundServices>,
    /// The rules in the kernel; none until they were read.
    rules: Option<Arc<Rules>>,
    /// Something but the elements of the rules is to be mended.
    rules_damaged: bool,
    /// A look at the rules is to follow the change that is under way.
    rules_touched: bool,
    sysctls: BTreeMap<String, String>,
    /// So many looks at the sysctls are under way, and so many of these were made before one was set.
    sysctl_looks: (u32, u32),
    /// One was set, and no look has seen yet what became of it.
    sysctls_set: bool,
    /// The last thing before the end: all of them get their old values.
    putting_back: bool,
    memory: Memory,
    /// Services that ipvsd created and the config does not name, and how many looks in a row have not found them.
    unnamed: BTreeMap<ServiceKey, u32>,
    evictions: BTreeMap<ServiceKey, Eviction>,
    /// The end comes when every server is back.
    stopping: Option<Stopping>,
    /// The connection entries could not be read when they were last asked for.
    connections_unread: bool,
    brake: Brake<(ServiceKey, Thing)>,
    /// Says when the rules are changed again and again. It holds no repair: without them replies leave from the servers'
    /// own addresses.
    rules_brake: Brake<()>,
    sysctl_brake: Brake<&'static str>,
    reported: Reported,
    /// The last drift of each service.
    drifted: BTreeMap<ServiceKey, LastDrift>,
    /// When the kernel was read last, and what was read was of use.
    read: Option<Time>,
    /// A look at rules and services is under way.
    looking: bool,
    /// Its second half: there is one look at the services at a time, so that each answer is known for what it is.
    services_asked: bool,
    /// What it finds is no longer what was asked for: another follows.
    look_anew: bool,
    /// The rules could not be read or set since they were read last.
    rules_unread: bool,
    next_look: Time,
    /// When everything was planned last.
    planned: Time,
    /// A wake had nothing to plan, and nothing was heard since.
    settled: bool,
    /// Whether there is a config to go by.
    started: bool,
    busy: BTreeSet<ServiceKey>,
    /// The transaction of rules that is under way.
    rules_asked: Option<Arc<Rules>>,
    /// The one that failed since the rules were read last: it may have been done all the same.
    rules_tried: Option<Arc<Rules>>,
    /// Rules were kept for steps that are under way.
    rules_kept: bool,
    retries: Retries<Subject>,
    /// Servers of which was said that they still answer for another VIP.
    waiting: BTreeMap<ServiceKey, BTreeSet<DestinationKey>>,
    /// What the rules hold for replies that may be on the way.
    kept: Kept,
    /// When a server that nobody wants may be deleted.
    drains: BTreeMap<(ServiceKey, DestinationKey), Time>,
    /// The name and `drain` of services that the config named before.
    former: BTreeMap<ServiceKey, (String, Duration)>,
    leaving: bool,
    finished: bool,
}

/// How long a server that the config never named may still answer.
const DRAIN_OF_STRANGERS: Duration = Duration::from_secs(5);

impl Core {
    /// A core that knows no more than this; its first input is [`Input::Config`].
    pub fn new(memory: Memory) -> Self {
        Self { unnamed: memory.created.iter().map(|key| (*key, 0)).collect(), memory, ..Self::default() }
    }

    /// One input at the time `now`; what is to be done about it, in this order.
    pub fn handle(&mut self, now: Time, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.settled &= match &input {
            Input::Wake | Input::Unchanged => true,
            Input::FoundSysctls(sysctls) => *sysctls == self.sysctls,
            _ => false,
        };
        match input {
            // Nothing new is begun at the end.
            Input::Config(_) if self.leaving || self.stopping.is_some() => {}
            Input::Config(config) => {
                self.next = Some((config, now));
                self.look(&mut out);
            }
            Input::ReloadAsked(by) => out.push(Output::Say(Event::ReloadAsked { by })),
            Input::FoundServices(found) => self.look_ended(now, Some(found), &mut out),
            Input::Unchanged => self.look_ended(now, None, &mut out),
            Input::FoundRules(Ok(found)) => self.found_rules(now, found, &mut out),
            Input::RulesTouched if self.rules_asked.is_some() || !self.started => self.rules_touched = true,
            Input::RulesTouched => out.push(Output::LookAtRules),
            Input::FoundSysctls(sysctls) => self.found_sysctls(now, sysctls, &mut out),
            Input::FoundConnections(Ok(entries)) => self.connections(now, &entries, &mut out),
            Input::FoundConnections(Err(error)) => {
                if !std::mem::replace(&mut self.connections_unread, true) {
                    out.push(Output::Say(Event::Failed { error }));
                }
            }
            Input::FoundRules(Err(error)) => self.no_rules(now, error, &mut out),
            Input::Verdict(verdict) => self.verdict(now, &verdict, &mut out),
            Input::Here(here) => self.here(here, &mut out),
            Input::Override(it) => self.override_weight(now, it, &mut out),
            Input::TakeBack { service, server, by } => self.take_back(now, &service, server, by, &mut out),
            Input::Done(key, steps, failed) => self.done(now, key, &steps, failed, &mut out),
            Input::RulesDone(result) => self.rules_done(now, result, &mut out),
            Input::Wake => {
                let due = !self.settled || self.waits_for_entries() || self.plans_are_due(now);
                self.ramp(now);
                self.expire_overrides(now, &mut out);
                self.look_again(now, &mut out);
                self.out_of_patience(now);
                if due {
                    let before = out.len();
                    self.plan_all(now, &mut out);
                    self.settled = out.len() == before;
                }
                if self.waits_for_entries() {
                    self.look_at_connections(&mut out);
                }
                self.glance(now, &mut out);
            }
            Input::Stop if self.on_stop() == OnStop::Keep && !self.leaving => self.stop(now),
            Input::Stop | Input::Remove => {
                self.leaving = true;
                // What the old config names goes, as what it made did.
                self.next.take_if(|_| self.started);
                self.reported = Reported::default();
                self.brake = Brake::default();
                out.push(Output::Probe(Vec::new()));
                self.evictions.clear();
                self.plan_all(now, &mut out);
            }
        }
        self.look_again(now, &mut out);
        self.stopped(now, &mut out);
        if let Some(time) = self.next_wake(now) {
            out.push(Output::Wake(time));
        }
        out
    }

    /// Whether a config waits for the kernel to be read for it, and the old one goes on.
    pub fn has_next_config(&self) -> bool {
        self.next.is_some()
    }

    /// The config's service behind an IPVS service.
    fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.index.get(key).map(|place| &self.config.services[*place])
    }

    /// Before the first config is gone by, it says nevertheless what an end is.
    fn on_stop(&self) -> OnStop {
        let next = self.next.as_ref().filter(|_| !self.started);
        next.map_or(self.config.on_stop, |(config, _)| config.on_stop)
    }

    /// The services that are ipvsd's own: those that the config names, and those that it created.
    fn own(&self) -> impl Iterator<Item = &ServiceKey> {
        self.index.keys().chain(self.unnamed.keys())
    }

    fn owns(&self, key: &ServiceKey) -> bool {
        self.index.contains_key(key) || self.unnamed.contains_key(key)
    }

    fn name(&self, key: &ServiceKey) -> Option<String> {
        let former = || self.former.get(key).map(|(name, _)| name.clone());
        self.service(key).map(|service| service.name.clone()).or_else(former)
    }

    fn failed(&mut self, now: Time, subject: Subject, error: String, out: &mut Vec<Output>) {
        if self.retries.failed(subject, now, &error) {
            out.push(Output::Say(Event::Failed { error }));
        }
    }

    fn works(&mut self, subject: &Subject, what: &str, out: &mut Vec<Output>) {
        if self.retries.works(subject) {
            out.push(Output::Say(Event::Works { what: what.to_owned() }));
        }
    }

    /// After a failure the kernel is read anew, when nothing is under way: the picture of it may be wrong.
    fn look_again(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.retries.due(now) && self.busy.is_empty() && self.rules_asked.is_none() {
            self.retries.looking();
            self.look(out);
        }
    }

    /// When plans may change although nothing is heard of.
    fn plan_times(&self) -> impl Iterator<Item = Time> {
        let times = self.drains.values().copied().chain(self.kept.times());
        let times = times.chain(self.retries.times()).chain(self.brake.times());
        let times = times.chain(self.override_times());
        times.chain(self.ramping.iter().filter_map(|key| self.pools.get(key)?.next()))
    }

    /// Whether such a time has come since everything was planned. Most wakes are for a look alone: to plan a thousand
    /// services then would cost more than the look.
    fn plans_are_due(&self, now: Time) -> bool {
        self.plan_times().any(|time| self.planned <= time && time <= now)
    }

    fn next_wake(&self, now: Time) -> Option<Time> {
        let times = self.plan_times();
        let look = (self.started && !self.finished).then_some(self.next_look);
        let stop = self.stopping.as_ref().map(|stopping| stopping.until);
        times.chain(look).chain(stop).chain(self.next_entries(now)).filter(|time| *time > now).min()
    }

    fn finish(&mut self, out: &mut Vec<Output>) {
        if !self.leaving || self.put_all_back(out) {
            self.finished(out);
        }
    }

    fn finished(&mut self, out: &mut Vec<Output>) {
        if !std::mem::replace(&mut self.finished, true) {
            self.tell_the_end(out);
            if self.leaving && !std::mem::take(&mut self.memory.created).is_empty() {
                out.push(Output::Remember(self.memory.clone()));
            }
            out.push(Output::Finished { removed: self.leaving });
        }
    }
}
