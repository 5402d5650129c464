//! How one picture differs from another that the reader has, too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use ipvs_netlink::{DestinationConfig, DestinationKey, ServiceConfig, ServiceKey};
use serde::{Deserialize, Serialize};

use super::masked;
use crate::core::model::{Config, KernelSettings, Notify, OnStop, Outer, Refusals, Rules, Service};
use crate::core::plan::{FoundService, FoundServices};

/// How a map becomes another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapChange<K, V> {
    /// What is new or has another value.
    pub put: Vec<(K, V)>,
    /// What is gone.
    pub gone: Vec<K>,
}

impl<K: Ord + Clone, V: Clone + PartialEq> MapChange<K, V> {
    pub(super) fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let put = new.iter().filter(|(key, value)| old.get(key) != Some(value));
        let gone = old.keys().filter(|key| !new.contains_key(key));
        Self {
            put: put.map(|(key, value)| (key.clone(), value.clone())).collect(),
            gone: gone.cloned().collect(),
        }
    }

    pub(super) fn apply(self, map: &mut BTreeMap<K, V>) {
        map.extend(self.put);
        self.gone.iter().for_each(|key| drop(map.remove(key)));
    }
}

/// How a set becomes another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetChange<T> {
    /// What is new.
    pub put: Vec<T>,
    /// What is gone.
    pub gone: Vec<T>,
}

impl<T: Ord + Copy> SetChange<T> {
    pub(super) fn between(old: &BTreeSet<T>, new: &BTreeSet<T>) -> Self {
        Self { put: new.difference(old).copied().collect(), gone: old.difference(new).copied().collect() }
    }

    pub(super) fn apply(self, set: &mut BTreeSet<T>) {
        set.extend(self.put);
        for key in &self.gone {
            set.remove(key);
        }
    }
}

/// How the rules become others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RulesChange {
    /// VIPs of OPS services.
    pub requests: SetChange<SocketAddr>,
    /// Servers, and the VIP that each answers for.
    pub replies: MapChange<SocketAddr, SocketAddr>,
    /// The outer packets of tunnels.
    pub tunnels: SetChange<Outer>,
    /// What is done with refusals from now on.
    pub refusals: Refusals,
}

impl RulesChange {
    pub(super) fn between(old: Option<&Rules>, new: &Rules) -> Self {
        let nothing = Rules::default();
        let old = old.unwrap_or(&nothing);
        Self {
            requests: SetChange::between(&old.requests, &new.requests),
            replies: MapChange::between(&old.replies, &new.replies),
            tunnels: SetChange::between(&old.tunnels, &new.tunnels),
            refusals: new.refusals,
        }
    }

    pub(super) fn applied(self, old: Option<&Rules>) -> Rules {
        let mut rules = old.cloned().unwrap_or_default();
        self.requests.apply(&mut rules.requests);
        self.replies.apply(&mut rules.replies);
        self.tunnels.apply(&mut rules.tunnels);
        Rules { refusals: self.refusals, ..rules }
    }
}

/// How one service becomes another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceChange {
    /// It is new.
    New(FoundService),
    /// It is gone.
    Gone,
    /// It is not as it was.
    Changed {
        /// Its configuration, if that has changed.
        config: Option<ServiceConfig>,
        /// Its servers.
        servers: MapChange<DestinationKey, DestinationConfig>,
    },
}

impl ServiceChange {
    /// Of services that are listed in any order, perhaps repeatedly: the last of each counts.
    pub(super) fn between(
        old: Option<&FoundServices>,
        new: &[(ServiceKey, FoundService)],
    ) -> Vec<(ServiceKey, Self)> {
        let nothing = FoundServices::new();
        let old = old.unwrap_or(&nothing);
        let new: BTreeMap<&ServiceKey, &FoundService> =
            new.iter().map(|(key, service)| (key, service)).collect();
        let gone = old.keys().filter(|key| !new.contains_key(key)).map(|key| (*key, Self::Gone));
        let changed = new.iter().filter_map(|(key, service)| match old.get(key) {
            None => Some((**key, Self::New((*service).clone()))),
            Some(old) if old == *service => None,
            Some(old) => {
                let config = (old.config != service.config).then(|| service.config.clone());
                let servers = MapChange::between(&old.servers, &service.servers);
                Some((**key, Self::Changed { config, servers }))
            }
        });
        gone.chain(changed).collect()
    }

    pub(super) fn apply(changes: Vec<(ServiceKey, Self)>, services: &mut FoundServices) {
        for (key, change) in changes {
            match change {
                Self::New(service) => drop(services.insert(key, service)),
                Self::Gone => drop(services.remove(&key)),
                Self::Changed { config, servers } => {
                    let Some(service) = services.get_mut(&key) else { continue };
                    service.config = config.unwrap_or_else(|| service.config.clone());
                    servers.apply(Arc::make_mut(&mut service.servers));
                }
            }
        }
    }
}

/// How a config becomes another, without its secrets: between the services that stay at both ends these are put.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// So many services at the beginning stay.
    pub first: usize,
    /// Those that follow.
    pub services: Vec<Service>,
    /// So many services at the end stay.
    pub last: usize,
    /// `[kernel]`.
    pub kernel: KernelSettings,
    /// `on_stop`.
    pub on_stop: OnStop,
    /// `[passive]`.
    pub refusals: Refusals,
    /// `[metrics]`.
    pub metrics: Option<SocketAddr>,
    /// `[notify]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
}

impl ConfigChange {
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        let Config { services, kernel, on_stop, refusals, metrics, notify } = new;
        let both = || old.services.iter().zip(services);
        let first = both().take_while(|(old, new)| old == new).count();
        let rest = old.services.len().min(services.len()) - first;
        let ends = old.services.iter().rev().zip(services.iter().rev()).take(rest);
        let last = ends.take_while(|(old, new)| old == new).count();
        let services = services[first..services.len() - last].iter().map(masked::service).collect();
        let (kernel, on_stop, refusals, metrics) = (*kernel, *on_stop, *refusals, *metrics);
        let notify = notify.as_ref().map(masked::notify);
        Self { first, services, last, kernel, on_stop, refusals, metrics, notify }
    }

    /// None if the old config has not that many services.
    pub(super) fn applied(self, old: &Config) -> Option<Config> {
        let Self { first, services, last, kernel, on_stop, refusals, metrics, notify } = self;
        let before = old.services.get(..first)?;
        let after = old.services.get(old.services.len().checked_sub(last)?..)?;
        let services = before.iter().cloned().chain(services).chain(after.iter().cloned()).collect();
        Some(Config { services, kernel, on_stop, refusals, metrics, notify })
    }
}
