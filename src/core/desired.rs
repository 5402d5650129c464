//! What the kernel is to hold: a pure function of the config, the verdicts and what still drains.

use std::net::SocketAddr;

use ipvs_netlink::{
    DestinationConfig, DestinationKey, Family, Flags, Forward, Protocol, ServiceConfig, ServiceKey,
};

use super::model::{Config, Rules, Server, Service};
use super::plan::{FoundServices, Wanted, WantedServer};
use super::pool::Pool;
use super::rules::Need;

/// Every IPVS service that `config` asks for: its key, its VIP, and the place of its service in the config.
pub fn listens(config: &Config) -> impl Iterator<Item = (ServiceKey, SocketAddr, usize)> {
    let services = config.services.iter().enumerate();
    services.flat_map(|(place, service)| {
        service.listen.iter().map(move |vip| (ServiceKey::udp(*vip), *vip, place))
    })
}

/// The servers of `service` that can stand behind `vip`: those of its family.
pub fn servers_of(service: &Service, vip: SocketAddr) -> impl Iterator<Item = &Server> {
    let family = Family::of(vip.ip());
    service.servers.iter().filter(move |server| Family::of(server.address.ip()) == family)
}

/// The name of a service under NAT with a VIP of this family, if there is one: its replies need forwarding.
pub fn nat(config: &Config, v6: bool) -> Option<&str> {
    let nat = config.services.iter().filter(|service| service.forward == Forward::Masquerade);
    let mut family = nat.filter(|service| service.listen.iter().any(|vip| vip.is_ipv6() == v6));
    family.next().map(|service| service.name.as_str())
}

/// The rules that `config` asks for, whatever the kernel holds.
pub fn rules_of(config: &Config) -> Rules {
    let mut rules = Rules::default();
    for service in config.services.iter().filter(|service| service.ops) {
        for vip in &service.listen {
            rules.add(Need::Request(*vip));
            let servers = servers_of(service, *vip);
            servers
                .filter_map(|server| Need::of_server(*vip, server.address, service.forward))
                .for_each(|need| rules.add(need));
        }
    }
    rules.refuse(config.refusals);
    rules
}

/// What the kernel is to hold for `service` at `vip`.
pub fn wanted(service: &Service, vip: SocketAddr, pool: &Pool) -> Wanted {
    let mut config = ServiceConfig::new(service.scheduler.clone(), Family::of(vip.ip()));
    if service.ops {
        config.flags = Flags::exactly(Flags::ONE_PACKET);
    }
    let servers = servers_of(service, vip).filter_map(|server| {
        let key = DestinationKey(server.address);
        let config =
            DestinationConfig { forward: service.forward, weight: 0, upper_threshold: 0, lower_threshold: 0 };
        let need = service.ops.then(|| Need::of_server(vip, server.address, service.forward)).flatten();
        let member = pool.members.get(&key)?;
        let full = if server.fallback { 0 } else { member.full() };
        let operated = member.operator.is_some();
        Some((key, WantedServer { config, full, operated, due: pool.due(&key)?, need }))
    });
    Wanted { config, need: service.ops.then_some(Need::Request(vip)), servers: servers.collect() }
}

/// What the rules are to hold, but for refusals: for all that is wanted, for what still drains in the kernel, and for replies
/// on the way. `asked` says of which services requests are not to be tracked.
///
/// A reply keeps the VIP that it has as long as its server has weight there or replies from there may be on the way,
/// whoever wants it. Its rule outlives the server.
pub fn rules(
    asked: impl Fn(&ServiceKey) -> bool,
    wanted: impl Iterator<Item = Wanted>,
    found: &FoundServices,
    held: &Rules,
    kept: impl Iterator<Item = Need>,
) -> Rules {
    let mut rules = Rules::default();
    let mut last = Vec::new();
    for (key, service) in found {
        let ServiceKey::Address { protocol: Protocol::UDP, address: vip } = *key else { continue };
        let asked = asked(key);
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
    for service in wanted {
        let servers = service.servers.values().filter_map(|server| server.need);
        service.need.into_iter().chain(servers).for_each(|need| rules.add(need));
    }
    last.into_iter().for_each(|need| rules.add(need));
    rules
}
