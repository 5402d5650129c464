//! Reading the config again, one time after the other, beside the loop: verdicts do not wait for it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::time::timeout;

use super::prepare;
use super::supervise::Ready;
use crate::admin::{Rejected, Reload, Reloaded};
use crate::config::{self, LoadError, Loaded};
use crate::core::Input;
use crate::core::model::Config;
use crate::metrics::Reloads;

/// So long a new config is waited for: it waits for the kernel to be read, and for a server that is out for a moment.
const IN_FORCE: Duration = Duration::from_secs(10);

/// The way of a new config to the core, and the news that it is in force.
pub struct ToCore {
    inputs: UnboundedSender<Input>,
    in_force: watch::Receiver<u64>,
    /// How many configs the core was given; the first at start.
    configs: u64,
}

impl ToCore {
    /// To a core that has, or is about to be given, its first config.
    pub fn new(inputs: UnboundedSender<Input>, in_force: watch::Receiver<u64>) -> Self {
        Self { inputs, in_force, configs: 1 }
    }

    /// Returns when the config is in force, or has waited for long enough.
    async fn put_in_force(&mut self, config: Config) {
        self.configs += 1;
        let _ = self.inputs.send(Input::Config(config));
        let sent = self.configs;
        if timeout(IN_FORCE, self.in_force.wait_for(|count| *count >= sent)).await.is_err() {
            tracing::warn!(
                "the new config is taken, and not in force yet: `ipvsd status` says what it waits for"
            );
        }
    }
}

/// Answers each request when the new config is in force or the old one goes on, until no more can come. All that wait
/// while the config is being read get what the next reading brings.
pub async fn run(
    path: PathBuf,
    mut requests: UnboundedReceiver<Reload>,
    mut core: ToCore,
    ready: Ready,
    counts: Arc<Reloads>,
) {
    while let Some(request) = requests.recv().await {
        let mut callers = vec![request];
        while let Ok(request) = requests.try_recv() {
            callers.push(request);
        }
        let reloading = ready.reload();
        let by: BTreeSet<u32> = callers.iter().filter_map(|caller| caller.by).collect();
        let reloaded = reload(&path, &by, &mut core).await;
        drop(reloading);
        counts.count(reloaded.is_ok());
        let (config, by) = (path.display(), said(&by));
        match &reloaded {
            Ok(warnings) if warnings.is_empty() => tracing::info!(%config, by, "reloaded"),
            Ok(warnings) => tracing::warn!(%config, by, "reloaded\n{warnings}"),
            Err(error) => tracing::error!(%config, by, "reload refused, the running config goes on\n{error}"),
        }
        for caller in callers {
            // Whoever asked may have gone.
            let _ = caller.answer.send(reloaded.clone());
        }
    }
}

/// The operators' user IDs in words; none where it was SIGHUP.
fn said(by: &BTreeSet<u32>) -> Option<String> {
    let users: Vec<String> = by.iter().map(u32::to_string).collect();
    (!users.is_empty()).then(|| users.join(", "))
}

/// Reads the config's file on a thread of its own: it may take for ever (NFS without its server, say).
pub async fn load(path: &Path) -> Result<Loaded, Rejected> {
    let owned = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read(&owned));
    reading.await.map_err(|error| Rejected::Config(LoadError::unread(path, io::Error::other(error))))?
}

/// A bad file changes nothing: the config that is running goes on.
async fn reload(path: &Path, by: &BTreeSet<u32>, core: &mut ToCore) -> Reloaded {
    let loaded = load(path).await?;
    let machine = |refusal: prepare::Refusal| Rejected::Machine(refusal.to_string());
    prepare::prepare(&loaded.config).await.map_err(machine)?;
    for user in by {
        let _ = core.inputs.send(Input::ReloadAsked(*user));
    }
    core.put_in_force(loaded.config).await;
    Ok(loaded.warnings)
}

fn read(path: &Path) -> Result<Loaded, Rejected> {
    // A FIFO would be read until somebody writes. Of a file that is not there, `load` says so.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(LoadError::unread(path, io::Error::other("it is not a regular file")).into());
    }
    let loaded = config::load(path)?;
    prepare::trust(&loaded.files, &loaded.config)
        .map_err(|refusal| Rejected::Machine(refusal.to_string()))?;
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_fifo_is_refused_and_all_who_wait_are_answered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ipvsd.toml");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let (reloads, asked) = unbounded_channel();
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (answer, answered) = oneshot::channel();
                reloads.send(Reload { by: None, answer }).unwrap();
                answered
            })
            .collect();
        drop(reloads);
        let (to_core, mut core) = unbounded_channel();
        let counts = Arc::<Reloads>::default();
        let to_core = ToCore::new(to_core, watch::channel(0).1);
        timeout(Duration::from_secs(60), run(path, asked, to_core, Ready::default(), Arc::clone(&counts)))
            .await
            .expect("nobody writes into the FIFO");
        for caller in callers {
            let said = caller.await.unwrap().unwrap_err().to_string();
            assert!(said.contains("ipvsd.toml: it is not a regular file"), "{said}");
        }
        assert!(core.recv().await.is_none(), "the core hears of nothing");
    }
}
