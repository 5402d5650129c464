//! `ha_suspend`: the servers of a service are not probed while none of its VIPs is an address of this machine.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::core::model::{Check, Config, Service, Target};
use crate::kernel::facts;

/// From one look at the addresses to the next.
const LOOK: Duration = Duration::from_secs(1);

/// What is suspended, and what was to be probed if nothing were.
pub struct Suspend {
    /// The services that may be suspended, and what is probed for others.
    services: Vec<Service>,
    always: BTreeSet<(SocketAddr, Arc<Check>)>,
    here: BTreeSet<IpAddr>,
    wanted: Vec<Target>,
    look: Interval,
}

impl Default for Suspend {
    fn default() -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (services, wanted) = (Vec::new(), Vec::new());
        Self { services, always: BTreeSet::new(), here: BTreeSet::new(), wanted, look }
    }
}

impl Suspend {
    /// Goes by this config from now on.
    pub fn follow(&mut self, config: &Config) {
        let (may, others): (Vec<_>, Vec<_>) = config.services.iter().partition(|service| service.ha_suspend);
        self.services = may.into_iter().cloned().collect();
        let needed = !self.services.is_empty();
        self.always = others.into_iter().filter(|_| needed).flat_map(probes).collect();
        self.look.reset_immediately();
        self.read();
    }

    /// What of these is probed now.
    pub fn awake(&mut self, wanted: Vec<Target>) -> Vec<Target> {
        if self.services.is_empty() {
            return wanted;
        }
        self.wanted = wanted;
        self.probed()
    }

    /// Waits until the addresses are to be looked at; for ever if nothing is ever suspended.
    pub async fn due(&mut self) {
        if self.services.is_empty() {
            return std::future::pending().await;
        }
        self.look.tick().await;
    }

    /// Looks at the addresses; what is probed from now on, if that has changed.
    pub fn look(&mut self) -> Option<Vec<Target>> {
        self.read().then(|| self.probed())
    }

    /// True if VIPs came or went.
    fn read(&mut self) -> bool {
        let vips = self.services.iter().flat_map(vips).collect();
        match facts::here(&vips) {
            Ok(here) => {
                for service in &self.services {
                    let (was, is) = (awake(service, &self.here), awake(service, &here));
                    let service = &service.name;
                    match (was, is) {
                        (false, true) => tracing::info!(service, "a VIP is here: its servers are probed"),
                        (true, false) => {
                            tracing::info!(service, "no VIP is here: its servers are not probed")
                        }
                        _ => {}
                    }
                }
                std::mem::replace(&mut self.here, here) != self.here
            }
            Err(error) => {
                tracing::error!(%error, "cannot read this machine's addresses: probes are as they were");
                false
            }
        }
    }

    fn probed(&self) -> Vec<Target> {
        let awake = self.services.iter().filter(|service| awake(service, &self.here));
        let probes: BTreeSet<_> = awake.flat_map(probes).collect();
        let probed = |target: &&Target| {
            let probe = (target.address, Arc::clone(&target.check));
            self.always.contains(&probe) || probes.contains(&probe)
        };
        self.wanted.iter().filter(probed).cloned().collect()
    }
}

fn vips(service: &Service) -> impl Iterator<Item = IpAddr> {
    service.listen.iter().filter_map(|vip| Some(vip.address()?.ip()))
}

fn awake(service: &Service, here: &BTreeSet<IpAddr>) -> bool {
    vips(service).any(|vip| here.contains(&vip))
}

/// What is probed for a service, by address and check.
fn probes(service: &Service) -> impl Iterator<Item = (SocketAddr, Arc<Check>)> {
    service.servers.iter().flat_map(|server| {
        let checks = service.checks_of(server).iter();
        checks.map(|check| (check.target(server.address), Arc::clone(check)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::core::model::TargetId;

    const CONFIG: &str = r#"
        [defaults]
        check = "tcp"
        [[service]]
        name = "here"
        listen = "127.0.0.1:53"
        servers = ["10.0.0.1:53", "10.0.0.2:53"]
        ha_suspend = true
        [[service]]
        name = "elsewhere"
        listen = "192.0.2.53:53"
        servers = ["10.0.0.3:53", "10.0.0.4:54"]
        ha_suspend = true
        [[service]]
        name = "always"
        listen = "192.0.2.54:53"
        servers = ["10.0.0.4:54"]
        forward = "nat"
        ops = false
    "#;

    #[tokio::test]
    async fn only_servers_of_vips_that_are_here_are_probed() {
        let config = config::parse("ipvsd.toml", CONFIG).unwrap_or_else(|report| panic!("{report}")).config;
        let check = &config.services[0].checks[0];
        let target = |id: u32| {
            let address = config.services.iter().flat_map(|it| &it.servers).nth(id as usize).unwrap().address;
            Target { id: TargetId(id), address, check: Arc::clone(check), assumed_up: false }
        };
        let wanted: Vec<Target> = (0..4).map(target).collect();
        let mut suspend = Suspend::default();
        assert_eq!(suspend.awake(wanted.clone()), wanted);
        suspend.follow(&config);
        let probed: Vec<u32> = suspend.awake(wanted).iter().map(|it| it.id.0).collect();
        assert_eq!(probed, [0, 1, 3], "10.0.0.3 alone has no VIP here");
        assert_eq!(suspend.look(), None);
        suspend.here.clear();
        let probed = suspend.look().expect("the VIP came back");
        assert_eq!(probed.len(), 3);
    }
}
