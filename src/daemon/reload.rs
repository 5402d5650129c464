//! Reading the config again, one time after the other, beside the loop: verdicts do not wait for it.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::prepare;
use crate::admin::{Rejected, Reloaded};
use crate::config;
use crate::core::Input;

/// Answers each request when the core has the new config or the old one goes on, until no more can come.
pub async fn run(
    path: PathBuf,
    mut requests: UnboundedReceiver<oneshot::Sender<Reloaded>>,
    to_core: UnboundedSender<Input>,
) {
    while let Some(request) = requests.recv().await {
        let reloaded = reload(&path, &to_core).await;
        let config = path.display();
        match &reloaded {
            Ok(warnings) if warnings.is_empty() => tracing::info!(%config, "reloaded"),
            Ok(warnings) => tracing::warn!(%config, "reloaded\n{warnings}"),
            Err(error) => tracing::error!(%config, "reload refused, the running config goes on\n{error}"),
        }
        // Whoever asked may have gone.
        let _ = request.send(reloaded);
    }
}

/// A bad file changes nothing: the config that is running goes on.
async fn reload(path: &Path, to_core: &UnboundedSender<Input>) -> Reloaded {
    let loaded = config::load(path)?;
    prepare::trust(path, &loaded.config).map_err(|refusal| Rejected::Machine(refusal.to_string()))?;
    prepare::prepare(&loaded.config).await.map_err(|refusal| Rejected::Machine(refusal.to_string()))?;
    let _ = to_core.send(Input::Config(loaded.config));
    Ok(loaded.warnings)
}
