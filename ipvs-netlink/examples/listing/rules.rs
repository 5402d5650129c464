//! A table as the options of `ipvsadm` that make it, in its order: what `ipvsadm -Sn` prints.

use std::net::Ipv4Addr;

use ipvs_netlink::{
    Destination, Family, Flags, Forward, Netmask, Protocol, Service, ServiceKey, TunnelChecksum, TunnelKind,
};

/// The line that makes a service.
pub fn of_service(service: &Service) -> String {
    let mut words = vec!["-A".to_owned(), key(&service.key), format!("-s {}", service.config.scheduler)];
    words.extend(options_of(service));
    words.join(" ")
}

/// The options of a service besides its scheduler.
pub fn options_of(service: &Service) -> Vec<String> {
    let config = &service.config;
    let has = |bits| config.flags.contains(bits);
    let mut options = Vec::new();
    let of_scheduler = [(Flags::SCHED1, 1), (Flags::SCHED2, 2), (Flags::SCHED3, 3)];
    let names: Vec<_> = of_scheduler
        .into_iter()
        .filter(|(bits, _)| has(*bits))
        .map(|(_, number)| match (number, &config.scheduler) {
            (1, name) if *name == "sh" || *name == "mh" => format!("{name}-fallback"),
            (2, name) if *name == "sh" || *name == "mh" => format!("{name}-port"),
            (number, _) => format!("flag-{number}"),
        })
        .collect();
    if has(Flags::PERSISTENT) {
        options.push(format!("-p {}", config.timeout));
        if config.netmask != Netmask::host(service.key.family()) {
            options.push(match config.netmask {
                Netmask::V4(mask) => format!("-M {}", Ipv4Addr::from(mask)),
                Netmask::V6(length) => format!("-M {length}"),
            });
        }
    }
    options.extend(config.persistence_engine.as_ref().map(|engine| format!("--pe {engine}")));
    if has(Flags::ONE_PACKET) {
        options.push("-o".to_owned());
    }
    if !names.is_empty() {
        options.push(format!("-b {}", names.join(",")));
    }
    options
}

/// The line that adds a server to a service. Thresholds are not in it: `ipvsadm` does not save them.
pub fn of_destination(service: &ServiceKey, server: &Destination) -> String {
    let (method, tunnel) = match server.config.forward {
        Forward::Masquerade => ("-m", None),
        Forward::Tunnel(tunnel) => ("-i", Some(tunnel)),
        _ => ("-g", None),
    };
    let mut words = vec!["-a".to_owned(), key(service), format!("-r {}", server.key)];
    words.push(format!("{method} -w {}", server.config.weight));
    if let Some(tunnel) = tunnel {
        let (kind, encapsulates) = match tunnel.kind {
            TunnelKind::Gue { port } => (format!("gue --tun-port {port}"), true),
            TunnelKind::Gre => ("gre".to_owned(), true),
            _ => ("ipip".to_owned(), false),
        };
        words.push(format!("--tun-type {kind}"));
        let checksum = match tunnel.checksum {
            TunnelChecksum::Full => "--tun-csum",
            TunnelChecksum::Remote => "--tun-remcsum",
            _ => "--tun-nocsum",
        };
        words.extend(encapsulates.then(|| checksum.to_owned()));
    }
    words.join(" ")
}

fn key(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address { protocol: Protocol::TCP, address } => format!("-t {address}"),
        ServiceKey::Address { protocol: Protocol::UDP, address } => format!("-u {address}"),
        ServiceKey::Address { address, .. } => format!("--sctp-service {address}"),
        ServiceKey::FwMark { family: Family::Inet, mark } => format!("-f {mark}"),
        ServiceKey::FwMark { family: Family::Inet6, mark } => format!("-f {mark} -6"),
    }
}
