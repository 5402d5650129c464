//! What may happen to a director, drawn by a seed: configs, servers that die and live again, edits by hand, faults,
//! crashes and restarts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationConfig, DestinationKey, Family, Flags, Forward, ServiceConfig, ServiceKey};

use super::bugs::Bug;
use super::kernel::Kernel;
use super::random::Random;
use super::world::World;
use crate::core::Input;
use crate::core::evict::EXPIRE;
use crate::core::model::*;
use crate::core::plan::FoundService;
use crate::core::sysctls;

/// What kinds of trouble a history has, so that most have a quiet side.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    pub by_hand: bool,
    pub faults: bool,
    pub crashes: bool,
}

pub struct History {
    pub world: World,
    pub trouble: Trouble,
    /// Which servers answer.
    pub alive: BTreeMap<SocketAddr, bool>,
    pub config: Config,
    /// Others have changed the sysctls, or what they were is forgotten.
    pub sysctls_changed: bool,
    /// The sysctls before ipvsd.
    pub sysctls: BTreeMap<String, String>,
}

const SERVERS: usize = 7;
/// Service 2 is `direct`, service 3 is without OPS.
const VIPS: usize = 4;
const FOREIGN: usize = 9;

pub fn server(number: usize) -> SocketAddr {
    let text = if number >= 5 { format!("[2001:db8:1::{number}]:53") } else { format!("10.0.1.{number}:53") };
    text.parse().expect("an address")
}

fn vip(number: usize, v6: bool) -> SocketAddr {
    let text = if v6 { format!("[2001:db8::{number}]:53") } else { format!("192.0.2.{number}:53") };
    text.parse().expect("an address")
}

pub fn check(retry: u64) -> Check {
    Check {
        probe: Probe::Udp { send: b"ping".to_vec(), reply: Reply::Any },
        interval: Duration::from_millis(500),
        timeout: Duration::from_millis(400),
        retry_interval: Duration::from_millis(retry),
        rise: 2,
        fall: 3,
        address: None,
        port: None,
    }
}

fn forward(service: usize) -> Forward {
    if service == 2 { Forward::Direct } else { Forward::Masquerade }
}

/// A valid config: a server is behind one VIP under NAT.
pub fn draw_config(random: &mut Random) -> Config {
    let mut free: Vec<usize> = (0..SERVERS).collect();
    let mut services = Vec::new();
    for number in 0..VIPS {
        if random.one_in(3) {
            continue;
        }
        let mut servers = Vec::new();
        for _ in 0..=random.below(4) {
            let chosen = random.below(SERVERS);
            let place = free.iter().position(|free| *free == chosen);
            let own = forward(number) == Forward::Direct || place.map(|place| free.remove(place)).is_some();
            let address = server(chosen);
            if own && servers.iter().all(|other: &Server| other.address != address) {
                servers.push(Server { address, weight: [1, 1, 1, 3, 0][random.below(5)], fallback: false });
            }
        }
        let listen = [false, true].into_iter().map(|v6| vip(number, v6));
        let served =
            |vip: &SocketAddr| servers.iter().any(|server| server.address.is_ipv6() == vip.is_ipv6());
        let listen: Vec<SocketAddr> = listen.filter(served).collect();
        if listen.is_empty() {
            continue;
        }
        let checks = (!random.one_in(6)).then(|| Arc::new(check(if random.one_in(4) { 50 } else { 100 })));
        let when_all_down = if random.one_in(4) { WhenAllDown::Refuse } else { WhenAllDown::Keep };
        services.push(Service {
            name: format!("service {number}"),
            listen,
            ops: number != 3,
            scheduler: if random.one_in(4) { "rr" } else { "wrr" }.parse().expect("a scheduler"),
            forward: forward(number),
            servers,
            checks: checks.into_iter().collect(),
            policy: Policy { when_all_down, ..Policy::default() },
            drain: Duration::from_secs(2 + random.below(4) as u64),
            drift: if random.one_in(10) { Drift::Report } else { Drift::Repair },
        });
    }
    Config { services, ..Config::default() }
}

fn draw_server(random: &mut Random, service: usize) -> DestinationConfig {
    let forward = if random.one_in(8) { Forward::Direct } else { forward(service) };
    let upper_threshold = if random.one_in(8) { 100 } else { 0 };
    DestinationConfig { forward, weight: random.below(4) as u32, upper_threshold, lower_threshold: 0 }
}

fn draw_service(random: &mut Random) -> (ServiceKey, FoundService) {
    let (number, v6) = (random.below(VIPS), random.one_in(3));
    let scheduler = if random.one_in(3) { "rr" } else { "wrr" }.parse().expect("a scheduler");
    let mut config = ServiceConfig::new(scheduler, if v6 { Family::Inet6 } else { Family::Inet });
    let ops = if random.one_in(2) { Flags::ONE_PACKET } else { 0 };
    config.flags = Flags::exactly(ops | Flags::HASHED);
    let of_family = (0..SERVERS).map(server).filter(|server| server.is_ipv6() == v6);
    let mut servers = BTreeMap::new();
    for address in of_family.collect::<Vec<_>>() {
        if random.one_in(2) {
            servers.insert(DestinationKey(address), draw_server(random, number));
        }
    }
    (ServiceKey::udp(vip(number, v6)), FoundService { config, servers })
}

impl History {
    pub fn new(seed: u64, bug: Option<Bug>, trace: bool) -> Self {
        let mut random = Random(seed);
        let trouble =
            Trouble { by_hand: random.one_in(2), faults: random.one_in(2), crashes: random.one_in(2) };
        let mut kernel = Kernel::default();
        for key in sysctls::watched() {
            kernel.sysctls.insert(key.to_owned(), random.below(2).to_string());
        }
        let sysctls = kernel.sysctls.clone();
        for _ in 0..random.below(3) {
            let (key, service) = draw_service(&mut random);
            let pinned = service.servers.keys().filter(|_| random.one_in(2)).map(|server| (key, *server));
            kernel.connections.extend(pinned);
            kernel.services.insert(key, service);
        }
        let mut world = World::new(kernel, seed.wrapping_mul(31));
        world.bug = bug;
        world.trace = trace;
        if random.one_in(2) {
            let (_, service) = draw_service(&mut random);
            let key = ServiceKey::udp(vip(
                FOREIGN,
                service.config.netmask == ipvs_netlink::Netmask::host(Family::Inet6),
            ));
            world.promises.foreign.insert(key, service.clone());
            world.kernel.services.insert(key, service);
        }
        for key in world.kernel.services.keys().copied().collect::<Vec<_>>() {
            world.promises.edited(world.now, &world.kernel, key);
        }
        let alive = (0..SERVERS).map(|number| (server(number), !random.one_in(3))).collect();
        let config = draw_config(&mut random);
        world.random = random;
        let mut history = Self { world, trouble, alive, config, sysctls_changed: false, sysctls };
        history.give_config();
        history
    }

    fn give_config(&mut self) {
        let config = self.config.clone();
        self.world.hand_over(Input::Config(config));
    }

    pub fn reconfigure(&mut self, config: Config) {
        self.config = config;
        self.give_config();
    }

    /// One thing happens, mostly that work goes on.
    pub fn step(&mut self) {
        if self.world.finished.is_some() {
            self.restart(false);
        }
        match self.world.random.below(100) {
            0..70 => {
                let _ = self.world.work() || self.tell_verdict() || self.world.ring() || self.wait();
            }
            70..78 => drop(self.wait()),
            78..86 => drop(self.tell_verdict()),
            86..92 => {
                let random = &mut self.world.random;
                let server = server(random.below(SERVERS));
                self.alive.insert(server, !random.one_in(3));
            }
            92 if self.world.random.one_in(2) => {
                let config = draw_config(&mut self.world.random);
                self.reconfigure(config);
            }
            93..96 if self.trouble.by_hand => self.by_hand(),
            96 if self.trouble.faults => {
                self.world.faults = [0, 0, 0, 30, 8, 2, 1][self.world.random.below(7)];
            }
            97 if self.trouble.crashes && self.world.random.one_in(3) => {
                let file_lost = self.world.random.one_in(6);
                self.restart(file_lost);
            }
            98 if self.trouble.crashes && self.world.random.one_in(3) => self.world.hand_over(Input::Stop),
            _ => {}
        }
    }

    fn restart(&mut self, file_lost: bool) {
        self.sysctls_changed |= file_lost && !self.world.disk.sysctls.is_empty();
        self.world.crash(file_lost);
        if self.world.random.one_in(3) {
            self.config = draw_config(&mut self.world.random);
        }
        self.give_config();
    }

    /// Time goes on, at most to the alarm.
    fn wait(&mut self) -> bool {
        let random = &mut self.world.random;
        let span = Duration::from_millis([1, 20, 300, 1500][random.below(4)]);
        let until = self.world.wake.unwrap_or(Duration::MAX).max(self.world.now);
        self.world.now = (self.world.now + span).min(until);
        self.world.ring();
        true
    }

    /// The checker finds out about one target.
    pub fn tell_verdict(&mut self) -> bool {
        let promises = &self.world.promises;
        let news = promises.probed.iter().filter_map(|target| {
            let up = *self.alive.get(&target.address)?;
            (promises.told.get(&target.id) != Some(&up)).then_some((target.id, up))
        });
        let Some((target, up)) = self.world.random.pick(news) else { return false };
        let reason = if up { "answered" } else { "silent" }.to_owned();
        self.world.hand_over(Input::Verdict(Verdict { target, up, factor: 100, reason }));
        true
    }

    /// Somebody types ipvsadm, nft or sysctl.
    fn by_hand(&mut self) {
        let Self { world, .. } = self;
        let now = world.now;
        let random = &mut world.random;
        let kernel = &mut world.kernel;
        let foreign: Vec<ServiceKey> = world.promises.foreign.keys().copied().collect();
        let key = random.pick(kernel.services.keys().filter(|key| !foreign.contains(key)).copied());
        let rules = kernel.rules.clone();
        let what = random.below(12);
        if world.trace {
            println!("{now:?} by hand: {what} {key:?}");
        }
        let old = key.and_then(|key| kernel.services.get(&key).cloned());
        if let Some(key) = key {
            world.promises.before(now, kernel, key);
        }
        match (what, key) {
            (0, _) => {
                let (key, service) = draw_service(random);
                world.promises.before(now, kernel, key);
                kernel.services.insert(key, service);
                world.promises.edited(now, kernel, key);
            }
            (1, Some(key)) => {
                kernel.services.remove(&key);
                kernel.connections.retain(|(service, _)| *service != key);
            }
            (2, Some(key)) => {
                let Some(service) = kernel.services.get_mut(&key) else { return };
                // Off, not on again at once: nobody would see that.
                let ops = service.config.flags.contains(Flags::ONE_PACKET);
                service.config.flags = Flags::exactly(Flags::HASHED);
                let pinned = random.pick(service.servers.keys().copied()).filter(|_| ops);
                kernel.connections.extend(pinned.map(|server| (key, server)));
            }
            (3 | 4, Some(key)) => {
                let Some(service) = kernel.services.get_mut(&key) else { return };
                let server = random.pick(service.servers.keys().copied());
                if let Some(server) = server {
                    service.servers.remove(&server);
                }
            }
            (5..8, Some(key)) => {
                let Some(service) = kernel.services.get_mut(&key) else { return };
                let of_family = (0..SERVERS).map(server).filter(|server| {
                    matches!(key, ServiceKey::Address { address, .. } if address.is_ipv6() == server.is_ipv6())
                });
                let Some(server) = random.pick(of_family) else { return };
                let number = if service.servers.values().any(|config| config.forward == Forward::Direct) {
                    2
                } else {
                    0
                };
                service.servers.insert(DestinationKey(server), draw_server(random, number));
            }
            (8, _) => kernel.rules = Rules::default(),
            (9, _) => {
                let reply = random.pick(kernel.rules.replies.keys().copied());
                if let Some(reply) = reply {
                    kernel.rules.replies.remove(&reply);
                }
                kernel.damaged |= random.one_in(2);
            }
            (10, _) => {
                let key = random.pick(sysctls::watched()).unwrap_or(EXPIRE);
                kernel.sysctls.insert(key.to_owned(), random.below(2).to_string());
                self.sysctls_changed = true;
                world.promises.sysctls_by_hand = true;
            }
            _ => {
                let others: Vec<ServiceKey> =
                    kernel.services.keys().filter(|key| !foreign.contains(key)).copied().collect();
                for key in others.into_iter().filter(|_| random.one_in(20)) {
                    kernel.services.remove(&key);
                    world.promises.edited(now, kernel, key);
                }
            }
        }
        if rules != world.kernel.rules || what == 9 {
            world.promises.torn(now, &world.kernel, &rules);
            world.tell_of_rules();
        }
        if let Some(key) = key.filter(|key| world.kernel.services.get(key) != old.as_ref()) {
            world.promises.edited(now, &world.kernel, key);
        }
    }
}
