//! The core against a small kernel in memory: the order of things, and the laws over random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationConfig, DestinationKey, Flags, Forward, ServiceConfig, ServiceKey};
use proptest::prelude::*;

use super::event::Event;
use super::evict::EXPIRE;
use super::memory::Memory;
use super::model::*;
use super::plan::{Action, FoundService, FoundServices};
use super::{Core, FoundRules, Input, Output, Time};

/// A kernel that does what it is told, refuses like the real one, and checks the promises at every step.
#[derive(Default)]
struct Kernel {
    services: FoundServices,
    rules: Rules,
    sysctls: BTreeMap<String, String>,
    connections: BTreeSet<(ServiceKey, DestinationKey)>,
    /// Replies of these servers may be on the way until then.
    in_flight: BTreeMap<(ServiceKey, DestinationKey), Time>,
    log: Vec<String>,
}

const REPLY_TIME: Duration = Duration::from_secs(1);

impl Kernel {
    fn apply(&mut self, now: Time, key: ServiceKey, action: &Action) -> Result<(), String> {
        self.log.push(format!("{key} {}", word(action)));
        let missing = || "missing".to_owned();
        match action {
            Action::AddService(config) => {
                if self.services.contains_key(&key) {
                    return Err("EEXIST".to_owned());
                }
                let service = FoundService { config: config.clone(), servers: BTreeMap::new() };
                self.services.insert(key, service);
            }
            Action::SetService(config) => {
                self.services.get_mut(&key).ok_or_else(missing)?.config = config.clone();
            }
            Action::DeleteService => {
                let service = self.services.remove(&key).ok_or_else(missing)?;
                for (server, config) in service.servers {
                    assert_eq!(config.weight, 0, "{key} is deleted while {server} has weight");
                }
            }
            Action::AddServer(server, config) => {
                let service = self.services.get_mut(&key).ok_or_else(missing)?;
                if service.servers.contains_key(server) {
                    return Err("EEXIST".to_owned());
                }
                service.servers.insert(*server, *config);
            }
            Action::SetServer(server, config) => {
                let service = self.services.get_mut(&key).ok_or_else(missing)?;
                let old = service.servers.get_mut(server).ok_or_else(missing)?;
                assert_ne!(old, config, "{key} {server}: a write that changes nothing");
                *old = *config;
            }
            Action::DeleteServer(server) => {
                let service = self.services.get_mut(&key).ok_or_else(missing)?;
                let config = service.servers.remove(server).ok_or_else(missing)?;
                if self.connections.contains(&(key, *server)) {
                    assert_eq!(
                        self.sysctls.get(EXPIRE).map(String::as_str),
                        Some("1"),
                        "packets are dropped"
                    );
                    assert!(service.servers.values().any(|config| config.weight > 0), "{key} is emptied");
                    self.connections.remove(&(key, *server));
                } else {
                    assert_eq!(config.weight, 0, "{key} {server} is deleted with weight");
                    let until = self.in_flight.get(&(key, *server)).copied().unwrap_or_default();
                    assert!(until <= now, "{key} {server} is deleted with replies in flight");
                }
            }
        }
        self.check(now);
        Ok(())
    }

    /// Every server with weight, or with replies in flight, has its rules; every OPS service has OPS.
    fn check(&mut self, now: Time) {
        for (key, service) in &self.services {
            let ServiceKey::Address { address: vip, .. } = *key else { panic!("{key} is no address") };
            if !service.config.flags.contains(Flags::ONE_PACKET) {
                continue;
            }
            for (server, config) in &service.servers {
                if config.weight > 0 {
                    self.in_flight.insert((*key, *server), now + REPLY_TIME);
                }
                if config.forward == Forward::Masquerade
                    && self.in_flight.get(&(*key, *server)).is_some_and(|until| *until > now)
                {
                    assert_eq!(
                        self.rules.replies.get(&server.0),
                        Some(&vip),
                        "{key} {server}: no reply rule"
                    );
                    assert!(self.rules.requests.contains(&vip), "{key}: requests are tracked");
                }
            }
        }
    }
}

fn word(action: &Action) -> String {
    match action {
        Action::AddService(_) => "+service".to_owned(),
        Action::SetService(_) => "~service".to_owned(),
        Action::DeleteService => "-service".to_owned(),
        Action::AddServer(server, config) => format!("+{server}={}", config.weight),
        Action::SetServer(server, config) => format!("{server}={}", config.weight),
        Action::DeleteServer(server) => format!("-{server}"),
    }
}

/// The core, its kernel and a clock.
struct World {
    core: Core,
    memory: Memory,
    kernel: Kernel,
    now: Time,
    wake: Option<Time>,
    probed: Vec<Target>,
    events: Vec<Event>,
    finished: bool,
    /// So many of the coming steps fail.
    faults: u32,
}

impl World {
    fn new() -> Self {
        Self {
            core: Core::new(Memory::default()),
            memory: Memory::default(),
            kernel: Kernel::default(),
            now: Duration::from_secs(100),
            wake: None,
            probed: Vec::new(),
            events: Vec::new(),
            finished: false,
            faults: 0,
        }
    }

    fn fault(&mut self) -> bool {
        let fails = self.faults > 0;
        self.faults -= u32::from(fails);
        fails
    }

    fn input(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        let mut rounds = 0;
        while let Some(input) = inputs.pop_front() {
            rounds += 1;
            assert!(rounds < 1000, "no end: {input:?}");
            let text = serde_json::to_string(&input).expect("inputs can be written down");
            let input = serde_json::from_str(&text).expect("and read again");
            for output in self.core.handle(self.now, input) {
                match output {
                    Output::LookAtRules if self.fault() => {
                        inputs.push_back(Input::FoundRules(Err("fault".to_owned())));
                    }
                    Output::LookAtRules => {
                        let rules = self.kernel.rules.clone();
                        inputs.push_back(Input::FoundRules(Ok(FoundRules { rules, damage: Vec::new() })));
                    }
                    Output::LookAtSysctls => {
                        inputs.push_back(Input::FoundSysctls(self.kernel.sysctls.clone()));
                    }
                    Output::LookAtConnections(_) => {
                        inputs.push_back(Input::FoundConnections(self.kernel.connections.clone()));
                    }
                    Output::SetSysctl { key, value, .. } => {
                        assert!(
                            self.memory.sysctls.contains_key(&key),
                            "{key} is set before it is remembered"
                        );
                        self.kernel.sysctls.insert(key, value);
                    }
                    Output::Remember(memory) => self.memory = memory,
                    Output::LookAtServices(_) | Output::GlanceAtServices(_) => {
                        let services = self.kernel.services.clone().into_iter().collect();
                        inputs.push_back(Input::FoundServices(Ok(services)));
                    }
                    Output::Do(key, steps) => {
                        let results = steps.into_iter().map(|step| {
                            let failed = Err("fault".to_owned());
                            let result = if self.fault() {
                                failed
                            } else {
                                self.kernel.apply(self.now, key, &step.action)
                            };
                            (step, result)
                        });
                        inputs.push_back(Input::Done(key, results.collect()));
                    }
                    Output::DoRules(_) if self.fault() => {
                        inputs.push_back(Input::RulesDone(Err("fault".to_owned())));
                    }
                    Output::DoRules(rules) => {
                        self.kernel.rules = rules.clone();
                        self.kernel.check(self.now);
                        inputs.push_back(Input::RulesDone(Ok(rules)));
                    }
                    Output::Probe(targets) => self.probed = targets,
                    Output::Wake(time) => self.wake = Some(time),
                    Output::Say(event) => self.events.push(event),
                    Output::Finished { .. } => self.finished = true,
                }
            }
        }
    }

    /// Lets time pass, alarms included.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(time) = self.wake.filter(|time| *time <= end) {
            self.now = self.now.max(time);
            self.wake = None;
            self.input(Input::Wake);
        }
        self.now = end;
    }

    fn verdict(&mut self, server: &str, up: bool) {
        let server: SocketAddr = server.parse().unwrap();
        let targets: Vec<TargetId> =
            self.probed.iter().filter(|target| target.address == server).map(|target| target.id).collect();
        for target in targets {
            let reason = "a reason".to_owned();
            self.input(Input::Verdict(Verdict { target, up, reason }));
        }
    }

    fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kernel.log)
    }
}

const A: &str = "10.0.1.11:53";
const B: &str = "10.0.1.12:53";
const VIP: &str = "192.0.2.53:53";

fn service(vip: &str, servers: &[(&str, u32)]) -> Service {
    let check = Check {
        probe: Probe::Udp { send: b"ping".to_vec(), reply: Reply::Any },
        interval: Duration::from_millis(500),
        timeout: Duration::from_millis(400),
        retry_interval: Duration::from_millis(100),
        rise: 2,
        fall: 3,
        address: None,
        port: None,
    };
    let server =
        |(address, weight): &(&str, u32)| Server { address: address.parse().unwrap(), weight: *weight };
    Service {
        name: format!("service at {vip}"),
        listen: vec![vip.parse().unwrap()],
        ops: true,
        scheduler: "wrr".parse().unwrap(),
        forward: Forward::Masquerade,
        servers: servers.iter().map(server).collect(),
        check: Some(Arc::new(check)),
        when_all_down: WhenAllDown::Keep,
        drain: Duration::from_secs(5),
        drift: Default::default(),
    }
}

fn config(services: Vec<Service>) -> Config {
    Config { services, ..Config::default() }
}

#[test]
fn start_is_rules_then_service_then_servers_without_weight_then_weight() {
    let mut world = World::new();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 2)])])));
    assert_eq!(world.kernel.rules.replies.len(), 2);
    let key = "UDP 192.0.2.53:53";
    assert_eq!(world.log(), [format!("{key} +service"), format!("{key} +{A}=0"), format!("{key} +{B}=0")]);
    world.verdict(B, true);
    assert_eq!(world.log(), [format!("{key} {B}=2")]);
    world.verdict(B, true);
    assert_eq!(world.log(), Vec::<String>::new());
    world.verdict(A, true);
    world.verdict(A, false);
    world.verdict(A, true);
    assert_eq!(world.log(), [format!("{key} {A}=1"), format!("{key} {A}=0"), format!("{key} {A}=1")]);
}

#[test]
fn a_server_taken_from_the_config_is_drained_and_its_rule_goes_last() {
    let mut world = World::new();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.log();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1)])])));
    let key = "UDP 192.0.2.53:53";
    assert_eq!(world.log(), [format!("{key} {B}=0")]);
    assert_eq!(world.kernel.rules.replies.len(), 2, "replies in flight");
    world.pass(Duration::from_millis(4900));
    assert_eq!(world.log(), Vec::<String>::new());
    world.pass(Duration::from_millis(200));
    assert_eq!(world.log(), [format!("{key} -{B}")]);
    assert_eq!(world.kernel.rules.replies.len(), 1);
}

#[test]
fn what_forwards_already_goes_on_and_is_never_emptied() {
    let mut world = World::new();
    let key = ServiceKey::udp(VIP.parse().unwrap());
    let other = DestinationKey("10.0.1.99:53".parse().unwrap());
    let found =
        DestinationConfig { forward: Forward::Masquerade, weight: 9, upper_threshold: 0, lower_threshold: 0 };
    let mut old = ServiceConfig::new("rr".parse().unwrap(), ipvs_netlink::Family::Inet);
    old.flags = Flags::exactly(Flags::HASHED);
    let servers = BTreeMap::from([(other, found), (DestinationKey(A.parse().unwrap()), found)]);
    world.kernel.services.insert(key, FoundService { config: old, servers });

    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    assert!(world.probed.iter().any(|target| target.address == A.parse().unwrap() && target.assumed_up));
    assert_eq!(world.kernel.services[&key].servers[&DestinationKey(A.parse().unwrap())].weight, 9);
    assert!(world.kernel.services[&key].config.flags.contains(Flags::ONE_PACKET));
    assert!(world.log().contains(&format!("{key} ~service")));
    world.pass(Duration::from_secs(6));
    assert_eq!(world.log(), [format!("{key} -{other}")]);
    world.verdict(A, false);
    assert_eq!(world.kernel.services[&key].servers[&DestinationKey(A.parse().unwrap())].weight, 1, "held");
    world.verdict(B, true);
    assert_eq!(world.kernel.services[&key].servers[&DestinationKey(A.parse().unwrap())].weight, 0);
}

/// The rules are slower than IPVS here: their change is asked for, and not done yet.
#[test]
fn a_server_comes_under_nat_only_when_its_reply_rule_is_there() {
    let mut world = World::new();
    let direct = Service { forward: Forward::Direct, ..service(VIP, &[(A, 1)]) };
    world.input(Input::Config(config(vec![direct])));
    world.verdict(A, true);
    world.log();

    let config = config(vec![service(VIP, &[(A, 1)])]);
    world.core.handle(world.now, Input::Config(config));
    let found = world.kernel.services.clone().into_iter().collect();
    let rules = world.kernel.rules.clone();
    world.core.handle(world.now, Input::FoundRules(Ok(FoundRules { rules, damage: Vec::new() })));
    let asked = world.core.handle(world.now, Input::FoundServices(Ok(found)));
    assert!(!asked.iter().any(|output| matches!(output, Output::Do(..))), "{asked:?}");
    let rules = asked.into_iter().find_map(|output| match output {
        Output::DoRules(rules) => Some(rules),
        _ => None,
    });
    world.kernel.rules = rules.expect("the reply rule");
    world.input(Input::RulesDone(Ok(world.kernel.rules.clone())));
    assert_eq!(world.log(), [format!("UDP {VIP} {A}=1")]);
    let found = &world.kernel.services[&ServiceKey::udp(VIP.parse().unwrap())];
    assert!(found.servers.values().all(|server| server.forward == Forward::Masquerade));
}

#[test]
fn after_a_failure_the_kernel_is_read_anew_even_if_the_next_step_succeeds() {
    let mut world = World::new();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    world.verdict(A, true);
    world.verdict(B, true);
    let (key, b) = (ServiceKey::udp(VIP.parse().unwrap()), DestinationKey(B.parse().unwrap()));
    // Somebody else deletes it; the failure of the next step says so.
    world.kernel.services.get_mut(&key).unwrap().servers.remove(&b);
    world.verdict(B, false);
    world.verdict(B, true);
    world.verdict(A, false);
    world.verdict(A, true);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.kernel.services[&key].servers.get(&b).map(|config| config.weight), Some(1));
    let said = |event: &Event| matches!(event, Event::Failed { .. } | Event::Works { .. });
    let said: Vec<&Event> = world.events.iter().filter(|event| said(event)).collect();
    assert!(matches!(said[..], [Event::Failed { .. }, Event::Works { .. }]), "{said:?}");
}

#[test]
fn a_weight_that_the_config_changes_is_said_so() {
    let mut world = World::new();
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
fn a_server_that_moves_to_another_vip_gets_weight_there_when_it_has_left_the_first() {
    let mut world = World::new();
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
fn remove_takes_out_what_is_own_and_nothing_else() {
    let mut world = World::new();
    let foreign = ServiceKey::udp("192.0.2.99:53".parse().unwrap());
    let config_of_foreign = ServiceConfig::new("wlc".parse().unwrap(), ipvs_netlink::Family::Inet);
    let service_of_others = FoundService { config: config_of_foreign, servers: BTreeMap::new() };
    world.kernel.services.insert(foreign, service_of_others);
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1)])])));
    world.verdict(A, true);
    world.input(Input::Remove);
    assert!(!world.finished);
    world.pass(Duration::from_secs(6));
    assert!(world.finished);
    assert_eq!(world.kernel.services.keys().collect::<Vec<_>>(), [&foreign]);
    assert!(world.kernel.rules.is_empty());
}

#[test]
fn drift_is_repaired_and_said_and_a_fight_is_left() {
    let mut world = World::new();
    world.input(Input::Config(config(vec![service(VIP, &[(A, 1), (B, 1)])])));
    world.verdict(A, true);
    world.verdict(B, true);
    world.log();
    world.events.clear();
    let key = ServiceKey::udp(VIP.parse().unwrap());
    let server = DestinationKey(A.parse().unwrap());
    let by_hand = |world: &mut World, weight| {
        world.kernel.services.get_mut(&key).unwrap().servers.get_mut(&server).unwrap().weight = weight;
    };
    for _ in 0..3 {
        by_hand(&mut world, 0);
        world.pass(Duration::from_secs(2));
        assert_eq!(world.log(), [format!("{key} {A}=1")]);
    }
    assert!(world.events.iter().any(|event| {
        matches!(event, Event::Drift { what, .. } if what.contains("weight 1 → 0") && what.contains("ipvsd drain"))
    }));
    by_hand(&mut world, 0);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.log(), Vec::<String>::new(), "another program manages this");
    world.verdict(A, false);
    world.verdict(A, true);
    assert_eq!(world.log(), [format!("{key} {A}=1")], "a verdict is no repair");
    world.kernel.services.clear();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.kernel.services[&key].servers.len(), 2);
    assert_eq!(world.kernel.services[&key].servers[&server].weight, 1);
}

#[test]
fn pinned_clients_are_freed_one_server_at_a_time_and_the_sysctl_is_put_back() {
    let mut world = World::new();
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
    world.kernel.services.insert(key, FoundService { config: old, servers });
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
    assert!(world.memory.sysctls.is_empty());
}

#[derive(Clone, Debug)]
enum Happening {
    Config(Vec<(usize, Vec<(usize, u32)>)>),
    Verdict(usize, bool),
    Pass(u64),
    Faults(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    let servers = prop::collection::btree_map(0..6_usize, 0..4_u32, 1..5);
    let services = prop::collection::btree_map(0..3_usize, servers, 1..3);
    let services = services.prop_map(|services| {
        let services = services.into_iter();
        services.map(|(vip, servers)| (vip, servers.into_iter().collect())).collect()
    });
    prop_oneof![
        2 => services.prop_map(Happening::Config),
        6 => (0..6_usize, any::<bool>()).prop_map(|(server, up)| Happening::Verdict(server, up)),
        3 => (0..8000_u64).prop_map(Happening::Pass),
        1 => (1..4_u32).prop_map(Happening::Faults),
    ]
}

fn address(server: usize) -> String {
    format!("10.0.1.{}:53", 11 + server)
}

proptest! {
    /// Whatever happens: the promises hold after every step (the kernel asserts them), and when the faults
    /// end the kernel becomes what is wanted and nothing more is done.
    #[test]
    fn every_history_keeps_the_promises_and_settles(happenings in prop::collection::vec(happening(), 1..40)) {
        let mut world = World::new();
        for happening in happenings {
            match happening {
                Happening::Config(services) => {
                    // Each server behind one VIP, as the config room makes sure.
                    let mut taken = std::collections::BTreeSet::new();
                    let services = services.iter().filter_map(|(vip, servers)| {
                        let servers: Vec<(String, u32)> = servers.iter()
                            .filter(|(server, _)| taken.insert(*server))
                            .map(|(server, weight)| (address(*server), *weight)).collect();
                        let servers: Vec<(&str, u32)> =
                            servers.iter().map(|(server, weight)| (server.as_str(), *weight)).collect();
                        (!servers.is_empty()).then(|| service(&format!("192.0.2.{vip}:53"), &servers))
                    });
                    world.input(Input::Config(config(services.collect())));
                }
                Happening::Verdict(server, up) => world.verdict(&address(server), up),
                Happening::Pass(span) => world.pass(Duration::from_millis(span)),
                Happening::Faults(faults) => world.faults += faults,
            }
        }
        world.faults = 0;
        world.pass(Duration::from_secs(100));
        let targets: Vec<String> = world.probed.iter().map(|target| target.address.to_string()).collect();
        for target in &targets {
            world.verdict(target, true);
        }
        world.pass(Duration::from_secs(200));
        world.log();
        for key in world.core.own.iter() {
            let found = world.kernel.services.get(key);
            match world.core.wanted(key) {
                None => prop_assert!(found.is_none(), "{key} is left behind"),
                Some(wanted) => {
                    let found = found.expect("every service of the config is there");
                    prop_assert!(found.servers.keys().eq(wanted.servers.keys()));
                    for (server, config) in &found.servers {
                        prop_assert_eq!(Some(config.weight), wanted.servers[server].due.weight);
                    }
                }
            }
        }
        world.pass(Duration::from_secs(200));
        prop_assert_eq!(world.log(), Vec::<String>::new());
    }
}
