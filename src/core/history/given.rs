//! An input as the history has it: what the core knows already is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipvs_netlink::{DestinationKey, ServiceKey};
use serde::{Deserialize, Serialize};

use super::{ConfigChange, MapChange, RulesChange, ServiceChange, SetChange};
use crate::core::model::{Rules, Verdict};
use crate::core::overrides::Override;
use crate::core::plan::{FoundServices, Step};
use crate::core::{Core, FoundRules, Input, Output};

/// What the core was told, beside what it knew when it was told so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// [`Input::Config`]: how it differs from the config that the core goes by.
    Config(ConfigChange),
    /// [`Input::ReloadAsked`].
    ReloadAsked(u32),
    /// [`Input::FoundServices`], all of them as the core thinks that they are.
    ServicesAsKnown,
    /// The same with others: how these differ.
    Services(Vec<(ServiceKey, ServiceChange)>),
    /// They could not be read.
    NoServices(String),
    /// [`Input::Unchanged`].
    Unchanged,
    /// [`Input::FoundRules`], as the core thinks that they are.
    RulesAsKnown,
    /// The same with others: how they differ, and the damage.
    Rules(RulesChange, Vec<String>),
    /// They could not be read.
    NoRules(String),
    /// [`Input::RulesTouched`].
    RulesTouched,
    /// [`Input::FoundSysctls`], as the core knows them.
    SysctlsAsKnown,
    /// The same with others: how they differ.
    Sysctls(MapChange<String, String>),
    /// [`Input::FoundConnections`], the same as the last time.
    ConnectionsAsKnown,
    /// How they differ from those of the last time.
    Connections(SetChange<(ServiceKey, DestinationKey)>),
    /// They could not be read.
    NoConnections(String),
    /// [`Input::Verdict`].
    Verdict(Verdict),
    /// [`Input::Here`].
    Here(BTreeSet<IpAddr>),
    /// [`Input::Override`].
    Override(Override),
    /// [`Input::TakeBack`].
    TakeBack {
        /// The service's name.
        service: String,
        /// The server.
        server: SocketAddr,
        /// The operator's user ID.
        by: u32,
    },
    /// [`Input::Done`].
    Done {
        /// The IPVS service.
        key: ServiceKey,
        /// The steps, if they are not those that were asked for.
        steps: Option<Arc<[Step]>>,
        /// The places of those that failed, and why.
        failed: BTreeMap<usize, String>,
    },
    /// [`Input::RulesDone`]: they are now what was asked for.
    RulesDone,
    /// They are now something else.
    OtherRulesDone(Rules),
    /// They are not set.
    RulesNotDone(String),
    /// [`Input::Wake`].
    Wake,
    /// [`Input::Stop`].
    Stop,
    /// [`Input::Remove`].
    Remove,
}

/// What the writer and the reader know beside the core itself.
#[derive(Debug, Default)]
pub struct Known {
    /// The steps that are under way.
    asked: BTreeMap<ServiceKey, Arc<[Step]>>,
    /// The connection entries that were found last.
    connections: BTreeSet<(ServiceKey, DestinationKey)>,
}

impl Known {
    /// The core is about to be told this.
    pub fn told(&mut self, input: &Input) {
        match input {
            Input::Done(key, ..) => drop(self.asked.remove(key)),
            Input::FoundConnections(Ok(entries)) if *entries != self.connections => {
                self.connections.clone_from(entries);
            }
            _ => {}
        }
    }

    /// The core has asked for this.
    pub fn asked(&mut self, outputs: &[Output]) {
        for output in outputs {
            if let Output::Do(key, steps) = output {
                self.asked.insert(*key, Arc::clone(steps));
            }
        }
    }
}

impl Given {
    /// Of an input that `core` is about to be told.
    pub(super) fn of(input: &Input, core: &Core, known: &Known) -> Self {
        match input {
            Input::Config(config) => Self::Config(ConfigChange::between(&core.config, config)),
            Input::ReloadAsked(user) => Self::ReloadAsked(*user),
            Input::FoundServices(Ok(services)) => {
                let changes = ServiceChange::between(core.found.as_ref(), services);
                if changes.is_empty() { Self::ServicesAsKnown } else { Self::Services(changes) }
            }
            Input::FoundServices(Err(error)) => Self::NoServices(error.clone()),
            Input::Unchanged => Self::Unchanged,
            Input::FoundRules(Ok(FoundRules { rules, damage })) => {
                let same = core.rules.as_deref() == Some(rules) && damage.is_empty();
                let change = || RulesChange::between(core.rules.as_deref(), rules);
                if same { Self::RulesAsKnown } else { Self::Rules(change(), damage.clone()) }
            }
            Input::FoundRules(Err(error)) => Self::NoRules(error.clone()),
            Input::RulesTouched => Self::RulesTouched,
            Input::FoundSysctls(sysctls) if *sysctls == core.sysctls => Self::SysctlsAsKnown,
            Input::FoundSysctls(sysctls) => Self::Sysctls(MapChange::between(&core.sysctls, sysctls)),
            Input::FoundConnections(Ok(entries)) if *entries == known.connections => Self::ConnectionsAsKnown,
            Input::FoundConnections(Ok(entries)) => {
                Self::Connections(SetChange::between(&known.connections, entries))
            }
            Input::FoundConnections(Err(error)) => Self::NoConnections(error.clone()),
            Input::Verdict(verdict) => Self::Verdict(verdict.clone()),
            Input::Here(here) => Self::Here(here.clone()),
            Input::Override(it) => Self::Override(it.clone()),
            Input::TakeBack { service, server, by } => {
                Self::TakeBack { service: service.clone(), server: *server, by: *by }
            }
            Input::Done(key, steps, failed) => {
                let same = known.asked.get(key) == Some(steps);
                Self::Done { key: *key, steps: (!same).then(|| Arc::clone(steps)), failed: failed.clone() }
            }
            Input::RulesDone(Ok(rules)) if core.rules_asked.as_ref() == Some(rules) => Self::RulesDone,
            Input::RulesDone(Ok(rules)) => Self::OtherRulesDone(Rules::clone(rules)),
            Input::RulesDone(Err(error)) => Self::RulesNotDone(error.clone()),
            Input::Wake => Self::Wake,
            Input::Stop => Self::Stop,
            Input::Remove => Self::Remove,
        }
    }

    /// The input again, for a core that knows what the other knew; none if it cannot be one that was told this.
    pub(super) fn input(self, core: &Core, known: &Known) -> Option<Input> {
        let services = |changes| {
            let mut services = core.found.clone().unwrap_or_default();
            ServiceChange::apply(changes, &mut services);
            Input::FoundServices(Ok(FoundServices::into_iter(services).collect()))
        };
        let known_rules = || core.rules.clone().map(|rules| FoundRules { rules, damage: Vec::new() });
        Some(match self {
            Self::Config(change) => Input::Config(change.applied(&core.config)?),
            Self::ReloadAsked(user) => Input::ReloadAsked(user),
            Self::ServicesAsKnown => services(Vec::new()),
            Self::Services(changes) => services(changes),
            Self::NoServices(error) => Input::FoundServices(Err(error)),
            Self::Unchanged => Input::Unchanged,
            Self::RulesAsKnown => Input::FoundRules(Ok(known_rules()?)),
            Self::Rules(change, damage) => Input::FoundRules(Ok(FoundRules {
                rules: Arc::new(change.applied(core.rules.as_deref())),
                damage,
            })),
            Self::NoRules(error) => Input::FoundRules(Err(error)),
            Self::RulesTouched => Input::RulesTouched,
            Self::SysctlsAsKnown => Input::FoundSysctls(core.sysctls.clone()),
            Self::Sysctls(change) => {
                let mut sysctls = core.sysctls.clone();
                change.apply(&mut sysctls);
                Input::FoundSysctls(sysctls)
            }
            Self::ConnectionsAsKnown => Input::FoundConnections(Ok(known.connections.clone())),
            Self::Connections(change) => {
                let mut connections = known.connections.clone();
                change.apply(&mut connections);
                Input::FoundConnections(Ok(connections))
            }
            Self::NoConnections(error) => Input::FoundConnections(Err(error)),
            Self::Verdict(verdict) => Input::Verdict(verdict),
            Self::Here(here) => Input::Here(here),
            Self::Override(it) => Input::Override(it),
            Self::TakeBack { service, server, by } => Input::TakeBack { service, server, by },
            Self::Done { key, steps, failed } => {
                Input::Done(key, steps.or_else(|| known.asked.get(&key).cloned())?, failed)
            }
            Self::RulesDone => Input::RulesDone(Ok(core.rules_asked.clone()?)),
            Self::OtherRulesDone(rules) => Input::RulesDone(Ok(Arc::new(rules))),
            Self::RulesNotDone(error) => Input::RulesDone(Err(error)),
            Self::Wake => Input::Wake,
            Self::Stop => Input::Stop,
            Self::Remove => Input::Remove,
        })
    }
}
