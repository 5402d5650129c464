//! The pure core: all decisions, no I/O and no clock. The daemon only translates.
//!
//! ```text
//! Config, verdicts ──> pool, desired ──> Wanted, Rules ──┐
//!                                                        ├──> plan ──> steps ──> kernel
//! kernel ──> FoundServices, Rules ───────────────────────┘               └──> results ──> found
//! ```
//! The core keeps its own picture of the kernel: what was found when it last looked, and every step that
//! succeeded since. One batch of steps for a service is under way at a time, and one transaction of rules.

pub mod desired;
pub mod event;
pub mod model;
pub mod plan;
pub mod pool;
pub mod retry;
pub mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationConfig, DestinationKey, ServiceKey};
use serde::{Deserialize, Serialize};

use event::{Before, Event};
use model::{Check, Config, OnStop, Rules, Service, Target, TargetId, Verdict};
use plan::{Action, Circumstances, FoundService, FoundServices, Step, Wanted};
use pool::{Member, Pool, Standing, Turn};
use retry::Retries;

/// A moment: the time since one that the daemon chose. A plain number, so that a history can be written down.
pub type Time = Duration;

/// What the core is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A config to go by from now on: at start, and after a reload.
    Config(Config),
    /// The services that the kernel holds; those of others without servers. Or why it could not be read.
    FoundServices(Result<Vec<(ServiceKey, FoundService)>, String>),
    /// What the rules hold, or why they could not be read. Rules that are damaged count as not there.
    FoundRules(Result<Rules, String>),
    /// A verdict changed.
    Verdict(Verdict),
    /// A batch of steps was done, each with its own result.
    Done(ServiceKey, Vec<(Step, Result<(), String>)>),
    /// The rules are now these, or why they are not.
    RulesDone(Result<Rules, String>),
    /// The time that [`Output::Wake`] asked for has come.
    Wake,
    /// The daemon is to end.
    Stop,
    /// All that is ipvsd's own is to go; then [`Output::Finished`].
    Remove,
}

/// What the core asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Output {
    /// Read all services, and the servers of these; answered by [`Input::FoundServices`].
    LookAtServices(BTreeSet<ServiceKey>),
    /// Read the rules; answered by [`Input::FoundRules`].
    LookAtRules,
    /// Probe these and nothing else.
    Probe(Vec<Target>),
    /// Do these steps for one service in this order; answered by [`Input::Done`].
    Do(ServiceKey, Vec<Step>),
    /// Make the rules hold exactly this; answered by [`Input::RulesDone`].
    DoRules(Rules),
    /// Give [`Input::Wake`] at this time. A later one replaces it.
    Wake(Time),
    /// Something to log.
    Say(Event),
    /// Nothing is left to do; the daemon may end.
    Finished,
}

/// What is tried again when it fails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Service(ServiceKey),
    Rules,
    Look,
}

/// The core.
pub struct Core {
    config: Config,
    /// The VIP of each IPVS service of the config, and the place of its service there.
    index: BTreeMap<ServiceKey, (SocketAddr, usize)>,
    /// Services that are ipvsd's own: the config's, and those that it had before.
    own: BTreeSet<ServiceKey>,
    pools: BTreeMap<ServiceKey, Pool>,
    targets: BTreeMap<(SocketAddr, Arc<Check>), TargetId>,
    /// The servers that a target's verdict is about.
    probed_for: BTreeMap<TargetId, Vec<(ServiceKey, DestinationKey)>>,
    next_target: u32,
    /// The kernel's services as far as they are known; none until they were read for this config.
    found: Option<FoundServices>,
    /// The rules in the kernel; none until they were read.
    rules: Option<Rules>,
    /// Whether the first look for this config is over.
    started: bool,
    busy: BTreeSet<ServiceKey>,
    rules_busy: bool,
    retries: Retries<Subject>,
    /// When a server that nobody wants may be deleted.
    drains: BTreeMap<(ServiceKey, DestinationKey), Time>,
    drain_of_gone: BTreeMap<ServiceKey, Duration>,
    leaving: bool,
    finished: bool,
}

/// How long a server that the config never named may still answer.
const DRAIN_OF_STRANGERS: Duration = Duration::from_secs(5);

impl Default for Core {
    fn default() -> Self {
        Self::new()
    }
}

impl Core {
    /// A core that knows nothing; its first input is [`Input::Config`].
    pub fn new() -> Self {
        Self {
            config: Config::default(),
            index: BTreeMap::new(),
            own: BTreeSet::new(),
            pools: BTreeMap::new(),
            targets: BTreeMap::new(),
            probed_for: BTreeMap::new(),
            next_target: 0,
            found: None,
            rules: None,
            started: false,
            busy: BTreeSet::new(),
            rules_busy: false,
            retries: Retries::default(),
            drains: BTreeMap::new(),
            drain_of_gone: BTreeMap::new(),
            leaving: false,
            finished: false,
        }
    }

    /// One input at the time `now`; what is to be done about it, in this order.
    pub fn handle(&mut self, now: Time, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Config(config) => self.configure(config, &mut out),
            Input::FoundServices(Ok(services)) => {
                self.found = Some(services.into_iter().collect());
                self.looked(now, &mut out);
            }
            Input::FoundRules(Ok(rules)) => {
                self.rules = Some(rules);
                self.looked(now, &mut out);
            }
            Input::FoundServices(Err(error)) | Input::FoundRules(Err(error)) => {
                self.failed(now, Subject::Look, error, &mut out);
            }
            Input::Verdict(verdict) => self.verdict(now, &verdict, &mut out),
            Input::Done(key, results) => self.done(now, key, results, &mut out),
            Input::RulesDone(result) => {
                self.rules_busy = false;
                match result {
                    Ok(rules) => {
                        self.works(&Subject::Rules, "the reply rules", &mut out);
                        let (requests, replies) = (rules.requests.len(), rules.replies.len());
                        out.push(Output::Say(Event::Rules { requests, replies }));
                        self.rules = Some(rules);
                    }
                    Err(error) => self.failed(now, Subject::Rules, error, &mut out),
                }
                self.plan_all(now, &mut out);
            }
            Input::Wake => self.wake(now, &mut out),
            Input::Stop if self.config.on_stop == OnStop::Keep => self.finish(&mut out),
            Input::Stop | Input::Remove => {
                self.leaving = true;
                out.push(Output::Probe(Vec::new()));
                self.plan_all(now, &mut out);
            }
        }
        if let Some(time) = self.next_wake(now) {
            out.push(Output::Wake(time));
        }
        out
    }

    fn configure(&mut self, config: Config, out: &mut Vec<Output>) {
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

    /// The config's service behind an IPVS service, and its VIP.
    fn service(&self, key: &ServiceKey) -> Option<(&Service, SocketAddr)> {
        self.index.get(key).map(|(vip, place)| (&self.config.services[*place], *vip))
    }

    fn name(&self, key: &ServiceKey) -> Option<String> {
        self.service(key).map(|(service, _)| service.name.clone())
    }

    fn look(&mut self, out: &mut Vec<Output>) {
        self.rules = None;
        self.found = None;
        out.push(Output::LookAtRules);
    }

    /// Part of a look came in. The rules come first: they name services of an earlier run that are ours.
    fn looked(&mut self, now: Time, out: &mut Vec<Output>) {
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

    fn verdict(&mut self, now: Time, verdict: &Verdict, out: &mut Vec<Output>) {
        for (key, server) in self.probed_for.get(&verdict.target).cloned().unwrap_or_default() {
            let Some(service) = self.name(&key) else { continue };
            let Some(pool) = self.pools.get_mut(&key) else { continue };
            let turn = pool.verdict(now, &server, verdict.up, &verdict.reason);
            let due = pool.due(&server).and_then(|due| due.weight);
            let has = self.found.as_ref().and_then(|found| found.get(&key)?.servers.get(&server));
            if has.map(|config| config.weight) == due {
                let (service, reason) = (service.clone(), verdict.reason.clone());
                out.push(Output::Say(Event::Verdict { service, key, server, up: verdict.up, reason }));
            }
            match turn {
                Some(Turn::AllDown(kept)) => out.push(Output::Say(Event::AllDown { service, key, kept })),
                Some(Turn::Recovered) => out.push(Output::Say(Event::Recovered { service, key })),
                None => {}
            }
            self.retries.hurry(&Subject::Service(key));
            self.plan(now, key, out);
        }
    }

    fn done(
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
            match result {
                Ok(()) => {
                    let before = self.picture(key, &step.action);
                    frees_rules |= matches!(
                        step.action,
                        Action::SetService(_) | Action::DeleteService | Action::DeleteServer(_)
                    );
                    out.push(Output::Say(Event::Done { service: name.clone(), key, step, before }));
                }
                Err(error) => errors.push(error),
            }
        }
        match errors.into_iter().next() {
            Some(error) => self.failed(now, Subject::Service(key), error, out),
            None => self.works(&Subject::Service(key), &key.to_string(), out),
        }
        self.plan(now, key, out);
        if frees_rules {
            self.plan_rules(now, out);
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

    fn wanted(&self, key: &ServiceKey) -> Option<Wanted> {
        let (service, vip) = self.service(key).filter(|_| !self.leaving)?;
        Some(desired::wanted(service, vip, self.pools.get(key)?))
    }

    fn plan_all(&mut self, now: Time, out: &mut Vec<Output>) {
        self.plan_rules(now, out);
        for key in self.own.clone() {
            self.plan(now, key, out);
        }
    }

    fn plan_rules(&mut self, now: Time, out: &mut Vec<Output>) {
        let (Some(found), Some(held)) = (&self.found, &self.rules) else { return };
        if self.started && !self.rules_busy && !self.retries.waits(&Subject::Rules, now) {
            let rules = {
                let wanted = self.index.keys().filter_map(|key| Some((*key, self.wanted(key)?))).collect();
                desired::rules(self.own.iter(), &wanted, found, held)
            };
            if rules != *held {
                self.rules_busy = true;
                out.push(Output::DoRules(rules));
            } else if self.leaving && self.own.iter().all(|key| !found.contains_key(key)) {
                self.finish(out);
            }
        }
    }

    fn plan(&mut self, now: Time, key: ServiceKey, out: &mut Vec<Output>) {
        let (Some(found), Some(rules)) = (&self.found, &self.rules) else { return };
        if !self.started || self.busy.contains(&key) || self.retries.waits(&Subject::Service(key), now) {
            return;
        }
        let wanted = self.wanted(&key);
        let drain = self.service(&key).map(|(service, _)| service.drain);
        let drain = drain.or(self.drain_of_gone.get(&key).copied()).unwrap_or(DRAIN_OF_STRANGERS);
        let found = found.get(&key);

        let stranger = |server: &DestinationKey| {
            wanted.as_ref().is_none_or(|wanted| !wanted.servers.contains_key(server))
        };
        self.drains.retain(|(service, server), _| *service != key || stranger(server));
        for (server, config) in found.iter().flat_map(|service| &service.servers) {
            if config.weight == 0 && stranger(server) {
                self.drains.entry((key, *server)).or_insert(now + drain);
            }
        }
        let drained =
            |server: &DestinationKey| self.drains.get(&(key, *server)).is_some_and(|time| *time <= now);
        let unwanted = if self.leaving { "all of ipvsd's own is removed" } else { "not in the config" };
        let steps = plan::plan(wanted.as_ref(), found, &Circumstances { rules, drained, unwanted });
        if !steps.is_empty() {
            self.busy.insert(key);
            out.push(Output::Do(key, steps));
        }
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

    /// After a failure the kernel is read anew: the picture of it may be wrong.
    fn wake(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.retries.due(now) && self.busy.is_empty() && !self.rules_busy {
            self.retries.asked();
            self.look(out);
        } else {
            self.plan_all(now, out);
        }
    }

    fn next_wake(&self, now: Time) -> Option<Time> {
        let drains = self.drains.values().copied().filter(|time| *time > now);
        drains.chain(self.retries.next()).min()
    }

    fn finish(&mut self, out: &mut Vec<Output>) {
        if !self.finished {
            self.finished = true;
            out.push(Output::Finished);
        }
    }
}
