//! The order of things, in examples.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationConfig, DestinationKey, Flags, Forward, ServiceConfig, ServiceKey};

use super::configs::check;
use super::kernel::Kernel;
use super::world::World;
use crate::core::event::Event;
use crate::core::model::*;
use crate::core::plan::FoundService;
use crate::core::{FoundRules, Input, Output};

pub const A: &str = "10.0.1.11:53";
pub const B: &str = "10.0.1.12:53";
pub const VIP: &str = "192.0.2.53:53";

pub fn world() -> World {
    World::new(Kernel::default(), 1)
}

pub fn service(vip: &str, servers: &[(&str, u32)]) -> Service {
    let server =
        |(address, weight): &(&str, u32)| Server::new(address.parse().unwrap(), *weight, Forward::Masquerade);
    Service {
        name: format!("service at {vip}"),
        listen: vec![vip.parse().unwrap()],
        ops: true,
        scheduler: "wrr".parse().unwrap(),
        scheduler_flags: 0,
        persistence: None,
        forward: Forward::Masquerade,
        servers: servers.iter().map(server).collect(),
        checks: vec![Arc::new(check(100))],
        own_checks: Default::default(),
        own_commands: Default::default(),
        down_on_stop: false,
        ha_suspend: false,
        policy: Policy::default(),
        drain: Duration::from_secs(5),
        drift: Default::default(),
    }
}

pub fn config(services: Vec<Service>) -> Config {
    Config { services, ..Config::default() }
}

#[test]
fn start_is_rules_then_service_then_servers_without_weight_then_weight() {
    let mut world = world();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 2)])])));
    assert_eq!(world.kernel.rules.replies.len(), 2);
    let key = "UDP 192.0.2.53:53";
    assert_eq!(
        world.written(),
        [format!("{key} +service"), format!("{key} +{A}=0"), format!("{key} +{B}=0")]
    );
    world.verdict(B, true);
    assert_eq!(world.written(), [format!("{key} {B}=2")]);
    world.verdict(B, true);
    assert_eq!(world.written(), Vec::<String>::new());
    world.verdict(A, true);
    world.verdict(A, false);
    world.verdict(A, true);
    assert_eq!(world.written(), [format!("{key} {A}=1"), format!("{key} {A}=0"), format!("{key} {A}=1")]);
}

#[test]
fn a_server_taken_from_the_config_is_drained_and_its_rule_goes_last() {
    let mut world = world();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.written();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1)])])));
    let key = "UDP 192.0.2.53:53";
    assert_eq!(world.written(), [format!("{key} {B}=0")]);
    assert_eq!(world.kernel.rules.replies.len(), 2, "replies in flight");
    world.pass(Duration::from_millis(4900));
    assert_eq!(world.written(), Vec::<String>::new());
    world.pass(Duration::from_millis(200));
    assert_eq!(world.written(), [format!("{key} -{B}")]);
    assert_eq!(world.kernel.rules.replies.len(), 1);
}

#[test]
fn what_forwards_already_goes_on_and_is_never_emptied() {
    let mut world = world();
    let key = ServiceKey::udp(VIP.parse().unwrap());
    let other = DestinationKey("10.0.1.99:53".parse().unwrap());
    let found =
        DestinationConfig { forward: Forward::Masquerade, weight: 9, upper_threshold: 0, lower_threshold: 0 };
    let mut old = ServiceConfig::new("rr".parse().unwrap(), ipvs_netlink::Family::Inet);
    old.flags = Flags::exactly(Flags::HASHED);
    let servers = BTreeMap::from([(other, found), (DestinationKey(A.parse().unwrap()), found)]);
    world.kernel.services.insert(key, FoundService { config: old, servers: Arc::new(servers) });

    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    assert!(
        world.promises.probed.iter().any(|target| target.address == A.parse().unwrap() && target.assumed_up)
    );
    assert_eq!(world.kernel.services[&key].servers[&DestinationKey(A.parse().unwrap())].weight, 9);
    assert!(world.kernel.services[&key].config.flags.contains(Flags::ONE_PACKET));
    assert!(world.written().contains(&format!("{key} ~service")));
    world.pass(Duration::from_secs(6));
    assert_eq!(world.written(), [format!("{key} -{other}")]);
    world.verdict(A, false);
    assert_eq!(world.kernel.services[&key].servers[&DestinationKey(A.parse().unwrap())].weight, 1, "held");
    world.verdict(B, true);
    assert_eq!(world.kernel.services[&key].servers[&DestinationKey(A.parse().unwrap())].weight, 0);
}

#[test]
fn a_server_that_moves_to_another_vip_gets_weight_there_when_it_has_left_the_first() {
    let mut world = world();
    let second = "192.0.2.54:53";
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1)]), service(second, &[(B, 1)])])));
    let moved = |world: &World| {
        let key = ServiceKey::udp(second.parse().unwrap());
        world.kernel.services[&key].servers[&DestinationKey(B.parse().unwrap())].weight
    };
    assert_eq!(moved(&world), 0);
    world.pass(Duration::from_secs(6));
    assert_eq!(moved(&world), 1);
}

#[test]
fn a_service_that_moves_to_another_vip_says_what_it_waits_for() {
    let mut world = world();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1)])])));
    world.verdict(A, true);
    let second = "192.0.2.54:53";
    world.input(Input::Config(config(vec![service(second, &[(A, 1)])])));
    let a = DestinationKey(A.parse().unwrap());
    let said = BTreeMap::from([(a, VIP.parse().unwrap())]);
    world.pass(Duration::from_millis(4900));
    let waits = world.events.iter().filter_map(|event| match event {
        Event::Waits { servers, .. } => Some(servers),
        _ => None,
    });
    assert_eq!(waits.collect::<Vec<_>>(), [&said], "once");
    let weight =
        |world: &World| world.kernel.services[&ServiceKey::udp(second.parse().unwrap())].servers[&a].weight;
    assert_eq!(weight(&world), 0, "replies from the old VIP may be on the way");
    world.pass(Duration::from_millis(200));
    assert_eq!(weight(&world), 1);
}

#[test]
fn vips_that_exchange_their_servers_lose_one_vip_for_a_while_and_say_so() {
    let mut world = world();
    let second = "192.0.2.54:53";
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1)]), service(second, &[(B, 1)])])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.events.clear();
    world.input(Input::Config(config(vec![service(VIP, &[(B, 1)]), service(second, &[(A, 1)])])));
    let weight = |world: &World, vip: &str, server: &str| {
        let key = ServiceKey::udp(vip.parse().unwrap());
        world.kernel.services[&key]
            .servers
            .get(&DestinationKey(server.parse().unwrap()))
            .map(|has| has.weight)
    };
    let circles = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::GivesUp { circle, .. } if circle.len() == 2));
    assert_eq!(circles.count(), 1);
    let waits = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::Waits { servers, .. } if servers.len() == 1));
    assert_eq!(waits.count(), 2);
    assert_eq!((weight(&world, VIP, A), weight(&world, second, B)), (Some(0), Some(1)), "one goes first");
    world.pass(Duration::from_millis(4900));
    assert_eq!(weight(&world, second, A), Some(0), "its replies may be on the way");
    world.pass(Duration::from_millis(1200));
    assert_eq!((weight(&world, second, A), weight(&world, second, B)), (Some(1), Some(0)));
    world.pass(Duration::from_secs(6));
    assert_eq!((weight(&world, VIP, B), weight(&world, VIP, A)), (Some(1), None));
    assert_eq!(world.promises.broken, None);
}

#[test]
fn replies_on_the_way_keep_their_rule_when_ops_is_turned_off() {
    let mut world = world();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1)])])));
    world.verdict(A, true);
    world.input(Input::Config(config(vec![Service { ops: false, ..service(VIP, &[(A, 1)]) }])));
    let found = &world.kernel.services[&ServiceKey::udp(VIP.parse().unwrap())];
    assert!(!found.config.flags.contains(Flags::ONE_PACKET));
    world.pass(Duration::from_millis(4900));
    assert_eq!(world.kernel.rules.replies.len(), 1);
    world.pass(Duration::from_millis(200));
    assert!(world.kernel.rules.is_empty());
}

#[test]
fn remove_takes_out_what_is_own_and_nothing_else() {
    let mut world = world();
    let foreign = ServiceKey::udp("192.0.2.99:53".parse().unwrap());
    let config_of_foreign = ServiceConfig::new("wlc".parse().unwrap(), ipvs_netlink::Family::Inet);
    let service_of_others = FoundService { config: config_of_foreign, servers: Arc::default() };
    world.kernel.services.insert(foreign, service_of_others);
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1)])])));
    world.verdict(A, true);
    world.input(Input::Remove);
    assert_eq!(world.finished, None);
    world.pass(Duration::from_secs(6));
    assert_eq!(world.finished, Some(true));
    assert_eq!(world.kernel.services.keys().collect::<Vec<_>>(), [&foreign]);
    assert!(world.kernel.rules.is_empty());
}

#[test]
fn a_weight_that_the_config_changes_is_said_so() {
    let mut world = world();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.events.clear();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 3)])])));
    let reasons: Vec<&str> = (world.events.iter())
        .filter_map(|event| if let Event::Done { step, .. } = event { Some(step.why.as_str()) } else { None })
        .collect();
    assert_eq!(reasons, ["in the config"]);
}

#[test]
fn a_server_comes_under_nat_only_when_its_reply_rule_is_there() {
    let mut world = world();
    let mut direct = service(VIP, &[(A, 1)]);
    direct.servers[0].forward = Forward::Direct;
    world.input(Input::Config(config(vec![direct])));
    world.verdict(A, true);
    world.written();

    let config = config(vec![service(VIP, &[(A, 1)])]);
    world.core.handle(world.now, Input::Config(config));
    let found = world.kernel.services.clone().into_iter().collect();
    let rules = world.kernel.rules.clone();
    world
        .core
        .handle(world.now, Input::FoundRules(Ok(FoundRules { rules: rules.into(), damage: Vec::new() })));
    let asked = world.core.handle(world.now, Input::FoundServices(Ok(found)));
    assert!(!asked.iter().any(|output| matches!(output, Output::Do(..))), "{asked:?}");
    let rules = asked.into_iter().find_map(|output| match output {
        Output::DoRules(rules) => Some(rules),
        _ => None,
    });
    world.kernel.rules = Arc::unwrap_or_clone(rules.expect("the reply rule"));
    world.input(Input::RulesDone(Ok(Arc::new(world.kernel.rules.clone()))));
    assert_eq!(world.written(), [format!("UDP {VIP} {A}=1")]);
    let found = &world.kernel.services[&ServiceKey::udp(VIP.parse().unwrap())];
    assert!(found.servers.values().all(|server| server.forward == Forward::Masquerade));
}

#[test]
fn inputs_can_be_written_down_and_read_again() {
    let mut world = world();
    let config = config(vec![service(VIP, &[(A, 1), (B, 2)])]);
    world.input(Input::Config(config.clone()));
    world.verdict(A, true);
    let services: Vec<_> = world.kernel.services.clone().into_iter().collect();
    let key = services[0].0;
    let entries = services[0].1.servers.keys().map(|server| (key, *server));
    let inputs = [
        Input::Config(config),
        Input::FoundConnections(Ok(entries.collect())),
        Input::FoundServices(Ok(services)),
        Input::FoundSysctls(world.kernel.sysctls.clone()),
        Input::RulesDone(Ok(Arc::new(world.kernel.rules.clone()))),
        Input::Done(key, Arc::default(), BTreeMap::new()),
        Input::Wake,
    ];
    for input in inputs {
        let text = serde_json::to_string(&input).unwrap();
        assert_eq!(serde_json::from_str::<Input>(&text).unwrap(), input);
    }
}
