//! What somebody else may do to a director's kernel.

use ipvs_netlink::{DestinationKey, Flags, Forward, ServiceKey};

use super::configs::{SERVERS, draw_found, draw_server, server};
use super::history::History;
use crate::core::evict::EXPIRE;
use crate::core::model::Rules;
use crate::core::sysctls;

impl History {
    /// Somebody types ipvsadm, nft or sysctl.
    pub fn by_hand(&mut self) {
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
                let (key, service) = draw_found(random);
                world.promises.before(now, kernel, key);
                // It is deleted and made anew: that takes its entries.
                kernel.connections.retain(|(service, _)| *service != key);
                let old = kernel.services.insert(key, service);
                world.promises.by_hand(now, kernel, key, old.as_ref());
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
                    service.servers_mut().remove(&server);
                }
            }
            (5..8, Some(key)) => {
                let Some(service) = kernel.services.get_mut(&key) else { return };
                let of_family = (0..SERVERS).map(server).filter(|server| {
                    matches!(key, ServiceKey::Address { address, .. } if address.is_ipv6() == server.is_ipv6())
                });
                let Some(server) = random.pick(of_family) else { return };
                let forward =
                    service.servers.values().next().map_or(Forward::Masquerade, |config| config.forward);
                service.servers_mut().insert(DestinationKey(server), draw_server(random, forward));
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
            world.promises.by_hand(now, &world.kernel, key, old.as_ref());
        }
    }
}
