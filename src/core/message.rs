//! What the core is told and what it asks for. All of it can be written down, so that a history can be played again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipvs_netlink::{DestinationKey, ServiceKey};
use serde::{Deserialize, Serialize};

use super::Time;
use super::event::Event;
use super::memory::Memory;
use super::model::{Command, Config, Rules, Target, Verdict};
use super::overrides::Override;
use super::plan::{FoundService, Step};

/// What the core is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A config to go by from now on: at start, and after a reload.
    Config(Config),
    /// The operator with this user ID let the config be read again, which follows.
    ReloadAsked(u32),
    /// The services that the kernel holds; those of others without servers. Or why it could not be read.
    FoundServices(Result<Vec<(ServiceKey, FoundService)>, String>),
    /// The services are as they were at the last look, as far as a glance can tell.
    Unchanged,
    /// What the rules hold, or why they could not be read.
    FoundRules(Result<FoundRules, String>),
    /// Somebody, perhaps ipvsd itself, has changed the tables of the rules.
    RulesTouched,
    /// The sysctls of [`super::sysctls::watched`] that this kernel has.
    FoundSysctls(BTreeMap<String, String>),
    /// The connection entries of our services: VIP and server of each, once. Or why they could not be read.
    FoundConnections(Result<BTreeSet<(ServiceKey, DestinationKey)>, String>),
    /// A verdict changed.
    Verdict(Verdict),
    /// Which VIPs of services that may be suspended (`ha_suspend`) are addresses of this machine.
    Here(BTreeSet<IpAddr>),
    /// An operator gives a server another weight than the config's. It replaces what was said of that server before.
    Override(Override),
    /// An operator takes back what was said of a server.
    TakeBack {
        /// The service's name.
        service: String,
        /// The server.
        server: SocketAddr,
        /// The operator's user ID.
        by: u32,
    },
    /// These steps were done, but for those that failed: their places, and why.
    Done(ServiceKey, Arc<[Step]>, BTreeMap<usize, String>),
    /// The rules are now these, or why they are not.
    RulesDone(Result<Arc<Rules>, String>),
    /// The time that [`Output::Wake`] asked for has come.
    Wake,
    /// The daemon is to end.
    Stop,
    /// All that is ipvsd's own is to go; then [`Output::Finished`].
    Remove,
}

/// What the tables of the rules hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundRules {
    /// Their elements.
    pub rules: Arc<Rules>,
    /// What else would have to be mended, one change an entry.
    pub damage: Vec<String>,
}

/// What the core asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Output {
    /// Read all services, and the servers of these; answered by [`Input::FoundServices`].
    LookAtServices(BTreeSet<ServiceKey>),
    /// The same, if a glance shows a change; otherwise answered by [`Input::Unchanged`].
    GlanceAtServices(BTreeSet<ServiceKey>),
    /// Read the sysctls; answered by [`Input::FoundSysctls`].
    LookAtSysctls,
    /// Read the connection entries of these services; answered by [`Input::FoundConnections`].
    LookAtConnections(BTreeSet<ServiceKey>),
    /// Read the rules; answered by [`Input::FoundRules`].
    LookAtRules,
    /// Probe these and nothing else.
    Probe(Vec<Target>),
    /// Do these steps for one service in this order; answered by [`Input::Done`].
    Do(ServiceKey, Arc<[Step]>),
    /// Make the rules hold exactly this; answered by [`Input::RulesDone`].
    DoRules(Arc<Rules>),
    /// Set a sysctl; whether it worked is seen at the next look.
    SetSysctl {
        /// Its name.
        key: String,
        /// Its value now.
        old: String,
        /// The value that it gets.
        value: String,
        /// Why.
        why: String,
    },
    /// Write this down before anything else is done.
    Remember(Memory),
    /// Give [`Input::Wake`] at this time. A later one replaces it.
    Wake(Time),
    /// Run this command; those of one service one after the other. Nothing answers.
    Run(Hook),
    /// Somebody who hears of every verdict (`[notify]`) is told this. Nothing answers.
    Tell(Turned),
    /// Something to log.
    Say(Event),
    /// Nothing is left to do; the daemon may end.
    Finished {
        /// All that is ipvsd's own is gone.
        removed: bool,
    },
}

/// The verdict of a server, or the quorum of a service, is known or has turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Turned {
    /// The IPVS service.
    pub key: ServiceKey,
    /// The server; none: the quorum.
    pub server: Option<DestinationKey>,
    /// Whether the server is up, or the quorum reached.
    pub up: bool,
}

/// A command to run, and what it is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hook {
    /// The service's name.
    pub service: String,
    /// The IPVS service.
    pub key: ServiceKey,
    /// Whose verdict has turned; none: the service's quorum.
    pub server: Option<DestinationKey>,
    /// Whether it is up, or the quorum is reached.
    pub up: bool,
    /// The servers that are up.
    pub servers: Vec<DestinationKey>,
    /// What runs.
    pub command: Arc<Command>,
}
