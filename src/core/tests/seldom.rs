//! What random histories show seldom or never: every field is compared, a reload forgets nothing, what is only reported
//! still dies, and what is gone is not remembered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{
    DestinationConfig, DestinationKey, Flags, Forward, Netmask, ServiceConfig, ServiceKey, Tunnel,
    TunnelChecksum, TunnelKind,
};

use super::configs::check;
use super::order::{A, B, VIP, config, service, world};
use super::world::World;
use crate::core::Input;
use crate::core::model::{Config, Drift, OnStop, Service, TargetId};

const OTHER: &str = "192.0.2.54:53";
const C: &str = "10.0.1.13:53";

fn key(vip: &str) -> ServiceKey {
    ServiceKey::udp(vip.parse().unwrap())
}

fn address(server: &str) -> DestinationKey {
    DestinationKey(server.parse().unwrap())
}

/// A and B behind the VIP, both up.
fn up(service: Service) -> World {
    let mut world = world();
    world.input(Input::Config(config(vec![service])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.pass(Duration::from_secs(2));
    world.written();
    world.events.clear();
    world
}

/// Its config was not yet gone by, when the daemon was told to end.
#[test]
fn an_end_before_the_first_look_is_the_one_that_the_config_asks_for() {
    let mut first = up(service(VIP, &[(A, 1), (B, 1)]));
    first.crash(false);
    let config = Config { on_stop: OnStop::Remove, ..config(vec![service(VIP, &[(A, 1), (B, 1)])]) };
    first.hand_over(Input::Config(config));
    first.input(Input::Stop);
    assert_eq!(first.finished, None);
    first.pass(Duration::from_secs(10));
    assert_eq!(first.finished, Some(true));
    assert!(first.kernel.services.is_empty() && first.kernel.rules.is_empty());
    assert_eq!(first.promises.broken, None);
}

#[test]
fn every_field_of_a_service_that_is_changed_by_hand_is_set_back() {
    let changes: [fn(&mut ServiceConfig); 5] = [
        |config| config.scheduler = "sh".parse().unwrap(),
        |config| config.flags = Flags::exactly(Flags::ONE_PACKET | Flags::HASHED | Flags::PERSISTENT),
        |config| config.timeout = 77,
        |config| config.netmask = Netmask::V4([255, 255, 255, 0]),
        |config| config.persistence_engine = Some("sip".parse().unwrap()),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut world = up(service(VIP, &[(A, 1), (B, 1)]));
        let good = world.kernel.services[&key(VIP)].config.clone();
        change(&mut world.kernel.services.get_mut(&key(VIP)).unwrap().config);
        assert_ne!(world.kernel.services[&key(VIP)].config, good);
        world.pass(Duration::from_secs(2));
        assert_eq!(world.kernel.services[&key(VIP)].config, good, "change {number}");
        assert_eq!(world.written(), [format!("{} ~service", key(VIP))], "change {number}");
    }
}

#[test]
fn every_field_of_a_server_that_is_changed_by_hand_is_set_back() {
    let tunnel = Tunnel { kind: TunnelKind::Ipip, checksum: TunnelChecksum::None };
    for (weight, forward, upper_threshold, lower_threshold) in [
        (5, Forward::Masquerade, 0, 0),
        (1, Forward::Direct, 0, 0),
        (1, Forward::Tunnel(tunnel), 0, 0),
        (1, Forward::Masquerade, 9, 0),
        (1, Forward::Masquerade, 0, 7),
    ] {
        let mut world = up(service(VIP, &[(A, 1), (B, 1)]));
        let changed = DestinationConfig { weight, forward, upper_threshold, lower_threshold };
        let service = world.kernel.services.get_mut(&key(VIP)).unwrap();
        let good = service.servers_mut().insert(address(A), changed).unwrap();
        assert_ne!(good, changed);
        world.pass(Duration::from_secs(2));
        assert_eq!(world.kernel.services[&key(VIP)].servers[&address(A)], good, "{changed:?}");
        assert_eq!(world.written(), [format!("{} {A}=1", key(VIP))], "{changed:?}");
    }
}

#[test]
fn a_reload_when_all_are_down_leaves_the_last_healthy_ones_their_weight() {
    let mut world = up(service(VIP, &[(A, 1), (B, 1)]));
    world.verdict(A, false);
    world.verdict(B, false);
    let before = world.kernel.services[&key(VIP)].clone();
    assert!(before.servers.values().any(|server| server.weight > 0));
    world.written();
    let other = service(OTHER, &[(C, 1)]);
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)]), other])));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.kernel.services[&key(VIP)], before);
    assert!(world.written().iter().all(|step| !step.starts_with(&key(VIP).to_string())));
    assert_eq!(world.promises.broken, None);
}

#[test]
fn a_server_that_drifted_and_is_only_reported_loses_its_weight_when_it_dies() {
    let mut world = up(Service { drift: Drift::Report, ..service(VIP, &[(A, 1), (B, 1)]) });
    let service = world.kernel.services.get_mut(&key(VIP)).unwrap();
    service.servers_mut().get_mut(&address(A)).unwrap().weight = 5;
    world.pass(Duration::from_secs(60));
    assert_eq!(world.written(), Vec::<String>::new());
    world.verdict(A, false);
    assert_eq!(world.written(), [format!("{} {A}=0", key(VIP))]);
}

#[test]
fn what_ipvsd_deleted_or_long_missed_is_remembered_as_its_own_no_more() {
    let mut world = up(service(VIP, &[(A, 1), (B, 1)]));
    let both = BTreeSet::from([key(VIP), key(OTHER)]);
    for by_hand in [false, true] {
        let wanted = vec![service(VIP, &[(A, 1), (B, 1)]), service(OTHER, &[(C, 1)])];
        world.input(Input::Config(config(wanted)));
        world.pass(Duration::from_secs(2));
        assert_eq!(world.disk.created, both);
        world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
        if by_hand {
            world.kernel.services.remove(&key(OTHER));
            // A dump may leave it out once.
            world.pass(Duration::from_millis(1500));
            assert_eq!(world.disk.created, both, "not after one look");
        }
        // A glance that shows no change says nothing new: four full looks.
        world.pass(Duration::from_secs(if by_hand { 90 } else { 10 }));
        assert!(!world.kernel.services.contains_key(&key(OTHER)));
        assert_eq!(world.disk.created, BTreeSet::from([key(VIP)]), "by hand: {by_hand}");
    }
}

/// B has its own check, which is that of the other service; C is not asked.
#[test]
fn a_server_with_a_check_of_its_own_goes_by_that() {
    let own = |retry| -> Box<[_]> { [Arc::new(check(retry))].into() };
    let mut first = service(VIP, &[(A, 1), (B, 1), (C, 1)]);
    first.own_checks = [(address(B).0, own(50)), (address(C).0, Box::default())].into();
    let mut other = service(OTHER, &[("10.0.1.14:53", 1)]);
    other.checks = own(50).to_vec();
    let mut world = world();
    let of = |world: &World, server: &str| -> Vec<(TargetId, Duration)> {
        let probed = world.promises.probed.iter().filter(|it| it.address == address(server).0);
        probed.map(|target| (target.id, target.check.retry_interval)).collect()
    };
    world.input(Input::Config(config(vec![first.clone(), other.clone()])));
    let before = of(&world, B);
    assert_eq!(before.iter().map(|(_, retry)| retry.as_millis()).collect::<Vec<_>>(), [50]);
    assert_eq!((of(&world, A).len(), of(&world, C).len()), (1, 0));
    world.verdict(A, true);
    world.verdict(B, false);
    world.pass(Duration::from_secs(2));
    let weight = |world: &World, server| world.kernel.services[&key(VIP)].servers[&address(server)].weight;
    assert_eq!([A, B, C].map(|server| weight(&world, server)), [1, 0, 1]);
    // What is known of it outlives a reload that says the same of all of them.
    first.own_checks.clear();
    first.checks = own(50).to_vec();
    world.input(Input::Config(config(vec![first, other])));
    world.pass(Duration::from_secs(2));
    assert_eq!(of(&world, B), before);
    assert_eq!(weight(&world, B), 0);
    assert_eq!(of(&world, C).len(), 1);
    assert_eq!(world.promises.broken, None);
}
