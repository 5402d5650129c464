//! What the kernel is to hold: a pure function of the config, the verdicts and what still drains.

use std::collections::BTreeMap;

use ipvs_netlink::{
    DestinationConfig, DestinationKey, Family, Flags, Forward, Netmask, Protocol, ServiceConfig, ServiceKey,
};

use super::model::{Config, Rules, Server, Service, Vip};
use super::plan::{FoundServices, Wanted, WantedServer};
use super::pool::Pool;
use super::rules::Need;

/// Every IPVS service that `config` asks for, and the place of its service in the config.
pub fn listens(config: &Config) -> impl Iterator<Item = (ServiceKey, usize)> {
    let services = config.services.iter().enumerate();
    services.flat_map(|(place, service)| service.listen.iter().map(move |vip| (vip.0, place)))
}

/// The servers of `service` that can stand behind the VIP `key`: those of its family.
pub fn servers_of(service: &Service, key: ServiceKey) -> impl Iterator<Item = &Server> {
    service.servers.iter().filter(move |server| Family::of(server.address.ip()) == key.family())
}

/// The name of a service with a server under NAT and a VIP of this family, if there is one: its replies need forwarding.
pub fn nat(config: &Config, family: Family) -> Option<&str> {
    let nat = |service: &&Service| {
        let mut vips = service.listen.iter().filter(|vip| vip.0.family() == family);
        vips.any(|vip| servers_of(service, vip.0).any(|server| server.forward == Forward::Masquerade))
    };
    config.services.iter().find(nat).map(|service| service.name.as_str())
}

/// The rules that `config` asks for, whatever the kernel holds.
pub fn rules_of(config: &Config) -> Rules {
    let mut rules = Rules::default();
    for service in config.services.iter().filter(|service| service.ops) {
        for vip in &service.listen {
            let request = need_of(service, vip.0);
            let servers =
                servers_of(service, vip.0).filter_map(|server| need_of_server(service, vip.0, server));
            request.into_iter().chain(servers).for_each(|need| rules.add(need));
        }
    }
    rules.refuse(config.refusals);
    rules
}

/// What the VIP `key` of `service` needs of the rules.
fn need_of(service: &Service, key: ServiceKey) -> Option<Need> {
    Vip(key).udp().filter(|_| service.ops).map(Need::Request)
}

/// What a server needs of the rules behind the VIP `key` of `service`.
fn need_of_server(service: &Service, key: ServiceKey, server: &Server) -> Option<Need> {
    let vip = Vip(key).udp().filter(|_| service.ops)?;
    Need::of_server(vip, server.address, server.forward)
}

/// What the kernel is to hold for `service` at the VIP `key`.
pub fn wanted(service: &Service, key: ServiceKey, pool: &Pool) -> Wanted {
    let servers = servers_of(service, key).filter_map(|server| {
        let name = DestinationKey(server.address);
        let config = DestinationConfig {
            forward: server.forward,
            weight: 0,
            upper_threshold: server.upper_threshold,
            lower_threshold: server.lower_threshold,
        };
        let member = pool.members.get(&name)?;
        let full = if server.fallback { 0 } else { member.full() };
        let operated = member.operator.is_some();
        let need = need_of_server(service, key, server);
        Some((name, WantedServer { config, full, operated, due: pool.due(&name)?, need }))
    });
    Wanted { config: service_config(service, key), need: need_of(service, key), servers: servers.collect() }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn service_config(service: &Service, key: ServiceKey) -> ServiceConfig {
    let mut config = ServiceConfig::new(service.scheduler.clone(), key.family());
    let mut flags = service.scheduler_flags;
    if service.ops_at(Vip(key)) {
        flags |= Flags::ONE_PACKET;
    }
    if let Some(persistence) = &service.persistence {
        flags |= Flags::PERSISTENT;
        config.timeout = u32::try_from(persistence.timeout.as_secs()).unwrap_or(u32::MAX);
        config.netmask = match key.family() {
            Family::Inet => Netmask::V4(mask(persistence.prefix_v4).to_be_bytes()),
            Family::Inet6 => Netmask::V6(persistence.prefix_v6.into()),
        };
        config.persistence_engine = persistence.engine.clone();
    }
    config.flags = Flags::exactly(flags);
    config
}

/// What a service needs of the rules.
pub struct Needs {
    request: Option<Need>,
    servers: Vec<Need>,
}

impl Needs {
    /// Those of what the kernel is to hold.
    pub fn of(wanted: &Wanted) -> Needs {
        let servers = wanted.servers.values().filter_map(|server| server.need);
        Needs { request: wanted.need, servers: servers.collect() }
    }
}

/// What the rules are to hold, but for refusals: for all that is wanted, for what still drains in the kernel, and for replies
/// on the way.
///
/// A reply keeps the VIP that it has as long as its server has weight there or replies from there may be on the way,
/// whoever wants it. Its rule outlives the server.
pub fn rules(
    wanted: &BTreeMap<ServiceKey, Needs>,
    found: &FoundServices,
    held: &Rules,
    kept: impl Iterator<Item = Need>,
) -> Rules {
    let mut rules = Rules::default();
    let mut last = Vec::new();
    for (key, service) in found {
        let ServiceKey::Address { protocol: Protocol::UDP, address: vip } = *key else { continue };
        let asked = wanted.get(key).is_some_and(|needs| needs.request.is_some());
        let ops = service.config.flags.contains(Flags::ONE_PACKET);
        let rewrites = asked || (ops && held.requests.contains(&vip));
        if rewrites {
            rules.add(Need::Request(vip));
        }
        for (server, config) in &*service.servers {
            let Some(need) = Need::of_server(vip, server.0, config.forward) else { continue };
            match (config.weight > 0, held.hold(&need)) {
                (true, true) if ops || asked => rules.add(need),
                (true, _) | (_, true) if rewrites => last.push(need),
                _ => {}
            }
        }
    }
    kept.for_each(|need| rules.add(need));
    for needs in wanted.values() {
        needs.request.iter().chain(&needs.servers).for_each(|need| rules.add(*need));
    }
    last.into_iter().for_each(|need| rules.add(need));
    rules
}
