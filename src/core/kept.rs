//! What the rules go on holding when nobody needs it any more: the replies of a server that has just lost its weight, or
//! its place, may still be on the way, whatever the reason was and whatever becomes of the server.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_netlink::{Flags, Protocol, ServiceKey};

use super::Time;
use super::model::Rules;
use super::plan::FoundService;
use super::rules::Need;

/// What is kept, and until when.
#[derive(Debug, Default)]
pub struct Kept(BTreeMap<Need, Time>);

impl Kept {
    /// The service changes in the kernel: what it needs no longer stays in the rules until then, if they hold it.
    pub fn lost(
        &mut self,
        key: &ServiceKey,
        before: Option<&FoundService>,
        after: Option<&FoundService>,
        hold: impl Fn(&Need) -> bool,
        until: Time,
    ) {
        // Where only both ends are seen, OPS may have come before a server went.
        let ops = [before, after].into_iter().flatten().any(has_ops);
        let before = before.filter(|_| ops).map(|service| needs(key, service)).unwrap_or_default();
        let after =
            after.filter(|service| has_ops(service)).map(|service| needs(key, service)).unwrap_or_default();
        self.0.extend(before.difference(&after).filter(|need| hold(need)).map(|need| (*need, until)));
    }

    /// The rules are read for the first time: why they hold what they hold is not known, so all of it stays until then.
    pub fn adopt(&mut self, held: &Rules, until: impl Fn(&ServiceKey) -> Time) {
        let requests = held.requests.iter().map(|vip| (Need::Request(*vip), vip));
        let replies =
            held.replies.iter().map(|(server, vip)| (Need::Reply { server: *server, vip: *vip }, vip));
        self.0.extend(requests.chain(replies).map(|(need, vip)| (need, until(&ServiceKey::udp(*vip)))));
    }

    /// Forgets what has been kept for long enough.
    pub fn forget(&mut self, now: Time) {
        self.0.retain(|_, until| *until > now);
    }

    /// What is kept.
    pub fn needs(&self) -> impl Iterator<Item = Need> {
        self.0.keys().copied()
    }

    /// When anything has been kept for long enough.
    pub fn times(&self) -> impl Iterator<Item = Time> {
        self.0.values().copied()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn has_ops(service: &FoundService) -> bool {
    service.config.flags.contains(Flags::ONE_PACKET)
}

/// What the replies of all servers with weight need of the rules, if the service has OPS.
fn needs(key: &ServiceKey, service: &FoundService) -> BTreeSet<Need> {
    let ServiceKey::Address { protocol: Protocol::UDP, address: vip } = *key else { return BTreeSet::new() };
    let weighted = service.servers.iter().filter(|(_, config)| config.weight > 0);
    let of_server = weighted.flat_map(|(server, config)| {
        [Some(Need::Request(vip)), Need::of_server(vip, server.0, config.forward)]
    });
    of_server.flatten().collect()
}
