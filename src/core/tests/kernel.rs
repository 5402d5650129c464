//! The kernel in memory: holds services, rules, sysctls and connection entries, and refuses like the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipvs_netlink::{DestinationKey, ServiceKey};

use crate::core::evict::EXPIRE;
use crate::core::model::Rules;
use crate::core::plan::{Action, FoundService, FoundServices};

/// What the kernel says instead of doing a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// EEXIST: the service or destination is there.
    Exists,
    /// ESRCH: no such service.
    NoService,
    /// ENOENT: no such destination.
    NoServer,
}

#[derive(Clone, Default)]
pub struct Kernel {
    pub services: FoundServices,
    pub rules: Rules,
    /// Somebody broke the tables beside their elements.
    pub damaged: bool,
    pub sysctls: BTreeMap<String, String>,
    /// VIP and server of each pinned client.
    pub connections: BTreeSet<(ServiceKey, DestinationKey)>,
}

impl Kernel {
    /// Does one step, or says why not and changes nothing.
    pub fn apply(&mut self, key: ServiceKey, action: &Action) -> Result<(), Errno> {
        if let Action::AddService(config) = action {
            if self.services.contains_key(&key) {
                return Err(Errno::Exists);
            }
            let service = FoundService { config: config.clone(), servers: Arc::default() };
            self.services.insert(key, service);
            return Ok(());
        }
        let service = self.services.get_mut(&key).ok_or(Errno::NoService)?;
        let servers = service.servers_mut();
        match action {
            Action::AddService(_) => {}
            Action::SetService(config) => service.config = config.clone(),
            Action::DeleteService => {
                self.services.remove(&key);
                self.connections.retain(|(service, _)| *service != key);
            }
            Action::AddServer(server, config) => {
                if servers.contains_key(server) {
                    return Err(Errno::Exists);
                }
                servers.insert(*server, *config);
            }
            Action::SetServer(server, config) => {
                *servers.get_mut(server).ok_or(Errno::NoServer)? = *config;
            }
            Action::DeleteServer(server) => {
                servers.remove(server).ok_or(Errno::NoServer)?;
                if self.sysctls.get(EXPIRE).is_some_and(|value| value == "1") {
                    self.connections.remove(&(key, *server));
                }
            }
        }
        Ok(())
    }
}
