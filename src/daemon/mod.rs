//! The loop. It only translates between the core and the tasks that wait.
//!
//! ```text
//!                    ┌──────────────┐ Verdict
//!              ┌────>│ health thread│──────────┐
//!        Probe │     └──────────────┘          │
//!              │            ^ hints            │
//!              │     ┌──────────────┐          │
//!              │     │ kernel::hints│          │
//!              │     └──────────────┘          │
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

mod ending;
mod exposition;
mod fifo;
mod hints;
mod hooks;
mod lock;
mod log;
mod notes;
mod plan;
mod prepare;
mod progress;
mod recorder;
mod reload;
mod remember;
mod requests;
mod supervise;
mod suspend;
mod tasks;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::admin::{self, Access, Reload};
use crate::core::model::Config;
use crate::core::{Input, desired};
use crate::nft::{self, Nft};
use ending::Ending;
use exposition::Exposition;
use requests::Requests;
use supervise::Supervisor;
use tasks::{Removed, Tasks};

pub use lock::held as runs;
pub use notes::{About, notes};
pub use plan::plan;
pub use prepare::Refusal;
pub use recorder::HistoryFile;

/// Runs the services of `config`, which was read from `files`, until SIGTERM or SIGINT; SIGHUP reads `path` again.
///
/// # Errors
/// What keeps the daemon from starting, each with its cure; another ipvsd in this network namespace, for one. Or what
/// it should have removed before its end, and could not.
pub async fn run(path: &Path, files: &[PathBuf], config: Config) -> Result<(), Refusal> {
    // First of all: until then a SIGHUP would end the process.
    let mut hangup = signal(SignalKind::hangup()).map_err(Refusal::io("listen for SIGHUP"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Refusal::io("listen for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Refusal::io("listen for SIGINT"))?;
    // Each list that is there for a moment would be rounded up to 2 MiB; where that cannot be helped it costs memory only.
    let _ = nix::sys::prctl::set_thp_disable(true);
    let mut supervisor = Supervisor::start();
    let _lock = lock::take()?;
    prepare::trust(files, &config)?;
    let client = prepare::prepare(&config).await?;
    let mut tasks = Tasks::start(client)?;
    let (reloads, asked) = unbounded_channel();
    let counts = Arc::clone(&tasks.reloads);
    let core = reload::ToCore::new(tasks.to_core(), tasks.in_force());
    tokio::spawn(reload::run(path.to_owned(), asked, core, supervisor.ready(), counts));
    let (to_requests, mut requested) = unbounded_channel();
    let _admin = open_admin_sockets(&to_requests);
    let requests = Requests { config: path.to_owned(), reloads };
    let needs_nft = !desired::rules_of(&config).is_empty();
    let services = config.services.len();
    tracing::info!(config = %path.display(), services, "started");
    let mut ending = Ending::default();
    ending.follow(&config);
    let mut exposition = Exposition::new(to_requests);
    exposition.follow(config.metrics).await;
    tasks.fifo.follow(config.notify.as_ref());
    tasks.input(Input::Config(config));
    while tasks.finished.is_none() {
        let input = tokio::select! {
            input = tasks.next() => input?,
            _ = hangup.recv() => {
                // Nobody waits for the answer; the log has it.
                drop(requests.reloads.send(Reload { by: None, answer: oneshot::channel().0 }));
                continue;
            }
            Some(request) = requested.recv() => {
                requests.answer(request, &mut tasks);
                continue;
            }
            _ = terminate.recv() => Input::Stop,
            _ = interrupt.recv() => Input::Stop,
            () = ending.too_late() => return Err(ending.left().await),
            () = supervisor.due() => {
                supervisor.look(&tasks.progress, &tasks.checker);
                continue;
            }
        };
        match &input {
            Input::Config(config) => {
                ending.follow(config);
                exposition.follow(config.metrics).await;
                tasks.fifo.follow(config.notify.as_ref());
            }
            Input::Stop => supervisor.stop(ending.begin()),
            _ => {}
        }
        tasks.input(input);
        supervisor.look(&tasks.progress, &tasks.checker);
    }
    tasks.end_commands().await;
    if tasks.finished == Some(Removed(true)) {
        remove_rules(needs_nft).await?;
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
    let needs_nft = !desired::rules_of(&config).is_empty();
    let longest = config.services.iter().map(|service| service.drain).max().unwrap_or_default();
    tracing::info!(at_most = ?longest, "draining the servers before they are removed");
    // A kernel without IPVS has no services; rules of an earlier run may still be there.
    if let Some(client) = prepare::connect().await? {
        let mut tasks = Tasks::start(client)?;
        let mut ending = Ending::default();
        ending.follow(&config);
        tasks.input(Input::Config(config));
        tasks.input(Input::Remove);
        ending.begin();
        while tasks.finished.is_none() {
            let input = tokio::select! {
                input = tasks.next() => input?,
                () = ending.too_late() => return Err(ending.left().await),
            };
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
    remove_rules(needs_nft).await
}

/// Damaged rules too, which the core does not see.
async fn remove_rules(needs_nft: bool) -> Result<(), Refusal> {
    match Nft::new().remove().await {
        Ok(_) => Ok(()),
        // A config without rules never needed nft.
        Err(nft::Error::NotInstalled { .. }) if !needs_nft => Ok(()),
        Err(error) => Err(Refusal::new(error.to_string())),
    }
}

/// Those that systemd gives, and the others by ourselves. The daemon does its work without them, too.
fn open_admin_sockets(requests: &UnboundedSender<admin::Request>) -> Vec<admin::Admin> {
    let mut listeners = admin::given().unwrap_or_else(|error| {
        tracing::warn!(%error, "the sockets that systemd gives are no use");
        Vec::new()
    });
    for access in [Access::Read, Access::Control] {
        if listeners.iter().any(|given| given.access() == access) {
            continue;
        }
        let socket = access.socket();
        match admin::make(socket.clone(), access) {
            Ok(listener) => listeners.push(listener),
            Err(error) => tracing::warn!(
                socket = %socket.display(), %error,
                "no admin socket: the commands that need it will not work; SIGHUP reloads"
            ),
        }
    }
    listeners.into_iter().map(|listener| admin::start(listener, requests.clone())).collect()
}
