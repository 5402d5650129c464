//! From what is found to what is wanted, one service at a time, in steps of which every prefix is safe.
//!
//! A plan holds only what may be done now: what must wait for a rule, for another server's weight or for
//! replies in flight comes in a later plan. So plan, apply, plan again reaches an empty plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipvs_netlink::{DestinationConfig, DestinationKey, Flags, ServiceConfig, ServiceKey};
use serde::{Deserialize, Serialize};

use super::difference::of_service;
use super::drift::Thing;
use super::model::Rules;
use super::pool::Due;
use super::rules::Need;

/// The services that the kernel holds; those of others without their servers.
pub type FoundServices = BTreeMap<ServiceKey, FoundService>;

/// A service that the kernel holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundService {
    /// Its configuration.
    pub config: ServiceConfig,
    /// Its destinations. Whoever has seen them holds the same ones.
    pub servers: Arc<BTreeMap<DestinationKey, DestinationConfig>>,
}

impl FoundService {
    /// Its destinations, to be changed for this holder alone.
    pub fn servers_mut(&mut self) -> &mut BTreeMap<DestinationKey, DestinationConfig> {
        Arc::make_mut(&mut self.servers)
    }
}

/// A service that the kernel is to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its configuration.
    pub config: ServiceConfig,
    /// What must be in the rules before it may exist.
    pub need: Option<Need>,
    /// Its servers.
    pub servers: BTreeMap<DestinationKey, WantedServer>,
}

/// A server that the kernel is to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedServer {
    /// Its configuration, with weight 0.
    pub config: DestinationConfig,
    /// Its weight when it is up; 0 for a fallback, which nobody waits for.
    pub full: u32,
    /// That is what an operator says.
    pub operated: bool,
    /// Its weight now.
    pub due: Due,
    /// What must be in the rules before it may have weight.
    pub need: Option<Need>,
}

/// One change of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// Why, in words for the log.
    pub why: String,
}

/// What a [`Step`] does; each is one netlink message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// NEW_SERVICE.
    AddService(ServiceConfig),
    /// SET_SERVICE.
    SetService(ServiceConfig),
    /// DEL_SERVICE.
    DeleteService,
    /// NEW_DEST.
    AddServer(DestinationKey, DestinationConfig),
    /// SET_DEST.
    SetServer(DestinationKey, DestinationConfig),
    /// DEL_DEST.
    DeleteServer(DestinationKey),
}

impl Action {
    /// What it changes.
    pub fn thing(&self) -> Thing {
        match self {
            Self::AddService(_) | Self::SetService(_) | Self::DeleteService => Thing::Service,
            Self::AddServer(server, _) | Self::SetServer(server, _) | Self::DeleteServer(server) => {
                Thing::Server(*server)
            }
        }
    }

    /// Whether it takes the last weight from a server: such steps go before all others.
    pub fn stops_traffic(&self) -> bool {
        matches!(self, Self::SetServer(_, config) if config.weight == 0)
    }
}

/// What the plan of one service depends on beside what is wanted and found.
pub struct Circumstances<'a, F: Fn(&DestinationKey) -> bool> {
    /// What the rules hold.
    pub rules: &'a Rules,
    /// What they will hold when the transaction is over that is under way; without one, the same.
    pub to_be: &'a Rules,
    /// Whether a server that nobody wants has had weight 0 for long enough.
    pub drained: F,
    /// Its last servers go even if nobody wanted takes over: others wait for them, and it for theirs.
    pub gives_up: bool,
    /// Why nobody wants what is not wanted, in words for the log.
    pub unwanted: &'static str,
}

/// Whether the kernel's `found` is what `wanted` asks for. HASHED is the kernel's own flag.
pub fn same_service(found: &ServiceConfig, wanted: &ServiceConfig) -> bool {
    ServiceConfig { flags: found.flags.without_hashed(), ..found.clone() } == *wanted
}

/// The steps that may be done now for one service; `wanted` none is a service that goes.
pub fn plan<F: Fn(&DestinationKey) -> bool>(
    wanted: Option<&Wanted>,
    found: Option<&FoundService>,
    circumstances: &Circumstances<'_, F>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    match (wanted, found) {
        (None, None) => {}
        (Some(wanted), None) => {
            if circumstances.hold(&wanted.need) {
                steps.push(step(Action::AddService(wanted.config.clone()), "in the config"));
                servers(wanted, &BTreeMap::new(), circumstances, &mut steps);
            }
        }
        (Some(wanted), Some(found)) => {
            if !same_service(&found.config, &wanted.config) && ready(wanted, found, circumstances) {
                let why = service_difference(&found.config, &wanted.config);
                steps.push(step(Action::SetService(wanted.config.clone()), &why));
            }
            servers(wanted, &found.servers, circumstances, &mut steps);
            // These very steps may take the weight of the last one that is wanted.
            let stays = |server: &WantedServer| server.due.weight != Some(0);
            let weighted = |(server, config): (_, &DestinationConfig)| {
                config.weight > 0 && wanted.servers.get(server).is_some_and(stays)
            };
            let spared = found.servers.iter().any(weighted)
                || wanted.servers.values().all(|server| server.full == 0)
                || circumstances.gives_up;
            unwanted(Some(wanted), found, spared, circumstances, &mut steps);
        }
        (None, Some(found)) => {
            unwanted(None, found, true, circumstances, &mut steps);
            if found.servers.keys().all(|server| (circumstances.drained)(server))
                && found.servers.values().all(|config| config.weight == 0)
            {
                steps.push(step(Action::DeleteService, circumstances.unwanted));
            }
        }
    }
    steps
}

fn step(action: Action, why: &str) -> Step {
    Step { action, why: why.to_owned() }
}

impl<F: Fn(&DestinationKey) -> bool> Circumstances<'_, F> {
    fn hold(&self, need: &Option<Need>) -> bool {
        need.as_ref().is_none_or(|need| self.rules.hold(need) && self.to_be.hold(need))
    }
}

/// Whether an existing service may become what is wanted: where OPS is turned on, the replies of all that have weight
/// need their rules, wanted or not.
fn ready<F: Fn(&DestinationKey) -> bool>(
    wanted: &Wanted,
    found: &FoundService,
    circumstances: &Circumstances<'_, F>,
) -> bool {
    let Some(Need::Request(vip)) = wanted.need else { return true };
    let mut weighted = found.servers.iter().filter(|(_, config)| config.weight > 0);
    let mut held = || {
        weighted.all(|(server, config)| circumstances.hold(&Need::of_server(vip, server.0, config.forward)))
    };
    circumstances.hold(&wanted.need) && (found.config.flags.contains(Flags::ONE_PACKET) || held())
}

/// The wanted servers: weight is raised before it is lowered.
fn servers<F: Fn(&DestinationKey) -> bool>(
    wanted: &Wanted,
    found: &BTreeMap<DestinationKey, DestinationConfig>,
    circumstances: &Circumstances<'_, F>,
    steps: &mut Vec<Step>,
) {
    let mut lowering = Vec::new();
    for (key, server) in &wanted.servers {
        let before = found.get(key);
        let has = before.map_or(0, |config| config.weight);
        let due = server.due.weight.unwrap_or(has);
        let may = circumstances.hold(&wanted.need) && circumstances.hold(&server.need);
        let weight = if may { due } else { due.min(has) };
        // With another forwarding its replies would need the rules that are not there.
        let forward = before.filter(|_| !may).map_or(server.config.forward, |before| before.forward);
        let config = DestinationConfig { weight, forward, ..server.config };
        // With weight before and its full weight after, it is not the verdict that changes it.
        let full = has > 0 && config.weight == server.full && !server.operated;
        let why = if full { "in the config" } else { &server.due.why };
        match before {
            // Without weight, so that no server gets everything while the others are still being added.
            None => steps.push(step(Action::AddServer(*key, server.config), "in the config")),
            Some(before) if *before == config => {}
            Some(_) if config.weight < has => {
                lowering.push(step(Action::SetServer(*key, config), why));
            }
            Some(_) => steps.push(step(Action::SetServer(*key, config), why)),
        }
    }
    steps.append(&mut lowering);
}

/// The servers that nobody wants: weight 0 as soon as the pool can spare them, gone when drained.
fn unwanted<F: Fn(&DestinationKey) -> bool>(
    wanted: Option<&Wanted>,
    found: &FoundService,
    spared: bool,
    circumstances: &Circumstances<'_, F>,
    steps: &mut Vec<Step>,
) {
    let why = circumstances.unwanted;
    for (key, config) in &*found.servers {
        if wanted.is_some_and(|wanted| wanted.servers.contains_key(key)) {
            continue;
        }
        if config.weight > 0 {
            if spared {
                let config = DestinationConfig { weight: 0, ..*config };
                steps.push(step(Action::SetServer(*key, config), why));
            }
        } else if (circumstances.drained)(key) {
            steps.push(step(Action::DeleteServer(*key), why));
        }
    }
}

/// In words: `scheduler rr → wrr`; empty if there is none.
pub fn service_difference(found: &ServiceConfig, wanted: &ServiceConfig) -> String {
    let words = of_service(Some(found), wanted).into_iter().map(|difference| match difference.field {
        "scheduler" => format!("{difference} (about 20 ms of loss)"),
        _ => difference.to_string(),
    });
    words.collect::<Vec<_>>().join(", ")
}
