//! Who may have weight, and which pool may be emptied: the promises that hang on verdicts.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipvs_netlink::{DestinationKey, Forward, ServiceKey};

use super::configs::rewritten;
use super::kernel::Kernel;
use super::promises::{Promises, is_ipv4};
use crate::core::model::{Factor, Service, WhenAllDown};
use crate::core::plan::{Action, FoundService};
use crate::core::rules::Need;

impl Promises {
    /// A server whose verdict is down gets nothing while another is up.
    pub(super) fn may_have_weight(&mut self, key: ServiceKey, server: DestinationKey, why: &str) {
        let Some(service) = self.config.get(&key) else { return };
        let others = service.servers.iter().filter(|other| {
            other.address != server.0 && other.weight > 0 && other.address.is_ipv4() == server.0.is_ipv4()
        });
        let up = others.filter(|other| self.verdict(service, other.address) == Some(true)).count();
        let down = self.verdict(service, server.0) == Some(false);
        let refuse = service.policy.when_all_down == WhenAllDown::Refuse;
        self.must(!(down && (up > 0 || refuse)), || {
            format!("{key} {server} is down and gets weight ({why})")
        });
    }

    /// As far as the core can know.
    pub(super) fn has_rules(&mut self, key: ServiceKey, server: DestinationKey, forward: Forward) {
        let ServiceKey::Address { address: vip, .. } = key else { return };
        let need = Need::of_server(vip, server.0, forward);
        let ops = self.config.get(&key).is_some_and(|service| service.ops);
        let known = self.known_rules.as_ref();
        let holds = known.is_some_and(|rules| {
            rules.hold(&Need::Request(vip)) && need.is_none_or(|need| rules.hold(&need))
        });
        self.must(!ops || holds, || format!("{key} {server} is to get weight before its rule"));
    }

    /// Whether this server is to have weight, by the last verdict that the core was told of it.
    pub fn verdict(&self, service: &Service, server: SocketAddr) -> Option<bool> {
        self.weight_when_up(service, server).map(|weight| weight > 0)
    }

    /// The weight that follows from that verdict; 0 if it is down.
    pub fn weight_when_up(&self, service: &Service, server: SocketAddr) -> Option<u32> {
        let listed = service.servers.iter().find(|listed| listed.address == server)?;
        let check = service.checks_of(listed).first()?;
        let target = self
            .probed
            .iter()
            .chain(&self.asleep)
            .find(|target| target.address == check.target(server) && target.check == *check);
        let (up, factor) = target.and_then(|target| self.told.get(&target.id).copied())?;
        let operated = self.overrides.iter().any(|it| it.is_for(&service.name, server));
        let weight = match (listed.weight, factor) {
            (0, _) | (_, Factor::Percent(0)) => 0,
            (weight, Factor::Percent(percent)) => (weight * percent / 100).max(1),
            (weight, Factor::Weight { .. }) if operated => weight,
            (_, Factor::Weight { weight }) => weight,
            (weight, Factor::Added { added }) => weight.saturating_add_signed(added),
        };
        Some(if up { weight } else { 0 })
    }

    /// A verdict or the config demands it, or there is no other way to what the config asks for.
    pub(super) fn emptied_on_purpose(&self, kernel: &Kernel, key: &ServiceKey, action: &Action) -> bool {
        let Some(service) = self.config.get(key).filter(|_| !self.leaving) else {
            return !matches!(action, Action::DeleteService);
        };
        let mut servers = service.servers.iter().filter(|server| server.address.is_ipv4() == is_ipv4(key));
        if servers.clone().all(|server| server.weight == 0) {
            return true;
        }
        let Action::SetServer(server, _) = action else { return false };
        servers.any(|listed| listed.address == server.0 && listed.weight == 0)
            || self.verdict(service, server.0) == Some(false)
            || self.reaches(kernel, *key, *key, &mut BTreeSet::new())
    }

    /// Whether `from` waits, for itself or for others that do, for a server that is to leave `to` for it.
    fn reaches(
        &self,
        kernel: &Kernel,
        from: ServiceKey,
        to: ServiceKey,
        seen: &mut BTreeSet<ServiceKey>,
    ) -> bool {
        let Some(service) = self.config.get(&from) else { return false };
        let due = service.servers.iter().filter(|server| {
            rewritten(service, server.address)
                && server.weight > 0
                && self.verdict(service, server.address) != Some(false)
        });
        let others = due.filter_map(|server| {
            let other = ServiceKey::udp(*self.known_rules.as_ref()?.replies.get(&server.address)?);
            let has = |service: &FoundService| {
                service.servers.get(&DestinationKey(server.address)).is_some_and(|config| config.weight > 0)
            };
            let has = self.blind(&other, &self.known) || kernel.services.get(&other).is_some_and(has);
            (other != from && has && is_ipv4(&other) == is_ipv4(&from)).then_some(other)
        });
        let others: Vec<ServiceKey> = others.collect();
        others
            .into_iter()
            .any(|other| other == to || (seen.insert(other) && self.reaches(kernel, other, to, seen)))
    }
}
