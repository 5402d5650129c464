//! Services that are suspended: what is probed then, in examples and for the judge.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::order::{A, B, VIP, config, service, world};
use super::promises::Promises;
use crate::core::Input;
use crate::core::event::Event;
use crate::core::model::{Check, Service, Target};

impl Promises {
    /// The core has these probed from now on. Of what sleeps it still knows what it was told.
    pub fn probes(&mut self, targets: Vec<Target>) {
        if !self.leaving && !self.ending {
            let is: BTreeSet<_> =
                targets.iter().map(|target| (target.address, Arc::clone(&target.check))).collect();
            let wanted = self.wanted(|service| !self.suspended(service));
            self.must(is == wanted, || format!("probed are {is:?}, wanted {wanted:?}"));
        }
        let all = self.wanted(|_| true);
        let probed = |target: &Target| targets.iter().any(|other| other.id == target.id);
        let before = std::mem::take(&mut self.probed).into_iter().chain(std::mem::take(&mut self.asleep));
        let sleeps =
            |target: &Target| !probed(target) && all.contains(&(target.address, Arc::clone(&target.check)));
        self.asleep = before.filter(sleeps).collect();
        self.told.retain(|id, _| targets.iter().chain(&self.asleep).any(|target| target.id == *id));
        self.probed = targets;
    }

    fn wanted(&self, of: impl Fn(&Service) -> bool) -> BTreeSet<(SocketAddr, Arc<Check>)> {
        let services = self.config.values().filter(|service| of(service));
        let checks = services.flat_map(|service| {
            let servers = service.servers.iter();
            servers.flat_map(|server| {
                service.checks_of(server).iter().map(|it| (it.target(server.address), Arc::clone(it)))
            })
        });
        checks.collect()
    }

    fn suspended(&self, service: &Service) -> bool {
        let here =
            |vip: &crate::core::model::Vip| vip.address().is_some_and(|vip| self.here.contains(&vip.ip()));
        service.ha_suspend && !service.listen.iter().any(here)
    }
}

fn here(vips: &[&str]) -> Input {
    Input::Here(vips.iter().map(|vip| vip.parse::<IpAddr>().expect("an address")).collect())
}

fn suspending() -> Service {
    Service { ha_suspend: true, ..service(VIP, &[(A, 1), (B, 1)]) }
}

#[test]
fn servers_are_probed_while_the_vip_is_here_and_keep_their_verdicts_after_it() {
    let mut world = world();
    world.input(here(&[]));
    world.input(Input::Config(config(vec![suspending()])));
    assert_eq!(world.promises.probed, []);
    assert_eq!(world.core.unready(), None, "nothing is waited for");
    assert!(world.core.status(world.now).services[0].suspended);
    world.input(here(&["192.0.2.53"]));
    assert_eq!(world.promises.probed.len(), 2);
    assert!(world.core.unready().is_some_and(|why| why.contains("first verdicts")));
    world.verdict(A, true);
    world.verdict(B, false);
    assert_eq!(world.core.unready(), None);
    world.written();

    world.input(here(&[]));
    assert_eq!(world.promises.probed, []);
    assert_eq!(world.written(), Vec::<String>::new(), "all stays as it is");
    world.input(Input::Config(config(vec![suspending()])));
    assert_eq!(world.promises.probed, []);
    world.input(here(&["192.0.2.53"]));
    let assumed: Vec<bool> = world.promises.probed.iter().map(|target| target.assumed_up).collect();
    assert_eq!(assumed, [true, false], "A was up, B was down");
    let said = world.events.iter().filter_map(|event| match event {
        Event::Suspended { suspended, .. } => Some(*suspended),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), [true, false, true, false]);
}

#[test]
fn what_another_service_has_probed_is_probed() {
    let mut world = world();
    let other = Service { ops: false, ..service("192.0.2.54:53", &[(A, 1)]) };
    world.input(Input::Config(config(vec![suspending(), other])));
    let probed: Vec<String> = world.promises.probed.iter().map(|target| target.address.to_string()).collect();
    assert_eq!(probed, [A]);
    assert!(world.core.unready().is_some_and(|why| why.contains("first verdicts")));
    world.verdict(A, true);
    assert_eq!(world.core.unready(), None, "B is not waited for");
}
