//! The core and the tasks around it: hands inputs to the core and carries out what it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ipvs_netlink::ServiceKey;
use ipvs_netlink::tokio::Client;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::fifo::Fifo;
use super::hints::Listener;
use super::hooks::Hooks;
use super::log;
use super::prepare::Refusal;
use super::progress::Progress;
use super::recorder::Recorder;
use super::remember::Remembered;
use super::suspend::Suspend;
use crate::admin;
use crate::core::model::{Verdict, Vip};
use crate::core::probes::Probes;
use crate::core::status::Status;
use crate::core::traffic::Counters;
use crate::core::{Core, Input, Output, Time, sysctls};
use crate::health::{self, Checker};
use crate::kernel::{connections, counters, ipvs, rules, sysctl, timeouts, touched};
use crate::metrics::{Happened, Reloads};
use crate::nft::Nft;

/// The core and the tasks around it.
pub struct Tasks {
    core: Core,
    recorder: Recorder,
    remembered: Remembered,
    clock: Clock,
    to_core: UnboundedSender<Input>,
    inputs: UnboundedReceiver<Input>,
    ipvs: UnboundedSender<ipvs::Work>,
    rules: UnboundedSender<rules::Work>,
    /// What they were asked and have not answered.
    pub progress: Progress,
    /// Who probes.
    pub checker: Checker,
    counters: UnboundedSender<counters::Ask>,
    happened: Happened,
    /// How often the config was read again.
    pub reloads: Arc<Reloads>,
    /// How many configs the core was given, and how many of them are in force or were overtaken by one that is.
    configs: u64,
    in_force: watch::Sender<u64>,
    hints: Listener,
    /// Who hears of every verdict.
    pub fifo: Fifo,
    hooks: Hooks,
    suspend: Suspend,
    verdicts: UnboundedReceiver<Verdict>,
    wake: Option<Time>,
    /// The core is done.
    pub finished: Option<Removed>,
    /// Its last decision was that commands run.
    last_words: bool,
}

/// The core's clock: the Unix time at the start, and the time since. It never jumps, and what is written down by it is understood
/// after a restart.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    unix: Time,
}

impl Clock {
    fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), unix }
    }

    /// In whole microseconds, as the history has them; never before the time that it was asked to wake at.
    fn now(&self) -> Time {
        let now = self.unix + self.start.elapsed();
        now + Time::from_nanos(u64::from((1000 - now.subsec_nanos() % 1000) % 1000))
    }

    /// A time that no `Instant` can name, for which an operator may ask, is as good as a year away.
    fn instant(&self, time: Time) -> Instant {
        const YEAR: Time = Time::from_secs(365 * 24 * 60 * 60);
        self.start.checked_add(time.saturating_sub(self.unix)).unwrap_or_else(|| Instant::now() + YEAR)
    }
}

/// Whether all that is ipvsd's own is gone.
#[derive(PartialEq)]
pub struct Removed(pub bool);

impl Tasks {
    /// Starts the tasks; the core waits for a config.
    pub fn start(client: Client) -> Result<Self, Refusal> {
        let (to_core, inputs) = unbounded_channel();
        let (ipvs, ipvs_work) = unbounded_channel();
        let (rules, rules_work) = unbounded_channel();
        let (to_verdicts, verdicts) = unbounded_channel();
        tokio::spawn(ipvs::run(client, ipvs_work, to_core.clone()));
        tokio::spawn(rules::run(Nft::new(), rules_work, to_core.clone()));
        match touched::listen() {
            Ok(socket) => drop(tokio::spawn(touched::run(socket, to_core.clone()))),
            Err(error) => {
                tracing::error!(%error, "cannot listen to nftables: drift of the reply rules is not seen");
            }
        }
        let clock = Clock::start();
        let (to_counters, asked) = unbounded_channel();
        tokio::spawn(counters::run(asked, move || clock.now()));
        let (remembered, memory) = Remembered::read()?;
        let checker = health::start(to_verdicts).map_err(Refusal::io("start the checker"))?;
        let clock = Clock::start();
        let recorder = Recorder::start(admin::state_directory(), memory.clone(), clock.now())
            .map_err(Refusal::io("start the writer of the history"))?;
        Ok(Self {
            core: Core::new(memory),
            recorder,
            remembered,
            clock,
            to_core,
            inputs,
            ipvs,
            rules,
            progress: Progress::default(),
            checker,
            counters: to_counters,
            happened: Happened::default(),
            reloads: Arc::default(),
            configs: 0,
            in_force: watch::Sender::new(0),
            hints: Listener::default(),
            fifo: Fifo::default(),
            hooks: Hooks::default(),
            suspend: Suspend::default(),
            verdicts,
            wake: None,
            finished: None,
            last_words: false,
        })
    }

    /// For those who have inputs for the core.
    pub fn to_core(&self) -> UnboundedSender<Input> {
        self.to_core.clone()
    }

    /// For whoever waits until a config is in force: counts them, the first of the run with them.
    pub fn in_force(&self) -> watch::Receiver<u64> {
        self.in_force.subscribe()
    }

    /// Hands one input to the core and carries out what it asks for.
    pub fn input(&mut self, input: Input) {
        // Before its services are probed.
        if let Input::Config(config) = &input
            && let Some(here) = self.suspend.follow(config)
        {
            self.handle(Input::Here(here));
        }
        self.handle(input);
    }

    fn handle(&mut self, mut input: Input) {
        let now = Instant::now();
        self.remembered.retry(now);
        self.progress.answered(&input, now);
        self.happened.input(&input);
        if let Input::Config(config) = &mut input {
            self.configs += 1;
            self.hints.follow(&mut config.refusals, &self.checker.hints());
        }
        let mut last_words = false;
        for output in self.recorder.handle(&mut self.core, self.clock.now(), input) {
            self.progress.asked(&output, now);
            self.happened.output(&output);
            match output {
                // The tasks live as long as this struct: a send cannot fail.
                Output::LookAtServices(own) => drop(self.ipvs.send(ipvs::Work::Look(own))),
                Output::GlanceAtServices(own) => drop(self.ipvs.send(ipvs::Work::Glance(own))),
                Output::LookAtSysctls => self.look_at_sysctls(),
                Output::LookAtConnections(own) => self.look_at_connections(&own),
                Output::SetSysctl { key, old, value, why } => set_sysctl(&key, &old, &value, &why),
                Output::Remember(memory) => self.remembered.write(memory, Instant::now()),
                Output::Do(key, steps) => drop(self.ipvs.send(ipvs::Work::Do(key, steps))),
                Output::LookAtRules => drop(self.rules.send(rules::Work::Look)),
                Output::DoRules(rules) => drop(self.rules.send(rules::Work::Do(rules))),
                Output::Probe(targets) => self.checker.set(targets),
                Output::Wake(time) => self.wake = Some(time),
                Output::Run(hook) => {
                    last_words = true;
                    self.hooks.run(hook);
                }
                Output::Tell(news) => self.fifo.tell(&news),
                Output::Say(event) => log::say(&event),
                Output::Finished { removed } => {
                    self.finished = Some(Removed(removed));
                    self.last_words = last_words;
                }
            }
        }
        if !self.core.has_next_config() {
            let count = |known: &mut u64| std::mem::replace(known, self.configs) != self.configs;
            self.in_force.send_if_modified(count);
        }
    }

    /// Lets the commands that the end itself has asked for be done; those that run are waited for only with them.
    pub async fn end_commands(&mut self) {
        if self.last_words {
            self.hooks.end().await;
        }
    }

    /// How everything stands.
    pub fn status(&self) -> Status {
        self.core.status(self.clock.now())
    }

    /// [`Core::unready`].
    pub fn unready(&self) -> Option<String> {
        self.core.unready()
    }

    /// What has happened since the start.
    pub fn happened(&self) -> Happened {
        let mut happened = self.happened;
        self.reloads.add_to(&mut happened);
        happened
    }

    /// What became of probes and what went through these services, as soon as that is read.
    pub fn figures(
        &self,
        own: BTreeSet<ServiceKey>,
        rates: bool,
    ) -> impl Future<Output = (Probes, Option<Arc<Counters>>)> + use<> {
        let (answer, counters) = oneshot::channel();
        let _ = self.counters.send(counters::Ask { own, rates, answer });
        let probes = self.checker.report();
        // The tasks live as long as this struct.
        async move {
            let probes =
                timeout(counters::ENOUGH, probes).await.ok().and_then(Result::ok).unwrap_or_default();
            (probes, counters.await.ok().flatten())
        }
    }

    /// [`Core::would_empty`], now.
    pub fn would_empty(&self, service: &str, server: SocketAddr) -> Option<Vip> {
        self.core.would_empty(self.clock.now(), service, server)
    }

    /// The next input: from a task, or that the time has come which the core asked to be woken at.
    ///
    /// # Errors
    /// The checker has ended: without verdicts there is nothing left to decide.
    pub async fn next(&mut self) -> Result<Input, Refusal> {
        let alarm = async |wake: Option<Time>| match wake {
            Some(time) => tokio::time::sleep_until(self.clock.instant(time).into()).await,
            None => std::future::pending().await,
        };
        let input = tokio::select! {
            Some(input) = self.inputs.recv() => input,
            verdict = self.verdicts.recv() => match verdict {
                Some(verdict) => Input::Verdict(verdict),
                None => return Err(Refusal::new("the checker has ended; the kernel goes on as it is".to_owned())),
            },
            () = alarm(self.wake) => {
                self.wake = None;
                Input::Wake
            }
            here = self.suspend.here() => Input::Here(here),
        };
        Ok(input)
    }

    fn look_at_sysctls(&self) {
        let found = sysctls::watched().filter_map(|key| Some((key.to_owned(), sysctl::get(key).ok()??)));
        let mut found: BTreeMap<String, String> = found.collect();
        found.extend(timeouts::get().unwrap_or_default());
        let _ = self.to_core.send(Input::FoundSysctls(found));
    }

    /// On a thread of its own: the table may have millions of entries.
    fn look_at_connections(&self, own: &BTreeSet<ServiceKey>) {
        let (own, to_core) = (own.clone(), self.to_core.clone());
        tokio::task::spawn_blocking(move || {
            let found = connections::read(&own);
            let found = found.map_err(|error| format!("cannot read /proc/net/ip_vs_conn: {error}"));
            let _ = to_core.send(Input::FoundConnections(found));
        });
    }
}

fn set_sysctl(key: &str, old: &str, value: &str, why: &str) {
    let timeout = value.parse().ok().filter(|_| sysctls::TIMEOUTS.contains(&key));
    let set = match timeout {
        Some(seconds) => timeouts::set(key, seconds).map_err(|error| error.to_string()),
        None => sysctl::set(key, value).map_err(|error| error.to_string()),
    };
    match set {
        Ok(()) if timeout.is_some() => tracing::warn!(key, old, new = value, why, "time-out set"),
        Ok(()) => tracing::warn!(key, old, new = value, why, "sysctl set"),
        Err(error) => tracing::error!(key, old, new = value, why, %error, "cannot set the sysctl"),
    }
}
