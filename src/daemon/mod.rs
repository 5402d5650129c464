//! The loop. It only translates between the core and the tasks that wait.
//!
//! ```text
//!                    ┌──────────────┐ Verdict
//!              ┌────>│ health thread│──────────┐
//!        Probe │     └──────────────┘          │
//!              │     ┌──────────────┐ Found,   v         ┌──────┐
//!   ┌──────┐ Do│────>│ kernel::ipvs │─Done──> inputs ───>│ Core │
//!   │ loop │───┤     └──────────────┘          ^         └──┬───┘
//!   └──────┘   │     ┌──────────────┐ Found,   │            │ outputs
//!      ^       └────>│ kernel::rules│─Done─────┘            │
//!      │             └──────────────┘                       │
//!      └── SIGHUP, SIGTERM, timer ──────────────────────────┘
//! ```

mod log;
mod prepare;

use std::path::Path;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config;
use crate::core::model::{Config, Verdict};
use crate::core::{Core, Input, Output, Time};
use crate::health::{self, Checker};
use crate::kernel::{ipvs, rules};
use crate::nft::{self, Nft};

pub use prepare::Refusal;

/// Runs the services of `config` until SIGTERM or SIGINT; SIGHUP reads `path` again.
///
/// # Errors
/// What keeps the daemon from starting, each with its cure.
pub async fn run(path: &Path, config: Config) -> Result<(), Refusal> {
    // First of all: until then a SIGHUP would end the process.
    let mut hangup = signal(SignalKind::hangup()).map_err(Refusal::io("listen for SIGHUP"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Refusal::io("listen for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Refusal::io("listen for SIGINT"))?;
    let client = prepare::prepare(&config).await?;
    let mut tasks = Tasks::start(client)?;
    let services = config.services.len();
    tracing::info!(config = %path.display(), services, "started");
    tasks.input(Input::Config(config));
    // A look at a large ruleset takes its time, and a server that dies meanwhile gets its weight 0 meanwhile.
    let mut reloading = None;
    while tasks.finished.is_none() {
        tokio::select! {
            input = tasks.next() => tasks.input(input?),
            _ = hangup.recv(), if reloading.is_none() => reloading = Some(Box::pin(reload(path))),
            Some(config) = async { Some(reloading.as_mut()?.await) } => {
                reloading = None;
                config.into_iter().for_each(|config| tasks.input(Input::Config(config)));
            }
            _ = terminate.recv() => tasks.input(Input::Stop),
            _ = interrupt.recv() => tasks.input(Input::Stop),
        }
    }
    if tasks.finished == Some(Removed(true)) {
        remove_rules().await?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Removes from the kernel all that `config` names, and the reply rules; servers are drained first.
///
/// # Errors
/// What could not be removed and why.
pub async fn flush(config: Config) -> Result<(), Refusal> {
    // A kernel without IPVS has no services; rules of an earlier run may still be there.
    if let Some(client) = prepare::connect().await? {
        let mut tasks = Tasks::start(client)?;
        tasks.input(Input::Config(config));
        tasks.input(Input::Remove);
        while tasks.finished.is_none() {
            let input = tasks.next().await?;
            // The daemon would try again until it works; a command says what is wrong and ends.
            if let Input::FoundServices(Err(error))
            | Input::FoundRules(Err(error))
            | Input::RulesDone(Err(error)) = input
            {
                return Err(Refusal::new(error));
            }
            tasks.input(input);
        }
    }
    remove_rules().await
}

/// Damaged rules too, which the core does not see.
async fn remove_rules() -> Result<(), Refusal> {
    match Nft::new().remove().await {
        // Without nft there are none.
        Ok(_) | Err(nft::Error::NotInstalled { .. }) => Ok(()),
        Err(error) => Err(Refusal::new(error.to_string())),
    }
}

/// The config that is in the file now. A bad file changes nothing: the config that is running goes on.
async fn reload(path: &Path) -> Option<Config> {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(error) => {
            tracing::error!(config = %path.display(), "reload refused, the running config goes on\n{error}");
            return None;
        }
    };
    for warning in loaded.warnings.problems() {
        let config::Located { file, line, column, message, help, .. } = warning;
        tracing::warn!(help, "{file}:{line}:{column}: {message}");
    }
    if let Err(refusal) = prepare::prepare(&loaded.config).await {
        tracing::error!(config = %path.display(), %refusal, "reload refused, the running config goes on");
        return None;
    }
    tracing::info!(config = %path.display(), "reloaded");
    Some(loaded.config)
}

/// The core and the tasks around it.
struct Tasks {
    core: Core,
    epoch: Instant,
    inputs: UnboundedReceiver<Input>,
    ipvs: UnboundedSender<ipvs::Work>,
    rules: UnboundedSender<rules::Work>,
    checker: Checker,
    verdicts: UnboundedReceiver<Verdict>,
    wake: Option<Time>,
    finished: Option<Removed>,
}

/// The core is done; whether all that is ipvsd's own is gone.
#[derive(PartialEq)]
struct Removed(bool);

impl Tasks {
    fn start(client: ipvs_netlink::tokio::Client) -> Result<Self, Refusal> {
        let (to_core, inputs) = unbounded_channel();
        let (ipvs, ipvs_work) = unbounded_channel();
        let (rules, rules_work) = unbounded_channel();
        let (to_verdicts, verdicts) = unbounded_channel();
        tokio::spawn(ipvs::run(client, ipvs_work, to_core.clone()));
        tokio::spawn(rules::run(Nft::new(), rules_work, to_core));
        let checker = health::start(to_verdicts).map_err(Refusal::io("start the checker"))?;
        Ok(Self {
            core: Core::new(),
            epoch: Instant::now(),
            inputs,
            ipvs,
            rules,
            checker,
            verdicts,
            wake: None,
            finished: None,
        })
    }

    /// Hands one input to the core and carries out what it asks for.
    fn input(&mut self, input: Input) {
        for output in self.core.handle(self.epoch.elapsed(), input) {
            match output {
                // The tasks live as long as this struct: a send cannot fail.
                Output::LookAtServices(own) => drop(self.ipvs.send(ipvs::Work::Look(own))),
                Output::Do(key, steps) => drop(self.ipvs.send(ipvs::Work::Do(key, steps))),
                Output::LookAtRules => drop(self.rules.send(rules::Work::Look)),
                Output::DoRules(rules) => drop(self.rules.send(rules::Work::Do(rules))),
                Output::Probe(targets) => self.checker.set(targets),
                Output::Wake(time) => self.wake = Some(time),
                Output::Say(event) => log::say(&event),
                Output::Finished { removed } => self.finished = Some(Removed(removed)),
            }
        }
    }

    /// The next input: from a task, or that the time has come which the core asked to be woken at.
    async fn next(&mut self) -> Result<Input, Refusal> {
        let alarm = async |wake: Option<Time>| match wake {
            Some(time) => tokio::time::sleep_until((self.epoch + time).into()).await,
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
        };
        Ok(input)
    }
}
