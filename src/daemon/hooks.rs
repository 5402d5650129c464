//! The commands of services and servers: those of one VIP, and of one server behind it, one after the other, in the order of the
//! changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationKey, ServiceKey};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::command::{End, Runners};
use crate::core::Hook;
use crate::core::model::Vip;

/// So many commands run at a time.
const AT_ONCE: usize = 32;

/// At the end commands have so long to be done, all together.
const AT_THE_END: Duration = Duration::from_secs(30);

/// The queues of hooks, one for each VIP and each of its servers that has commands.
pub struct Hooks {
    runners: Arc<Runners>,
    queues: HashMap<(ServiceKey, Option<DestinationKey>), Queue>,
}

struct Queue {
    hooks: UnboundedSender<Hook>,
    task: JoinHandle<()>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { runners: Arc::new(Runners::new(AT_ONCE)), queues: HashMap::new() }
    }
}

impl Hooks {
    /// Runs a command after those of the same VIP, or server, that came before.
    pub fn run(&mut self, hook: Hook) {
        let runners = &self.runners;
        let queue = self.queues.entry((hook.key, hook.server)).or_insert_with(|| {
            let (hooks, receiver) = unbounded_channel();
            Queue { hooks, task: tokio::spawn(one_by_one(Arc::clone(runners), receiver)) }
        });
        // Each queue lasts as long as this struct.
        let _ = queue.hooks.send(hook);
    }

    /// Waits until all that were to run have run, or for 30 s.
    pub async fn end(&mut self) {
        let tasks: Vec<JoinHandle<()>> = self.queues.drain().map(|(_, queue)| queue.task).collect();
        let all = async {
            for task in tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(AT_THE_END, all).await.is_err() {
            tracing::warn!("commands still run after {AT_THE_END:?}: they are killed");
        }
    }
}

async fn one_by_one(runners: Arc<Runners>, mut hooks: UnboundedReceiver<Hook>) {
    while let Some(hook) = hooks.recv().await {
        let (service, vip, command) = (&hook.service, Vip(hook.key).to_string(), hook.command.argv.join(" "));
        let state = if hook.up { "up" } else { "down" };
        let runner = match runners.of(&hook.command).await {
            Ok(runner) => runner,
            Err(error) => {
                tracing::error!(service, vip, state, command, %error, "commands cannot be run");
                continue;
            }
        };
        let servers: Vec<String> = hook.servers.iter().map(ToString::to_string).collect();
        let mut environment = vec![
            ("IPVSD_SERVICE", hook.service.clone()),
            ("IPVSD_VIP", vip.clone()),
            ("IPVSD_STATE", state.to_owned()),
            ("IPVSD_SERVERS_UP", servers.join(" ")),
        ];
        if let Some(DestinationKey(server)) = hook.server {
            environment.push(("IPVSD_SERVER", server.ip().to_string()));
            environment.push(("IPVSD_PORT", server.port().to_string()));
        }
        let server = hook.server.map(|server| server.to_string());
        let outcome = runner.run(Arc::clone(&hook.command), environment).await;
        let said = String::from_utf8_lossy(&outcome.said);
        let said = said.trim_end();
        match outcome.end {
            End::Exit(0) => tracing::info!(service, vip, server, state, command, said, "command run"),
            end => tracing::error!(service, vip, server, state, command, said, %end, "command failed"),
        }
    }
}
