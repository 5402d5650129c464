//! The promises, judged at every change of the kernel. The judge keeps its own books: what the core can know by now,
//! and what others have done behind its back, for which it is not to blame.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipvs_netlink::{DestinationKey, Flags, ServiceKey};

use super::kernel::{Errno, Kernel};
use super::replies::Replies;
use crate::core::Time;
use crate::core::evict::EXPIRE;
use crate::core::model::{Config, Drift, Factor, OnStop, Rules, Server, Service, TargetId, Vip};
use crate::core::overrides::Override;
use crate::core::plan::{Action, FoundService, FoundServices, Step};
use crate::core::{desired, model::Target};

/// After so many looks without it the core knows that a service is gone.
const LOOKS: u32 = 8;

/// How often each service was changed by somebody else, or by a step whose result was lost.
pub type Edits = BTreeMap<ServiceKey, u64>;

#[derive(Default)]
pub struct Promises {
    /// The first promise that was broken.
    pub broken: Option<String>,
    /// The config that the core has, and the services in it.
    pub config: BTreeMap<ServiceKey, Service>,
    /// The same without what operators say.
    pub plain: BTreeMap<ServiceKey, Service>,
    pub overrides: Vec<Override>,
    pub on_stop: OnStop,
    pub leaving: bool,
    /// The daemon was told to end.
    pub ending: bool,
    /// What the core is to put right: what the config names, and what it had before and nobody has taken since.
    pub ours: BTreeSet<ServiceKey>,
    /// What the core has asked to be created.
    pub created: BTreeSet<ServiceKey>,
    /// What it may still take for its own, having seen so many looks in a row without it.
    once_ours: BTreeMap<ServiceKey, u32>,
    pub foreign: FoundServices,
    pub edits: Edits,
    /// Others have changed the sysctls, too.
    pub sysctls_by_hand: bool,
    /// The edits that the core has been told of.
    pub known: Edits,
    /// The rules as the core was last told.
    pub known_rules: Option<Rules>,
    pub probed: Vec<Target>,
    /// The VIPs that are addresses of this machine.
    pub here: BTreeSet<IpAddr>,
    /// What was probed, and would be if its service were not suspended.
    pub asleep: Vec<Target>,
    pub told: BTreeMap<TargetId, (bool, Factor)>,
    replies: Replies,
    /// Servers that may be deleted with weight: their service was to have OPS when that was asked for.
    evicting: BTreeSet<(ServiceKey, DestinationKey)>,
    /// Servers that the config wants, and that were deleted to let their entries go.
    taken_out: BTreeSet<(ServiceKey, DestinationKey)>,
    /// Steps that may take the last weight of a service: a verdict or the config demanded it when they were asked for.
    demanded: Vec<(ServiceKey, Action)>,
    /// Steps that were done and not yet said to be done.
    done: Vec<(ServiceKey, Action)>,
}

impl Promises {
    pub fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// Whether the kernel's `key` is no longer what the core knew when it knew of these edits.
    pub fn blind(&self, key: &ServiceKey, known: &Edits) -> bool {
        // What is only reported is not looked at again.
        let reported = self.config.get(key).is_some_and(|service| service.drift == Drift::Report);
        self.edits.get(key) != known.get(key) || (reported && self.edits.contains_key(key))
    }

    /// The core has seen the kernel as it was after these edits.
    pub fn knows(&mut self, known: Edits) {
        self.replies.seen(|key| self.edits.get(key) == known.get(key));
        self.known = known;
    }

    /// The core has a config. What it takes over is as others left it.
    pub fn configured(&mut self, now: Time, kernel: &Kernel, config: &Config) {
        let services = desired::listens(config).map(|(key, place)| {
            let service = &config.services[place];
            (key, Service { ops: service.ops_at(Vip(key)), ..service.clone() })
        });
        self.plain = services.collect();
        self.operated();
        self.taken_out.clear();
        self.on_stop = config.on_stop;
        let before = self.ours.clone();
        self.once_ours.values_mut().for_each(|looks| *looks = 0);
        // What it has only taken over is left to others.
        let unnamed: Vec<ServiceKey> =
            before.iter().filter(|key| !self.config.contains_key(key)).copied().collect();
        for key in
            unnamed.into_iter().filter(|key| !self.created.contains(key) || self.once_ours.contains_key(key))
        {
            self.ours.remove(&key);
            self.replies.disowned(key);
        }
        self.ours.extend(self.config.keys());
        before.iter().for_each(|key| self.disowned(kernel, *key));
        self.watch(now, kernel, |key| !before.contains(key));
    }

    /// The core asks for these steps.
    pub fn asked(&mut self, kernel: &Kernel, key: ServiceKey, steps: &[Step]) {
        let ours = self.ours.contains(&key) || self.once_ours.contains_key(&key);
        self.must(ours, || format!("{key} is not ours: {steps:?}"));
        self.demanded.retain(|(of, _)| *of != key);
        for step in steps {
            let demanded = self.emptied_on_purpose(kernel, &key, &step.action);
            if demanded {
                self.demanded.push((key, step.action.clone()));
            }
            match &step.action {
                Action::DeleteServer(server) if self.wants(&key, server) => {
                    self.evicting.insert((key, *server));
                    self.taken_out.insert((key, *server));
                }
                Action::DeleteServer(server) if self.config.get(&key).is_none_or(|service| service.ops) => {
                    self.evicting.insert((key, *server));
                }
                Action::AddService(config) => {
                    self.created.insert(key);
                    self.once_ours.remove(&key);
                    let ops = self.config.get(&key).is_some_and(|service| service.ops);
                    let has = config.flags.contains(Flags::ONE_PACKET);
                    self.must(ops == has, || format!("{key} is created with OPS {has}, asked for is {ops}"));
                }
                Action::SetServer(server, config) | Action::AddServer(server, config)
                    if config.weight > 0 && !self.leaving =>
                {
                    self.may_have_weight(key, *server, &step.why);
                    let found = kernel.services.get(&key).and_then(|service| service.servers.get(server));
                    if !self.blind(&key, &self.known) && found.is_none_or(|found| found.weight == 0) {
                        self.has_rules(key, *server, config.forward);
                    }
                }
                _ => {}
            }
        }
    }

    /// Before the kernel's `key` is changed by anybody.
    pub fn before(&mut self, now: Time, kernel: &Kernel, key: ServiceKey) {
        if self.ours.contains(&key) {
            self.replies.leave(now, kernel, key);
        }
    }

    /// A step of ours was tried; `old` was there before.
    #[expect(clippy::too_many_arguments, reason = "all that there is to know about one step")]
    pub fn stepped(
        &mut self,
        now: Time,
        kernel: &Kernel,
        key: ServiceKey,
        action: &Action,
        old: Option<&FoundService>,
        result: Result<(), Errno>,
        known: &Edits,
    ) {
        let blind = self.blind(&key, known);
        for (foreign, service) in &self.foreign {
            let kept = kernel.services.get(foreign) == Some(service);
            if !kept && self.broken.is_none() {
                self.broken = Some(format!("{foreign} of others was touched by {action:?}"));
            }
        }
        if let Err(error) = result {
            let blind = self.edits.get(&key) != known.get(&key);
            return self.must(blind, || format!("{key} {action:?} is refused: {error:?}"));
        }
        self.done.push((key, action.clone()));
        let new = kernel.services.get(&key);
        self.must(blind || old != new, || format!("{key} {action:?} changes nothing"));
        if let (Action::AddService(asked), Some(new)) = (action, new) {
            let ops = |flags: &Flags| flags.contains(Flags::ONE_PACKET);
            self.must(ops(&asked.flags) == ops(&new.config.flags), || {
                format!("{key} is created with {:?}", new.config)
            });
        }
        if let (Action::DeleteServer(server), false) = (action, blind) {
            let weight = old.and_then(|old| old.servers.get(server)).map_or(0, |config| config.weight);
            let evicted = self.evicting.contains(&(key, *server));
            let expires =
                kernel.sysctls.get(EXPIRE).is_some_and(|value| value == "1") || self.sysctls_by_hand;
            self.must(weight == 0 || (evicted && expires), || {
                format!("{key} {server} is deleted with weight")
            });
            let on_the_way = self.replies.on_the_way(now, key, *server);
            self.must(!on_the_way || weight > 0 || expires, || {
                format!("{key} {server} is deleted with replies in flight")
            });
        }
        let weighted = |service: &FoundService| service.servers.values().any(|config| config.weight > 0);
        if !blind && old.is_some_and(weighted) && !new.is_some_and(weighted) {
            let demanded = self.demanded.iter().any(|(of, asked)| *of == key && asked == action);
            self.must(demanded, || format!("{key} is emptied by {action:?}"));
        }
        if blind {
            self.replies.forget_unseen(kernel, key);
        }
        if blind && matches!(action, Action::DeleteServer(_) | Action::DeleteService) {
            self.replies.nobody_can_tell(kernel, key);
        }
        self.watch(now, kernel, |other| blind && *other == key);
        self.disowned(kernel, key);
    }

    /// The rules were changed by us.
    pub fn ruled(&mut self, now: Time, kernel: &Kernel, known: &Edits) {
        self.replies.mended(&kernel.rules);
        let changed: BTreeSet<ServiceKey> =
            self.ours.iter().filter(|key| self.blind(key, known)).copied().collect();
        self.watch(now, kernel, |key| changed.contains(key));
    }

    /// Somebody else has changed this service, which was like this.
    pub fn by_hand(&mut self, now: Time, kernel: &Kernel, key: ServiceKey, before: Option<&FoundService>) {
        self.edited(now, kernel, key);
        self.replies.by_hand(kernel, key, before);
    }

    /// Somebody else has changed this service, or nobody knows what became of our own step.
    pub fn edited(&mut self, now: Time, kernel: &Kernel, key: ServiceKey) {
        *self.edits.entry(key).or_default() += 1;
        self.replies.nobody_can_tell(kernel, key);
        self.watch(now, kernel, |other| *other == key);
        self.disowned(kernel, key);
    }

    /// What the config does not name and is gone is ours no more.
    fn disowned(&mut self, kernel: &Kernel, key: ServiceKey) {
        let named = self.config.contains_key(&key);
        if !kernel.services.contains_key(&key) && !named && self.ours.remove(&key) {
            self.once_ours.insert(key, 0);
            self.replies.disowned(key);
        }
    }

    /// The core has looked.
    pub fn looked(&mut self, found: &BTreeSet<ServiceKey>) {
        self.once_ours.retain(|key, looks| {
            let there = found.contains(key) || self.config.contains_key(key);
            *looks = if there { 0 } else { *looks + 1 };
            if *looks == LOOKS {
                self.created.remove(key);
            }
            *looks < LOOKS
        });
    }

    /// Somebody else has changed the rules; they were like this.
    pub fn torn(&mut self, now: Time, kernel: &Kernel, before: &Rules) {
        self.replies.torn(before, &kernel.rules);
        self.watch(now, kernel, |_| true);
    }

    fn watch(&mut self, now: Time, kernel: &Kernel, excuse: impl Fn(&ServiceKey) -> bool) {
        let wrong = self.replies.judge(now, kernel, &self.ours, excuse);
        self.must(wrong.is_none(), || wrong.unwrap_or_default());
    }

    /// The core says that a step was done.
    pub fn said(&mut self, key: ServiceKey, action: &Action) {
        let place = self.done.iter().position(|(done, what)| *done == key && what == action);
        self.must(place.is_some(), || format!("{key} {action:?} was said to be done and was not"));
        place.map(|place| self.done.swap_remove(place));
    }

    /// A step found that what was to go is gone: that counts as done.
    pub fn gone(&mut self, key: ServiceKey, action: &Action) {
        self.done.push((key, action.clone()));
    }

    fn wants(&self, key: &ServiceKey, server: &DestinationKey) -> bool {
        let listed = |listed: &Server| listed.address == server.0;
        self.config.get(key).is_some_and(|service| service.ops && service.servers.iter().any(listed))
    }

    /// The core says that nothing is left to do and leaves all as it is.
    pub fn kept(&mut self, kernel: &Kernel) {
        let missing = |(key, server): &&(ServiceKey, DestinationKey)| {
            let missing = |service: &FoundService| !service.servers.contains_key(server);
            kernel.services.get(key).is_some_and(missing) && !self.blind(key, &self.known)
        };
        let out = self.taken_out.iter().find(missing).copied();
        self.must(out.is_none(), || format!("{out:?} is left out at the end"));
    }

    /// The core says that all of its own is gone.
    pub fn removed(&mut self, kernel: &Kernel) {
        let left = |key: &&ServiceKey| kernel.services.contains_key(key) && !self.blind(key, &self.known);
        let left = self.ours.iter().find(left).copied();
        self.must(left.is_none(), || format!("{left:?} is left and said to be removed"));
        let rule =
            kernel.rules.requests.iter().find(|vip| self.ours.contains(&ServiceKey::udp(**vip))).copied();
        self.must(rule.is_none(), || format!("the rules of {rule:?} are left and said to be removed"));
        self.ours.clear();
    }

    /// The core is gone, and what it knew.
    pub fn crashed(&mut self, kernel: &Kernel, own: &BTreeSet<ServiceKey>) {
        self.config.clear();
        self.plain.clear();
        // Whatever has happened to it meanwhile, the next one finds it written down.
        let (ours, once) = own.iter().partition(|key| self.ours.contains(key));
        self.ours = ours;
        self.created.clone_from(own);
        self.once_ours = once.into_iter().map(|key: ServiceKey| (key, 0)).collect();
        own.iter().for_each(|key| self.disowned(kernel, *key));
        self.leaving = false;
        self.ending = false;
        self.known.clear();
        self.known_rules = None;
        self.probed.clear();
        self.asleep.clear();
        self.told.clear();
        self.done.clear();
        self.demanded.clear();
        self.evicting.clear();
        self.taken_out.clear();
    }
}

pub fn is_ipv4(key: &ServiceKey) -> bool {
    matches!(key, ServiceKey::Address { address, .. } if address.is_ipv4())
}
