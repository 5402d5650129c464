//! Reading the config again, one time after the other, beside the loop: verdicts do not wait for it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::prepare;
use super::supervise::Ready;
use crate::admin::{Rejected, Reload, Reloaded};
use crate::config::{self, LoadError, Loaded};
use crate::core::Input;
use crate::metrics::Reloads;

/// Answers each request when the core has the new config or the old one goes on, until no more can come. All that wait
/// while the config is being read get what the next reading brings.
pub async fn run(
    path: PathBuf,
    mut requests: UnboundedReceiver<Reload>,
    to_core: UnboundedSender<Input>,
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
        let reloaded = reload(&path, &by, &to_core).await;
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
async fn reload(path: &Path, by: &BTreeSet<u32>, to_core: &UnboundedSender<Input>) -> Reloaded {
    let loaded = load(path).await?;
    let machine = |refusal: prepare::Refusal| Rejected::Machine(refusal.to_string());
    prepare::prepare(&loaded.config).await.map_err(machine)?;
    for user in by {
        let _ = to_core.send(Input::ReloadAsked(*user));
    }
    let _ = to_core.send(Input::Config(loaded.config));
    Ok(loaded.warnings)
}

fn read(path: &Path) -> Result<Loaded, Rejected> {
    // A FIFO would be read until somebody writes. Of a file that is not there, `load` says so.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(LoadError::unread(path, io::Error::other("it is not a regular file")).into());
    }
    let loaded = config::load(path)?;
    prepare::trust(path, &loaded.config).map_err(|refusal| Rejected::Machine(refusal.to_string()))?;
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::stat::Mode;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

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
