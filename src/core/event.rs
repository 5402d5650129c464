//! What the core has to say: one event for each change. The daemon words them for the log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipvs_netlink::{DestinationConfig, DestinationKey, ServiceConfig, ServiceKey};
use serde::{Deserialize, Serialize};

use super::drift::{Ruling, Thing};
use super::overrides::Override;
use super::plan::Step;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A step was done.
    Done {
        /// The service's name in the config; none if the config no longer has it.
        service: Option<String>,
        /// The IPVS service.
        key: ServiceKey,
        /// What was done and why.
        step: Step,
        /// What was there before.
        before: Before,
    },
    /// A service, the rules or a look at the kernel failed; it is tried again.
    Failed {
        /// What was tried, and what the kernel said.
        error: String,
    },
    /// What failed works again.
    Works {
        /// What.
        what: String,
    },
    /// A verdict that changes no weight.
    Verdict {
        /// The service's name.
        service: String,
        /// The IPVS service.
        key: ServiceKey,
        /// The server.
        server: DestinationKey,
        /// Up or down.
        up: bool,
        /// Why.
        reason: String,
    },
    /// The last server of an IPVS service went down.
    AllDown {
        /// The service's name.
        service: String,
        /// The IPVS service.
        key: ServiceKey,
        /// The servers that keep their weight.
        kept: BTreeSet<DestinationKey>,
    },
    /// Fewer servers are up than `min_healthy`.
    TooFew {
        /// The service's name.
        service: String,
        /// The IPVS service.
        key: ServiceKey,
        /// So many.
        up: usize,
        /// The servers that have weight now, up or not.
        kept: BTreeSet<DestinationKey>,
    },
    /// After that, enough servers are up again.
    Recovered {
        /// The service's name.
        service: String,
        /// The IPVS service.
        key: ServiceKey,
    },
    /// The quorum of an IPVS service is reached or lost; said once when it is first known.
    Quorum {
        /// The service's name.
        service: String,
        /// The IPVS service.
        key: ServiceKey,
        /// Reached or lost.
        reached: bool,
    },
    /// The VIPs of a service with `ha_suspend` have all left this machine, or one of them has come.
    Suspended {
        /// The service's name.
        service: String,
        /// Its servers are not probed.
        suspended: bool,
    },
    /// The config does not name this service any more, and ipvsd did not create it: it is left as it is.
    Left {
        /// The IPVS service.
        key: ServiceKey,
    },
    /// Somebody else changed a service.
    Drift {
        /// The service's name in the config; none if the config no longer has it.
        service: Option<String>,
        /// The IPVS service.
        key: ServiceKey,
        /// What has drifted.
        thing: Thing,
        /// How.
        what: String,
        /// Whether it is repaired; none where drift is only reported.
        ruling: Option<Ruling>,
    },
    /// Somebody else changed the tables of the reply rules.
    RulesDrift {
        /// So many VIPs are left.
        requests: usize,
        /// So many servers are left.
        replies: usize,
        /// What is to be mended beside them.
        damage: Vec<String>,
        /// It was so again and again.
        again: bool,
    },
    /// Connection entries pin clients to a server that cannot be spared yet: no other has weight.
    EvictionPostponed {
        /// The IPVS service.
        key: ServiceKey,
        /// The server.
        server: DestinationKey,
    },
    /// Servers that are up get weight later: their replies still leave from another VIP.
    Waits {
        /// The service's name.
        service: String,
        /// The IPVS service.
        key: ServiceKey,
        /// Each server, and the VIP and port that it still answers for.
        servers: BTreeMap<DestinationKey, SocketAddr>,
    },
    /// This service gives its last servers up: in a circle, each of these waits for a server of the next.
    GivesUp {
        /// The service's name.
        service: String,
        /// The IPVS service.
        key: ServiceKey,
        /// All of the circle, this one first.
        circle: Vec<ServiceKey>,
    },
    /// An operator let the config be read again.
    ReloadAsked {
        /// The operator's user ID.
        by: u32,
    },
    /// An operator has given a server another weight.
    Overridden(Override),
    /// That is no more.
    TakenBack {
        /// What was said.
        it: Override,
        /// The operator's user ID; none: its time is over.
        by: Option<u32>,
    },
    /// The reply rules were changed.
    Rules {
        /// So many VIPs of OPS services.
        requests: usize,
        /// So many servers whose replies are rewritten.
        replies: usize,
    },
}

/// What was there before a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// A service of this configuration.
    Service(ServiceConfig),
    /// A server of this configuration.
    Server(DestinationConfig),
}
