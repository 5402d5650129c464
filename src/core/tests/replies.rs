//! Whether every reply has its rules, judged at each change of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipvs_netlink::{DestinationKey, Flags, ServiceKey};

use super::kernel::Kernel;
use crate::core::Time;
use crate::core::model::Rules;
use crate::core::plan::FoundService;
use crate::core::rules::Need;

/// Replies may be on the way for so long after their server has lost its weight.
const REPLY_TIME: Duration = Duration::from_secs(1);

/// What a server of a service needs.
type Needed = (ServiceKey, DestinationKey, Need);

#[derive(Default)]
pub struct Replies {
    /// Until when replies may be on the way.
    in_flight: BTreeMap<Needed, Time>,
    /// Servers that somebody else gave weight to without a rule, and replies whose rule somebody took.
    excused: BTreeSet<Needed>,
    /// What others took from the rules.
    torn: Rules,
    /// Servers that somebody else gave weight, perhaps without the core seeing it before it takes it back.
    unseen: BTreeSet<Needed>,
}

impl Replies {
    /// The kernel's `key` is about to change: whoever has weight has replies on the way.
    pub fn leave(&mut self, now: Time, kernel: &Kernel, key: ServiceKey) {
        let needed = kernel.services.get(&key).into_iter().flat_map(|service| needed(key, service));
        // What goes into a tunnel is there at once.
        let replies = needed.filter(|(_, _, need)| !matches!(need, Need::Outer(_)));
        self.in_flight.extend(replies.map(|needed| (needed, now + REPLY_TIME)));
    }

    /// Whether replies of this server may be on the way.
    pub fn on_the_way(&self, now: Time, key: ServiceKey, server: DestinationKey) -> bool {
        self.in_flight.iter().any(|((of, from, _), until)| (*of, *from) == (key, server) && *until > now)
    }

    /// Replies of servers that somebody else has removed, or that were removed while they had changed, are on nobody's list.
    pub fn nobody_can_tell(&mut self, kernel: &Kernel, key: ServiceKey) {
        let service = kernel.services.get(&key);
        let service = service.filter(|service| service.config.flags.contains(Flags::ONE_PACKET));
        let has =
            |server: &DestinationKey| service.is_some_and(|service| service.servers.contains_key(server));
        self.in_flight.retain(|(service, server, _), _| *service != key || has(server));
    }

    /// Somebody else has changed a service.
    pub fn by_hand(&mut self, kernel: &Kernel, key: ServiceKey, before: Option<&FoundService>) {
        self.forget_unseen(kernel, key);
        let of = |service: Option<&FoundService>| -> BTreeSet<Needed> {
            service.map(|service| needed(key, service).into_iter().collect()).unwrap_or_default()
        };
        self.unseen.extend(of(kernel.services.get(&key)).difference(&of(before)));
    }

    /// Somebody has taken a service of which the core need not know any more.
    pub fn disowned(&mut self, key: ServiceKey) {
        self.in_flight.retain(|(service, _, _), _| *service != key);
    }

    /// The core has seen these services.
    pub fn seen(&mut self, seen: impl Fn(&ServiceKey) -> bool) {
        self.unseen.retain(|(key, _, _)| !seen(key));
    }

    /// A service was changed that the core did not know as it was: of replies under a weight that somebody gave and that
    /// is gone before the core can have seen it, it cannot know.
    pub fn forget_unseen(&mut self, kernel: &Kernel, key: ServiceKey) {
        let needed = kernel.services.get(&key).map(|service| needed(key, service)).unwrap_or_default();
        for gone in self.unseen.extract_if(.., |unseen| unseen.0 == key && !needed.contains(unseen)) {
            self.in_flight.remove(&gone);
        }
    }

    /// Somebody else has changed the rules; they were like this.
    pub fn torn(&mut self, before: &Rules, now: &Rules) {
        self.torn.requests.extend(before.requests.difference(&now.requests));
        self.torn.tunnels.extend(before.tunnels.difference(&now.tunnels));
        let gone = before.replies.iter().filter(|(server, vip)| now.replies.get(server) != Some(vip));
        self.torn.replies.extend(gone);
    }

    /// The rules were changed by us: what was torn out is there again.
    pub fn mended(&mut self, now: &Rules) {
        self.torn.requests.retain(|vip| !now.requests.contains(vip));
        self.torn.tunnels.retain(|outer| !now.tunnels.contains(outer));
        self.torn.replies.retain(|server, vip| now.replies.get(server) != Some(vip));
    }

    /// Every server with weight or with replies on the way has its rules; where somebody else is to blame it is excused.
    /// What is wrong, if anything.
    pub fn judge(
        &mut self,
        now: Time,
        kernel: &Kernel,
        ours: &BTreeSet<ServiceKey>,
        excuse: impl Fn(&ServiceKey) -> bool,
    ) -> Option<String> {
        self.in_flight.retain(|_, until| *until > now);
        let services = kernel.services.iter().filter(|(key, _)| ours.contains(key));
        let works: BTreeSet<Needed> = services.flat_map(|(key, service)| needed(*key, service)).collect();
        let all: BTreeSet<Needed> = self.in_flight.keys().chain(&works).copied().collect();
        self.excused.retain(|needed| all.contains(needed));
        let mut wrong = None;
        for needed @ (key, server, need) in all {
            if kernel.rules.hold(&need) {
                // For replies that were on the way when somebody took their rule, it comes too late.
                if works.contains(&needed) {
                    self.excused.remove(&needed);
                }
            } else if self.torn.hold(&need) || excuse(&key) {
                self.excused.insert(needed);
            } else if !self.excused.contains(&needed) {
                wrong = Some(format!("{key} {server}: no rule {need:?}"));
            }
        }
        wrong
    }
}

/// What the servers with weight of an OPS service need.
fn needed(key: ServiceKey, service: &FoundService) -> Vec<Needed> {
    let ServiceKey::Address { address: vip, .. } = key else { return Vec::new() };
    let ops = service.config.flags.contains(Flags::ONE_PACKET);
    let weighted = service.servers.iter().filter(|(_, config)| ops && config.weight > 0);
    let needs = weighted.flat_map(|(server, config)| {
        let needs = [Some(Need::Request(vip)), Need::of_server(vip, server.0, config.forward)];
        needs.into_iter().flatten().map(move |need| (key, *server, need))
    });
    needs.collect()
}
