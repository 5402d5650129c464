//! 1 000 services with 10 servers each: made, and looked at.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use ipvs_netlink::tokio::Client;
use ipvs_netlink::{
    DestinationConfig, DestinationKey, Family, Flags, Forward, Request, ServiceConfig, ServiceKey, request,
};
use ipvsd::kernel::look;

use crate::bare::Bare;
use crate::meter::{figure, instructions, row};

/// Services.
pub const SERVICES: u32 = 1000;
/// Servers of each.
pub const SERVERS: u32 = 10;

/// VIP and port of a service.
pub fn vip(service: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x6440_0000 + service).into(), 53)
}

/// Address and port of a server; each is of one service.
pub fn server(service: u32, server: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x0a01_0000 + service * SERVERS + server).into(), 53)
}

/// A config with the first `services` of them, all with this check.
pub fn config(services: u32, check: &str) -> String {
    let mut text = String::new();
    for service in 0..services {
        let servers: Vec<String> =
            (0..SERVERS).map(|number| format!("\"{}\"", server(service, number))).collect();
        let _ = writeln!(
            text,
            "[[service]]\nname = \"s{service}\"\nlisten = \"{}\"\nservers = [{}]\ncheck = {check}",
            vip(service),
            servers.join(", ")
        );
    }
    text
}

fn plain() -> ServiceConfig {
    ServiceConfig::new("rr".parse().expect("a name"), Family::Inet)
}

fn requests() -> Vec<Request<()>> {
    let mut requests = Vec::new();
    for service in 0..SERVICES {
        let key = ServiceKey::udp(vip(service));
        let flags = Flags::exactly(Flags::ONE_PACKET);
        let config = ServiceConfig { flags, ..plain() };
        requests.push(request::add_service(&key, &config).expect("a netmask of its family"));
        for number in 0..SERVERS {
            let forward = Forward::Masquerade;
            let config = DestinationConfig { forward, weight: 1, upper_threshold: 0, lower_threshold: 0 };
            let destination = DestinationKey(server(service, number));
            requests.push(request::add_destination(&key, &destination, &config));
        }
    }
    requests
}

/// On a kernel whose table was empty until now.
pub fn programmed_and_seen() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut client = runtime.block_on(Client::connect()).expect("IPVS");
    // The scheduler's module is loaded by the first service.
    let key = ServiceKey::udp(vip(SERVICES));
    runtime.block_on(client.add_service(&key, &plain())).expect("a service");
    runtime.block_on(client.delete_service(&key)).expect("no service");
    let requests = requests();
    let (results, programming) = instructions(|| runtime.block_on(client.send_all(requests)));
    results.into_iter().for_each(|result| result.expect("a service or server"));
    let own: BTreeSet<ServiceKey> = (0..SERVICES).map(|service| ServiceKey::udp(vip(service))).collect();
    let (found, look) = instructions(|| runtime.block_on(look::find(&mut client, &own)));
    let servers = found.expect("a look").iter().map(|(_, service)| service.servers.len()).sum::<usize>();
    assert_eq!(servers, (SERVICES * SERVERS) as usize);
    // The same dumps, their bytes not read: what the kernel alone costs.
    let bare = Bare::open();
    let lists = own.iter().map(|service| bare.prepare(&[request::list_destinations(service)]));
    let lists: Vec<_> = [bare.prepare(&[request::list_services()])].into_iter().chain(lists).collect();
    let ((), dumps) = instructions(|| lists.iter().for_each(|list| bare.dump(list)));
    let (text, reading) = instructions(|| fs::read("/proc/net/ip_vs").expect("the table as text"));
    assert!(text.len() > servers);
    let ratio = look as f64 / programming as f64;
    figure("programming 1 000 × 10 on an empty table", programming, "");
    figure("one full look at it", look, "");
    figure("  of which the kernel's dumps", dumps, "");
    figure("reading /proc/net/ip_vs", reading, "");
    row("one full look / programming", &format!("{ratio:.2}"), "≤ 0.50", ratio <= 0.5);
    assert!(ratio <= 0.5, "a target is missed");
}
