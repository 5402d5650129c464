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
//!      ^       └────>│ kernel::rules│─Done────>│            │
//!      │             └──────────────┘          │            │
//!      │   SIGHUP,   ┌──────────────┐ Config   │            │
//!      │    admin ──>│ reload       │──────────┘            │
//!      │             └──────────────┘                       │
//!      └── SIGTERM, timer ──────────────────────────────────┘
//! ```

mod lock;
mod log;
mod plan;
mod prepare;
mod reload;

use std::path::Path;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::admin;
use crate::core::model::Config;
use crate::core::{Core, Input, Output, Time};
use crate::health::{self, Checker};
use crate::kernel::{ipvs, rules};
use crate::nft::{self, Nft};

pub use plan::plan;
pub use prepare::Refusal;

/// Runs the services of `config` until SIGTERM or SIGINT; SIGHUP reads `path` again.
///
/// # Errors
/// What keeps the daemon from starting, each with its cure; another ipvsd in this network namespace, for one.
pub async fn run(path: &Path, config: Config) -> Result<(), Refusal> {
    let _lock = lock::take()?;
    let client = prepare::prepare(&config).await?;
    let mut tasks = Tasks::start(client)?;
    let (reloads, asked) = unbounded_channel();
    tokio::spawn(reload::run(path.to_owned(), asked, tasks.to_core.clone()));
    let _admin = open_admin_socket(&reloads);
    let mut hangup = signal(SignalKind::hangup()).map_err(Refusal::io("listen for SIGHUP"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Refusal::io("listen for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Refusal::io("listen for SIGINT"))?;
    let services = config.services.len();
    tracing::info!(config = %path.display(), services, "started");
    tasks.input(Input::Config(config));
    while tasks.finished.is_none() {
        tokio::select! {
            input = tasks.next() => tasks.input(input),
            // Nobody waits for the answer; the log has it.
            _ = hangup.recv() => drop(reloads.send(oneshot::channel().0)),
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
/// What could not be removed and why; or the daemon runs, which would put everything back.
pub async fn flush(config: Config) -> Result<(), Refusal> {
    let _lock = lock::take()?;
    let client = prepare::connect().await?;
    let mut tasks = Tasks::start(client)?;
    tasks.input(Input::Config(config));
    tasks.input(Input::Remove);
    while tasks.finished.is_none() {
        let input = tasks.next().await;
        tasks.input(input);
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

/// The daemon does its work without it, too.
fn open_admin_socket(reloads: &UnboundedSender<oneshot::Sender<admin::Reloaded>>) -> Option<admin::Admin> {
    let socket = admin::socket();
    match admin::start(socket.clone(), reloads.clone()) {
        Ok(admin) => Some(admin),
        Err(error) => {
            tracing::warn!(socket = %socket.display(), %error, "no admin socket: `ipvsd reload` will not work, SIGHUP does");
            None
        }
    }
}

/// The core and the tasks around it.
struct Tasks {
    core: Core,
    epoch: Instant,
    to_core: UnboundedSender<Input>,
    inputs: UnboundedReceiver<Input>,
    ipvs: UnboundedSender<ipvs::Work>,
    rules: UnboundedSender<rules::Work>,
    checker: Checker,
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
        let (to_verdicts, mut verdicts) = unbounded_channel();
        tokio::spawn(ipvs::run(client, ipvs_work, to_core.clone()));
        tokio::spawn(rules::run(Nft::new(), rules_work, to_core.clone()));
        let to_inputs = to_core.clone();
        tokio::spawn(async move {
            while let Some(verdict) = verdicts.recv().await {
                let _ = to_inputs.send(Input::Verdict(verdict));
            }
        });
        let checker = health::start(to_verdicts).map_err(Refusal::io("start the checker"))?;
        Ok(Self {
            core: Core::new(),
            epoch: Instant::now(),
            to_core,
            inputs,
            ipvs,
            rules,
            checker,
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
    async fn next(&mut self) -> Input {
        let alarm = async |wake: Option<Time>| match wake {
            Some(time) => tokio::time::sleep_until((self.epoch + time).into()).await,
            None => std::future::pending().await,
        };
        tokio::select! {
            Some(input) = self.inputs.recv() => input,
            () = alarm(self.wake) => {
                self.wake = None;
                Input::Wake
            }
        }
    }
}
