//! The core with its kernel, its clock and the tasks between them, each of which works when it is told to: what the
//! core has asked for may be under way while verdicts, looks and configs come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationKey, ServiceKey};

use super::bugs::Bug;
use super::kernel::{Errno, Kernel};
use super::promises::{Edits, Promises};
use super::random::Random;
use super::recorded::Recorded;
use crate::core::event::Event;
use crate::core::evict::EXPIRE;
use crate::core::memory::Memory;
use crate::core::model::{Config, OnStop, Rules};
use crate::core::plan::{Action, FoundService, Step};
use crate::core::{Core, Hook, Input, Output, Time};

pub struct World {
    pub core: Core,
    pub kernel: Kernel,
    pub promises: Promises,
    /// The state file.
    pub disk: Memory,
    pub now: Time,
    pub wake: Option<Time>,
    pub events: Vec<Event>,
    /// What runs.
    pub hooks: Vec<Hook>,
    /// The state that the commands of a server were told last, since the last config.
    pub told: BTreeMap<(ServiceKey, DestinationKey), bool>,
    /// A config that the core has and does not go by yet.
    pub next: Option<Config>,
    /// What was written to IPVS, in short words.
    pub log: Vec<String>,
    /// The daemon has ended; whether all of its own is gone.
    pub finished: Option<bool>,
    pub random: Random,
    /// One call in so many fails; 0 is none.
    pub faults: usize,
    pub bug: Option<Bug>,
    /// Whether it is all printed.
    pub trace: bool,
    /// From the next crash on all is noted.
    pub recorded: Option<Recorded>,
    /// The answers on their way to the core.
    pub(super) answers: VecDeque<Answer>,
    pub(super) batches: VecDeque<Batch>,
    pub(super) look: Option<(BTreeSet<ServiceKey>, bool)>,
    pub(super) looking: Option<Looking>,
    pub(super) rules: VecDeque<(Option<Rules>, Edits)>,
    pub(super) connections: VecDeque<BTreeSet<ServiceKey>>,
    /// What the last glance showed.
    pub(super) glanced: Option<Vec<(ServiceKey, FoundService)>>,
    pub(super) glances: u32,
    /// What an earlier run found.
    pub(super) old_picture: Option<Vec<(ServiceKey, FoundService)>>,
}

/// An answer, and which edits the core knows of when it has it.
pub struct Answer {
    pub input: Input,
    pub known: Option<Edits>,
}

pub struct Batch {
    pub key: ServiceKey,
    pub left: VecDeque<Step>,
    pub done: Vec<(Step, Result<(), String>)>,
    /// The edits that the core knew of when it asked.
    pub known: Edits,
}

/// The services were listed, their servers not yet.
pub struct Looking {
    pub own: BTreeSet<ServiceKey>,
    pub services: Vec<(ServiceKey, FoundService)>,
    pub edits: Edits,
}

impl World {
    pub fn new(kernel: Kernel, seed: u64) -> Self {
        Self {
            core: Core::new(Memory::default()),
            kernel,
            promises: Promises::default(),
            disk: Memory::default(),
            now: Duration::from_secs(100),
            wake: None,
            events: Vec::new(),
            hooks: Vec::new(),
            told: BTreeMap::new(),
            next: None,
            log: Vec::new(),
            finished: None,
            random: Random(seed),
            faults: 0,
            bug: None,
            trace: false,
            recorded: None,
            answers: VecDeque::new(),
            batches: VecDeque::new(),
            look: None,
            looking: None,
            rules: VecDeque::new(),
            connections: VecDeque::new(),
            glanced: None,
            glances: 0,
            old_picture: None,
        }
    }

    /// Gives the core an input; nothing is done yet.
    pub fn hand_over(&mut self, input: Input) {
        self.hand(Answer { input, known: None });
    }

    /// One input for the core; what it asks for is handed to the tasks.
    pub fn hand(&mut self, answer: Answer) {
        // The daemon hands nothing to a core that has finished.
        if self.finished.is_some() {
            return;
        }
        let Answer { mut input, known } = answer;
        if let Some(known) = known {
            self.promises.knows(known);
        }
        match &mut input {
            Input::Config(_) if self.promises.leaving || self.promises.ending => {}
            Input::Config(config) => self.next = Some(config.clone()),
            Input::Remove => self.promises.leaving = true,
            Input::Stop => {
                let next = self.next.as_ref().filter(|_| !self.core.started);
                let on_stop = next.map_or(self.promises.on_stop, |next| next.on_stop);
                self.promises.leaving |= on_stop == OnStop::Remove;
                self.promises.ending = true;
            }
            Input::Here(here) => self.promises.here.clone_from(here),
            Input::Override(it) => self.promises.overridden(it),
            Input::Verdict(verdict) => {
                self.promises.told.insert(verdict.target, (verdict.up, verdict.factor));
                if self.planted(Bug::VerdictTurned) {
                    verdict.up = !verdict.up;
                }
            }
            Input::FoundServices(Ok(found)) => {
                self.promises.looked(&found.iter().map(|(key, _)| *key).collect());
            }
            Input::Done(key, steps, failed)
                if failed.keys().any(|place| matches!(steps[*place].action, Action::AddService(_))) =>
            {
                self.promises.created.remove(key);
            }
            Input::FoundRules(Ok(found)) => self.promises.known_rules = Some(Rules::clone(&found.rules)),
            Input::RulesDone(Ok(rules)) => self.promises.known_rules = Some(rules.as_ref().clone()),
            _ => {}
        }
        self.say(|| format!("> {input:?}"));
        let looked = matches!(input, Input::FoundServices(Ok(_)) | Input::Unchanged);
        let outputs = match &mut self.recorded {
            Some(recorded) => recorded.handle(&mut self.core, self.now, input),
            None => self.core.handle(self.now, input),
        };
        for output in outputs {
            self.say(|| format!("  < {output:?}"));
            if let (Output::Probe(_), true) = (&output, looked)
                && let Some(config) = self.next.take()
            {
                self.told.clear();
                self.promises.configured(self.now, &self.kernel, &config);
            }
            self.carry_out(output);
        }
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:?} {}", self.now, what());
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::LookAtServices(own) => self.look = Some((own, true)),
            Output::GlanceAtServices(own) => {
                let always = self.look.take().is_some_and(|(_, always)| always);
                self.look = Some((own, always));
            }
            Output::LookAtSysctls => self.answer(Input::FoundSysctls(self.kernel.sysctls.clone())),
            Output::LookAtConnections(own) => self.connections.push_back(own),
            Output::Tell(_) => {}
            Output::Run(hook) => {
                if let Some(server) = hook.server {
                    let before = self.told.insert((hook.key, server), hook.up);
                    self.promises.must(before != Some(hook.up), || {
                        format!("{server} is told twice that it is {}", hook.up)
                    });
                }
                self.hooks.push(hook);
            }
            Output::LookAtRules => self.rules.push_back((None, Edits::new())),
            Output::DoRules(rules) => {
                let ours = rules.replies.values().chain(&rules.requests);
                let foreign =
                    ours.clone().find(|vip| self.promises.foreign.contains_key(&ServiceKey::udp(**vip)));
                let foreign = foreign.copied();
                self.promises.must(foreign.is_none(), || format!("rules for {foreign:?}, which is foreign"));
                self.rules.push_back((Some(Arc::unwrap_or_clone(rules)), self.promises.known.clone()));
            }
            Output::Do(key, steps) => self.batch(key, steps.to_vec()),
            Output::SetSysctl { key, value, .. } => self.set_sysctl(key, value),
            Output::Remember(_) if self.planted(Bug::NothingRemembered) => {}
            Output::Remember(memory) => self.remember(memory),
            Output::Probe(targets) => {
                self.promises.probes(targets);
            }
            Output::Wake(time) => self.wake = Some(time),
            Output::Say(event) => {
                if let Event::Done { key, step, .. } = &event {
                    self.promises.said(*key, &step.action);
                }
                if let Event::TakenBack { it, .. } = &event {
                    self.promises.taken_back(it);
                }
                self.events.push(event);
            }
            Output::Finished { removed } => {
                let late = |event: &Event| matches!(event, Event::Failed { error } if error.contains("the end comes before"));
                if removed {
                    self.promises.removed(&self.kernel);
                } else if !self.events.iter().any(late) {
                    self.promises.kept(&self.kernel);
                    let left = self.disk.sysctls.contains_key(EXPIRE) && !self.promises.sysctls_by_hand;
                    self.promises.must(!left, || format!("{EXPIRE} is not put back at the end"));
                }
                self.finished = Some(removed);
            }
        }
    }

    pub(super) fn answer(&mut self, input: Input) {
        self.answers.push_back(Answer { input, known: None });
    }

    fn batch(&mut self, key: ServiceKey, mut steps: Vec<Step>) {
        self.promises.asked(&self.kernel, key, &steps);
        if self.planted(Bug::LastStepFirst) {
            steps.reverse();
        }
        if self.planted(Bug::StepTwice)
            && let Some(step) = steps.first().cloned()
        {
            steps.insert(0, step);
        }
        let mut known = self.promises.known.clone();
        if self.promises.blind(&key, &known) {
            known.insert(key, u64::MAX);
        }
        self.batches.push_back(Batch { key, left: steps.into(), done: Vec::new(), known });
    }

    fn remember(&mut self, memory: Memory) {
        let lost = |(key, value): &(&String, &String)| {
            !memory.sysctls.contains_key(*key) && self.kernel.sysctls.get(*key) != Some(value)
        };
        let lost = self.disk.sysctls.iter().find(lost).filter(|_| !self.promises.sysctls_by_hand);
        let what = lost.map(|(key, _)| format!("{key} is forgotten and not put back"));
        self.promises.must(what.is_none(), || what.unwrap_or_default());
        self.disk = memory;
    }

    fn set_sysctl(&mut self, key: String, value: String) {
        let remembered = self.disk.sysctls.contains_key(&key);
        self.promises.must(remembered, || format!("{key} is set before it is remembered"));
        if !self.fault() && self.bug != Some(Bug::SysctlNotSet) {
            self.kernel.sysctls.insert(key, value);
        }
    }

    pub(super) fn fault(&mut self) -> bool {
        self.faults > 0 && self.random.one_in(self.faults)
    }

    /// Whether this bug is planted, and this time it shows.
    pub(super) fn planted(&mut self, bug: Bug) -> bool {
        self.bug == Some(bug) && self.random.one_in(2)
    }

    /// The daemon dies; what was under way is lost. Its state file may be, too.
    pub fn crash(&mut self, file_lost: bool) {
        if file_lost {
            self.disk = Memory::default();
        }
        self.next = None;
        self.told.clear();
        self.answers.clear();
        self.batches.clear();
        self.look = None;
        self.looking = None;
        self.rules.clear();
        self.connections.clear();
        self.glanced = None;
        self.wake = None;
        self.finished = None;
        self.promises.overrides = self.disk.overrides.clone();
        self.promises.crashed(&self.kernel, &self.disk.created);
        self.core = Core::new(self.disk.clone());
        if let Some(recorded) = &mut self.recorded {
            recorded.start(self.disk.clone(), self.now);
        }
    }
}

pub fn word(action: &Action) -> String {
    match action {
        Action::AddService(_) => "+service".to_owned(),
        Action::SetService(_) => "~service".to_owned(),
        Action::DeleteService => "-service".to_owned(),
        Action::AddServer(server, config) => format!("+{server}={}", config.weight),
        Action::SetServer(server, config) => format!("{server}={}", config.weight),
        Action::DeleteServer(server) => format!("-{server}"),
    }
}

pub fn words(error: Errno) -> String {
    match error {
        Errno::Exists => "exists",
        Errno::NoService => "no such service",
        Errno::NoServer => "no such destination",
    }
    .to_owned()
}

/// For the reader of a failed history.
pub fn table(kernel: &Kernel) -> BTreeMap<String, Vec<String>> {
    let servers = |service: &FoundService| {
        service.servers.iter().map(|(server, config)| format!("{server}={}", config.weight)).collect()
    };
    kernel.services.iter().map(|(key, service)| (key.to_string(), servers(service))).collect()
}
