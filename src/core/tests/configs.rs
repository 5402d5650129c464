//! What a director may be told and what it may find, drawn by a seed: configs, the next version of a config, services in
//! the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{
    DestinationConfig, DestinationKey, Family, Flags, Forward, Protocol, ServiceConfig, ServiceKey, Tunnel,
    TunnelChecksum, TunnelKind,
};

use super::random::Random;
use crate::core::model::*;
use crate::core::plan::FoundService;

pub const SERVERS: usize = 7;
/// Service 2 is mostly not under NAT, service 3 mostly without OPS.
const SERVICES: usize = 4;
/// One more than services, so that a service can move.
const VIPS: usize = SERVICES + 1;
pub const FOREIGN: usize = 9;

pub fn server(number: usize) -> SocketAddr {
    let text = if number >= 5 { format!("[2001:db8:1::{number}]:53") } else { format!("10.0.1.{number}:53") };
    text.parse().expect("an address")
}

pub fn vip(number: usize, v6: bool) -> SocketAddr {
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
        origin: Default::default(),
    }
}

fn draw_forward(random: &mut Random, service: usize) -> Forward {
    let tunnel = |kind| Forward::Tunnel(Tunnel { kind, checksum: TunnelChecksum::None });
    match random.below(if service == 2 { 4 } else { 16 }) {
        0 => tunnel(TunnelKind::Ipip),
        1 => tunnel(TunnelKind::Gue { port: 6080.try_into().unwrap() }),
        2 | 3 => Forward::Direct,
        _ => Forward::Masquerade,
    }
}

pub fn draw_config(random: &mut Random) -> Config {
    let mut config = Config::default();
    if random.one_in(4) {
        config.on_stop = OnStop::Remove;
    }
    for number in 0..SERVICES {
        if !random.one_in(3) {
            let service = draw_service(random, number);
            config.services.push(service);
            if !valid(&config) {
                config.services.pop();
            }
        }
    }
    config
}

fn draw_service(random: &mut Random, number: usize) -> Service {
    let mut servers: Vec<Server> = Vec::new();
    for _ in 0..=random.below(4) {
        let address = server(random.below(SERVERS));
        if servers.iter().all(|other| other.address != address) {
            servers.push(Server::new(address, [1, 1, 1, 3, 0][random.below(5)], Forward::Masquerade));
        }
    }
    let mut listen = listen(number, &servers);
    if random.one_in(4) {
        listen.extend(listen.clone().into_iter().map(over_tcp));
    }
    let own_checks = servers.iter().filter_map(|server| {
        let own = random.one_in(4).then(|| match random.below(4) {
            0 => Box::default(),
            // Perhaps that of the service.
            choice => [Arc::new(check([50, 100, 200][choice - 1]))].into(),
        });
        Some((server.address, own?))
    });
    let own_checks = own_checks.collect();
    let command = |word: &str| {
        let argv = vec![format!("/bin/{word}")];
        Some(Arc::new(Command { argv, timeout: Duration::from_secs(1), network: false, user: None }))
    };
    let commands = || Commands { on_up: command("up"), on_down: command("down") };
    let told = servers.iter().filter(|_| random.one_in(4));
    let own_commands = told.map(|server| (server.address, commands())).collect();
    let service = Service {
        name: format!("service {number}"),
        listen,
        ops: random.one_in(8) != (number != 3),
        scheduler: if random.one_in(4) { "rr" } else { "wrr" }.parse().expect("a scheduler"),
        scheduler_flags: 0,
        persistence: None,
        forward: Forward::Masquerade,
        servers,
        checks: (!random.one_in(6))
            .then(|| Arc::new(check(if random.one_in(4) { 50 } else { 100 })))
            .into_iter()
            .collect(),
        own_checks,
        own_commands,
        down_on_stop: random.one_in(4),
        ha_suspend: random.one_in(4),
        policy: Policy {
            when_all_down: if random.one_in(4) { WhenAllDown::Refuse } else { WhenAllDown::Keep },
            ..Policy::default()
        },
        drain: Duration::from_secs(2 + random.below(4) as u64),
        drift: if random.one_in(10) { Drift::Report } else { Drift::Repair },
    };
    forwarded(service, draw_forward(random, number))
}

/// The same service with this way to all its servers.
fn forwarded(mut service: Service, forward: Forward) -> Service {
    service.forward = forward;
    service.servers.iter_mut().for_each(|server| server.forward = forward);
    service
}

/// Whether the reply rewrite stands behind this server of an OPS service.
pub fn rewritten(service: &Service, server: SocketAddr) -> bool {
    let mut nat = service.servers.iter().filter(|server| server.forward == Forward::Masquerade);
    service.ops && nat.any(|listed| listed.address == server)
}

/// The VIP of connections at the same address and port.
fn over_tcp(vip: Vip) -> Vip {
    let address = vip.address().expect("an address");
    Vip(ServiceKey::Address { protocol: Protocol::TCP, address })
}

/// The VIPs that some of these servers can stand behind.
fn listen(number: usize, servers: &[Server]) -> Vec<Vip> {
    let served = |v6: &bool| servers.iter().any(|server| server.address.is_ipv6() == *v6);
    [false, true].into_iter().filter(served).map(|v6| vip(number, v6).into()).collect()
}

/// Each VIP is listed once, and a server is behind one service under NAT with OPS.
fn valid(config: &Config) -> bool {
    let mut vips = BTreeSet::new();
    let mut seen = BTreeSet::new();
    config.services.iter().all(|service| {
        let mut nat = service.servers.iter().filter(|server| rewritten(service, server.address));
        !service.listen.is_empty()
            && service.listen.iter().all(|vip| vips.insert(*vip))
            && nat.all(|server| seen.insert(server.address))
    })
}

/// The file is edited: mostly in one place.
pub fn edit_config(random: &mut Random, config: &Config) -> Config {
    let mut edited = config.clone();
    let services = &mut edited.services;
    let some = (!services.is_empty()).then(|| (random.below(services.len()), random.below(services.len())));
    let number = |service: &Service| {
        let v6 = service.servers[0].address.is_ipv6();
        (0..VIPS).find(|number| service.listen.contains(&vip(*number, v6).into()))
    };
    match (random.below(8), some) {
        (0, Some((one, _))) => services[one].ops ^= true,
        (1, Some((one, _))) => {
            let forward = draw_forward(random, 0);
            services[one] = forwarded(services[one].clone(), forward);
        }
        // Two exchange their servers, or the second gets one of the first's.
        (choice @ 2..5, Some((one, other))) if one != other => {
            let numbers =
                [number(&services[one]), number(&services[other])].map(|number| number.unwrap_or(0));
            let [mut first, mut second] =
                [one, other].map(|place| std::mem::take(&mut services[place].servers));
            if choice < 4 {
                std::mem::swap(&mut first, &mut second);
            } else {
                let moved = first.pop();
                second.retain(|server| moved.is_none_or(|moved| moved.address != server.address));
                second.extend(moved);
            }
            for (place, number, servers) in [(one, numbers[0], first), (other, numbers[1], second)] {
                services[place].listen = listen(number, &servers);
                services[place].servers = servers;
            }
        }
        (5, Some((one, _))) => services[one].listen = listen(random.below(VIPS), &services[one].servers),
        _ => return draw_config(random),
    }
    if valid(&edited) { edited } else { draw_config(random) }
}

pub fn draw_server(random: &mut Random, forward: Forward) -> DestinationConfig {
    let forward = if random.one_in(8) { draw_forward(random, 2) } else { forward };
    let upper_threshold = if random.one_in(8) { 100 } else { 0 };
    DestinationConfig { forward, weight: random.below(4) as u32, upper_threshold, lower_threshold: 0 }
}

/// A service as others leave it in the kernel.
pub fn draw_found(random: &mut Random) -> (ServiceKey, FoundService) {
    let (number, v6) = (random.below(VIPS), random.one_in(3));
    let scheduler = if random.one_in(3) { "rr" } else { "wrr" }.parse().expect("a scheduler");
    let mut config = ServiceConfig::new(scheduler, if v6 { Family::Inet6 } else { Family::Inet });
    let ops = if random.one_in(2) { Flags::ONE_PACKET } else { 0 };
    config.flags = Flags::exactly(ops | Flags::HASHED);
    let forward = draw_forward(random, number);
    let of_family = (0..SERVERS).map(server).filter(|server| server.is_ipv6() == v6);
    let mut servers = BTreeMap::new();
    for address in of_family.collect::<Vec<_>>() {
        if random.one_in(2) {
            servers.insert(DestinationKey(address), draw_server(random, forward));
        }
    }
    (ServiceKey::udp(vip(number, v6)), FoundService { config, servers: Arc::new(servers) })
}
