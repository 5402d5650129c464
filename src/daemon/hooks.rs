//! The commands of services: those of one VIP one after the other, in the order of its changes.

use std::collections::HashMap;
use std::sync::Arc;

use ipvs_netlink::ServiceKey;
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::command::{End, Privileges, Runner};
use crate::core::Hook;
use crate::core::model::Vip;

/// So many commands run at a time.
const AT_ONCE: usize = 32;

/// The queues of hooks, one for each VIP.
#[derive(Default)]
pub struct Hooks {
    runners: Arc<Runners>,
    queues: HashMap<ServiceKey, UnboundedSender<Hook>>,
}

/// Started when the first command needs one: most configs have none.
#[derive(Default)]
struct Runners {
    unprivileged: OnceCell<Option<Runner>>,
    network: OnceCell<Option<Runner>>,
}

impl Hooks {
    /// Runs a command after those of the same VIP that came before.
    pub fn run(&mut self, hook: Hook) {
        let runners = &self.runners;
        let queue = self.queues.entry(hook.key).or_insert_with(|| {
            let (sender, receiver) = unbounded_channel();
            tokio::spawn(one_by_one(Arc::clone(runners), receiver));
            sender
        });
        // Each queue lasts as long as this struct.
        let _ = queue.send(hook);
    }
}

async fn one_by_one(runners: Arc<Runners>, mut hooks: UnboundedReceiver<Hook>) {
    while let Some(hook) = hooks.recv().await {
        let (service, vip, command) = (&hook.service, Vip(hook.key).to_string(), hook.command.argv.join(" "));
        let state = if hook.up { "up" } else { "down" };
        let Some(runner) = runners.of(hook.command.network).await else { continue };
        let servers: Vec<String> = hook.servers.iter().map(ToString::to_string).collect();
        let environment = vec![
            ("IPVSD_SERVICE", hook.service.clone()),
            ("IPVSD_VIP", vip.clone()),
            ("IPVSD_STATE", state.to_owned()),
            ("IPVSD_SERVERS_UP", servers.join(" ")),
        ];
        let outcome = runner.run(Arc::clone(&hook.command), environment).await;
        let said = String::from_utf8_lossy(&outcome.said);
        let said = said.trim_end();
        match outcome.end {
            End::Exit(0) => tracing::info!(service, vip, state, command, said, "command run"),
            end => tracing::error!(service, vip, state, command, said, %end, "command failed"),
        }
    }
}

impl Runners {
    async fn of(&self, network: bool) -> Option<&Runner> {
        let (runner, privileges) = match network {
            false => (&self.unprivileged, Privileges::None),
            true => (&self.network, Privileges::Network),
        };
        let start = async || match Runner::start(privileges, AT_ONCE) {
            Ok(runner) => Some(runner),
            Err(error) => {
                tracing::error!(%error, ?privileges, "commands cannot be run");
                None
            }
        };
        runner.get_or_init(start).await.as_ref()
    }
}
