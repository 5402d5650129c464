//! What others have done to the kernel and what went wrong there, in examples.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationConfig, DestinationKey, Forward, ServiceConfig, ServiceKey};

use super::order::{A, B, VIP, config, service, world};
use super::world::World;
use crate::core::Input;
use crate::core::event::Event;
use crate::core::evict::EXPIRE;
use crate::core::model::{Drift, Service};
use crate::core::plan::FoundService;

#[test]
fn drift_is_repaired_and_said_and_a_fight_is_left() {
    let mut world = world();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.written();
    world.events.clear();
    let key = ServiceKey::udp(VIP.parse().unwrap());
    let server = DestinationKey(A.parse().unwrap());
    let by_hand = |world: &mut World, weight| {
        let service = world.kernel.services.get_mut(&key).unwrap();
        service.servers_mut().get_mut(&server).unwrap().weight = weight;
    };
    for _ in 0..3 {
        by_hand(&mut world, 0);
        world.pass(Duration::from_secs(2));
        assert_eq!(world.written(), [format!("{key} {A}=1")]);
    }
    assert!(world.events.iter().any(|event| {
        matches!(event, Event::Drift { what, .. } if what.contains("weight 1 → 0") && what.contains("ipvsd drain"))
    }));
    by_hand(&mut world, 0);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.written(), Vec::<String>::new(), "another program manages this");
    world.verdict(A, false);
    world.verdict(A, true);
    assert_eq!(world.written(), [format!("{key} {A}=1")], "a verdict is no repair");
    world.kernel.services.clear();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.kernel.services[&key].servers.len(), 2);
    assert_eq!(world.kernel.services[&key].servers[&server].weight, 1);
}

#[test]
fn what_is_gone_and_only_reported_is_left_and_works_when_it_is_there_again() {
    let mut world = world();
    let service = Service { drift: Drift::Report, ..service(VIP, &[(A, 1), (B, 1)]) };
    world.input(Input::Config(config(vec![service])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.pass(Duration::from_secs(2));
    world.written();
    world.events.clear();
    let (key, a) = (ServiceKey::udp(VIP.parse().unwrap()), DestinationKey(A.parse().unwrap()));
    let before = world.kernel.services[&key].clone();
    let leave = |world: &mut World| {
        world.pass(Duration::from_secs(2));
        world.verdict(A, false);
        world.pass(Duration::from_secs(60));
        assert_eq!(world.written(), Vec::<String>::new());
        let reported =
            |event: &Event| matches!(event, Event::Drift { ruling: None, .. } | Event::Verdict { .. });
        assert!(world.events.drain(..).all(|event| reported(&event)));
    };
    world.kernel.services.remove(&key);
    leave(&mut world);
    world.kernel.services.insert(key, before.clone());
    world.pass(Duration::from_secs(2));
    assert_eq!(world.written(), [format!("{key} {A}=0")], "the verdict of meanwhile");
    world.verdict(A, true);
    world.written();
    world.events.clear();
    world.kernel.services.get_mut(&key).unwrap().servers_mut().remove(&a);
    leave(&mut world);
    world.kernel.services.insert(key, before);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.written(), [format!("{key} {A}=0")]);
    assert_eq!(world.promises.broken, None);
}

#[test]
fn after_a_failure_the_kernel_is_read_anew() {
    let mut world = world();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.written();
    let (key, a) = (ServiceKey::udp(VIP.parse().unwrap()), DestinationKey(A.parse().unwrap()));
    world.kernel.services.get_mut(&key).unwrap().servers_mut().remove(&a);
    world.promises.edited(world.now, &world.kernel, key);
    world.verdict(A, false);
    assert!(
        world
            .events
            .iter()
            .any(|event| { matches!(event, Event::Failed { error } if error == "no such destination") })
    );
    world.written();
    // The next look would come after a second.
    world.pass(Duration::from_millis(300));
    assert_eq!(world.written(), [format!("{key} +{A}=0")]);
    assert!(matches!(world.events.last(), Some(Event::Works { .. })), "{:?}", world.events.last());
    assert_eq!(world.promises.broken, None);
}

#[test]
fn pinned_clients_are_freed_one_server_at_a_time_and_the_sysctl_is_put_back() {
    let mut world = world();
    let key = ServiceKey::udp(VIP.parse().unwrap());
    let masquerade = |weight| DestinationConfig {
        forward: Forward::Masquerade,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
    };
    let (a, b) = (DestinationKey(A.parse().unwrap()), DestinationKey(B.parse().unwrap()));
    let old = ServiceConfig::new("wrr".parse().unwrap(), ipvs_netlink::Family::Inet);
    let servers = BTreeMap::from([(a, masquerade(1)), (b, masquerade(0))]);
    world.kernel.services.insert(key, FoundService { config: old, servers: Arc::new(servers) });
    world.kernel.connections = BTreeSet::from([(key, a), (key, b)]);
    world.kernel.sysctls.insert(EXPIRE.to_owned(), "0".to_owned());
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.kernel.connections, BTreeSet::from([(key, a)]), "the last one with weight stays");
    assert_eq!(world.kernel.services[&key].servers[&a].weight, 1);
    assert!(world.events.iter().any(|event| matches!(event, Event::EvictionPostponed { .. })));
    assert_eq!(world.kernel.sysctls[EXPIRE], "1");
    world.verdict(B, true);
    world.pass(Duration::from_secs(3));
    assert!(world.kernel.connections.is_empty());
    assert_eq!(world.kernel.services[&key].servers[&a].weight, 1, "it returns with its weight");
    assert_eq!(world.kernel.sysctls[EXPIRE], "0");
    assert!(world.disk.sysctls.is_empty());
}
