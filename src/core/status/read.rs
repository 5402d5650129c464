//! How everything stands, as the core knows it.

use std::collections::BTreeMap;

use ipvs_netlink::{DestinationKey, ServiceKey};

use super::{CheckStatus, ServerStatus, ServiceStatus, Status};
use crate::core::difference::forward;
use crate::core::model::{Factor, Server, Service, TargetId, Vip};
use crate::core::pool::{Known, Member, Pool, Standing};
use crate::core::{Core, Time, desired};

impl Core {
    /// How everything stands.
    pub fn status(&self, now: Time) -> Status {
        Status {
            now,
            read: self.read,
            ready: self.unready().is_none(),
            failing: self.retries.errors().map(str::to_owned).collect(),
            services: desired::listens(&self.config)
                .filter_map(|(key, place)| self.service_status(key, place))
                .collect(),
            overrides: self.memory.overrides.clone(),
            counted: None,
        }
    }

    /// Why it is not [ready](Status::ready), if it is not.
    pub fn unready(&self) -> Option<String> {
        if !self.started || self.next.is_some() {
            return Some("the kernel has not been read yet".to_owned());
        }
        if let Some(error) = self.retries.errors().next() {
            return Some(error.to_owned());
        }
        let waits = |(key, pool): &(&ServiceKey, &Pool)| {
            !pool.settled() && !self.service(key).is_some_and(|service| self.suspended(service))
        };
        let unsettled = self.pools.iter().filter(waits).count();
        if unsettled > 0 {
            return Some(format!("{unsettled} of {} VIPs wait for first verdicts", self.pools.len()));
        }
        if let Some(left) = self.left() {
            return Some(left);
        }
        let busy = !self.busy.is_empty() || self.rules_asked.is_some();
        busy.then(|| "changes of the kernel are under way".to_owned())
    }

    fn service_status(&self, key: ServiceKey, place: usize) -> Option<ServiceStatus> {
        let (service, pool) = (&self.config.services[place], self.pools.get(&key)?);
        let found = self.found.as_ref().and_then(|found| found.get(&key));
        let weight =
            |server: &DestinationKey| found.and_then(|found| Some(found.servers.get(server)?.weight));
        let listed = desired::servers_of(service, key).filter_map(|server| {
            let key = DestinationKey(server.address);
            let member = pool.members.get(&key)?;
            let due = pool.due(&key)?;
            Some(ServerStatus {
                address: server.address,
                configured: Some(member.weight),
                weight: weight(&key),
                due: due.weight,
                why: due.why,
                fallback: member.fallback,
                verdict: member.standing(),
                since: member.since,
                operator: self.override_of(&service.name, server.address).cloned(),
                traffic: None,
                checks: self.checks(service, server, member),
            })
        });
        let leaving = found
            .iter()
            .flat_map(|found| found.servers.keys())
            .filter(|server| !pool.members.contains_key(server));
        let leaving = leaving.map(|server| ServerStatus {
            address: server.0,
            configured: None,
            weight: weight(server),
            due: Some(0),
            why: "not in the config".to_owned(),
            fallback: false,
            verdict: Standing::Unchecked,
            since: None,
            operator: None,
            traffic: None,
            checks: Vec::new(),
        });
        Some(ServiceStatus {
            name: service.name.clone(),
            vip: Vip(key),
            ops: service.ops_at(Vip(key)),
            scheduler: service.scheduler.to_string(),
            forward: forward(service.forward),
            present: found.is_some(),
            suspended: self.suspended(service),
            up: pool.alive().count(),
            minimum: pool.minimum(),
            when_all_down: service.policy.when_all_down,
            slow_start: service.policy.slow_start,
            health: pool.health(),
            quorum: self.quorums.get(&key).and_then(|quorum| quorum.reached()),
            traffic: None,
            drift: self.drifted.get(&key).cloned(),
            servers: listed.chain(leaving).collect(),
        })
    }

    fn checks(&self, service: &Service, server: &Server, member: &Member) -> Vec<CheckStatus> {
        let known: BTreeMap<TargetId, &Known> =
            member.checks.iter().map(|(target, known)| (*target, known)).collect();
        let checks = service.checks_of(server).iter().filter_map(|check| {
            let address = check.target(server.address);
            let place =
                self.targets.binary_search_by(|(known, _)| known.cmp(&(address, check.clone()))).ok()?;
            let target = self.targets[place].1;
            let (up, reason, factor) = match known.get(&target)? {
                Known::Unknown => (None, "", Factor::FULL),
                Known::Up { reason, factor } => (Some(true), &**reason, *factor),
                Known::Down { reason, .. } => (Some(false), &**reason, Factor::FULL),
            };
            Some(CheckStatus {
                target,
                check: check.probe.name().to_owned(),
                address,
                interval: check.interval,
                timeout: check.timeout,
                rise: check.rise,
                fall: check.fall,
                up,
                reason: reason.to_owned(),
                factor,
                last: None,
            })
        });
        checks.collect()
    }
}
