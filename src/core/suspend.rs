//! What is probed: all servers of the config, but for those of a suspended service (`ha_suspend`), none of whose VIPs is an
//! address of this machine. These keep the verdict that they have.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::event::Event;
use super::model::{Check, Config, Service, Target};
use super::pool::Known;
use super::{Core, Output};

/// The VIPs by which services of this config are suspended.
pub fn vips(config: &Config) -> impl Iterator<Item = IpAddr> {
    config.services.iter().filter(|service| service.ha_suspend).flat_map(vips_of)
}

fn vips_of(service: &Service) -> impl Iterator<Item = IpAddr> {
    service.listen.iter().filter_map(|vip| Some(vip.address()?.ip()))
}

impl Core {
    /// These VIPs are addresses of this machine from now on, and no others.
    pub(super) fn here(&mut self, here: BTreeSet<IpAddr>, out: &mut Vec<Output>) {
        let before = self.all_suspended();
        self.here = here;
        if before == self.all_suspended() {
            return;
        }
        self.say_suspended(&before, out);
        if self.stopping.is_none() && !self.leaving {
            out.push(Output::Probe(self.probes()));
        }
    }

    /// The names of the suspended services.
    pub(super) fn all_suspended(&self) -> BTreeSet<String> {
        let suspended = self.config.services.iter().filter(|service| self.suspended(service));
        suspended.map(|service| service.name.clone()).collect()
    }

    /// Says how the suspended services differ from those `before`.
    pub(super) fn say_suspended(&self, before: &BTreeSet<String>, out: &mut Vec<Output>) {
        for service in &self.config.services {
            let (was, suspended) = (before.contains(&service.name), self.suspended(service));
            if was != suspended {
                let service = service.name.clone();
                out.push(Output::Say(Event::Suspended { service, suspended }));
            }
        }
    }

    /// Whether the servers of this service are not probed for now.
    pub(super) fn suspended(&self, service: &Service) -> bool {
        service.ha_suspend && !vips_of(service).any(|vip| self.here.contains(&vip))
    }

    /// All that is probed now.
    pub(super) fn probes(&self) -> Vec<Target> {
        let members = self.pools.values().flat_map(|pool| pool.members.values());
        let checks = members.flat_map(|member| member.checks.iter().map(|check| (member.found, check)));
        let up = checks.filter(|(found, (_, known))| match known {
            Known::Unknown => *found > 0,
            Known::Up { .. } => true,
            Known::Down { .. } => false,
        });
        let assumed_up: BTreeSet<_> = up.map(|(_, (id, _))| *id).collect();
        let awake = self.awake();
        let targets =
            self.targets.iter().filter(|(probed, _)| awake.as_ref().is_none_or(|it| it.contains(probed)));
        let targets = targets.map(|((address, check), id)| Target {
            id: *id,
            address: *address,
            check: Arc::clone(check),
            assumed_up: assumed_up.contains(id),
        });
        targets.collect()
    }

    /// What is probed for services that are not suspended; none: everything.
    fn awake(&self) -> Option<BTreeSet<(SocketAddr, Arc<Check>)>> {
        let services = &self.config.services;
        services.iter().any(|service| self.suspended(service)).then(|| {
            let awake = services.iter().filter(|service| !self.suspended(service));
            let checks = awake.flat_map(|service| {
                let servers = service.servers.iter();
                servers.flat_map(|server| {
                    service
                        .checks_of(server)
                        .iter()
                        .map(|check| (check.target(server.address), Arc::clone(check)))
                })
            });
            checks.collect()
        })
    }
}
