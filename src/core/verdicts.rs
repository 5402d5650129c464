//! What a verdict means for the services that its server stands behind.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipvs_netlink::{DestinationKey, ServiceKey};

use super::drift::Thing;
use super::event::Event;
use super::model::{self, Service, TargetId, Verdict};
use super::pool::{Pool, Quorum, Standing, Turn};
use super::{Core, Hook, Output, Subject, Time, Turned};

impl Core {
    pub(super) fn verdict(&mut self, now: Time, verdict: &Verdict, out: &mut Vec<Output>) {
        for (key, server) in self.probed_for(verdict.target) {
            let Some(service) = self.name(&key) else { continue };
            let Some(pool) = self.pools.get_mut(&key) else { continue };
            let turn = pool.verdict(now, &server, verdict);
            let due = pool.due(&server).and_then(|due| due.weight);
            let has = self.found.as_ref().and_then(|found| found.get(&key)?.servers.get(&server));
            // A server that is not there yet comes without weight, which says nothing about a check that failed.
            if has.map_or(Some(0), |config| Some(config.weight)) == due {
                let reason = verdict.reason.to_string();
                out.push(Output::Say(Event::Verdict { service, key, server, up: verdict.up, reason }));
            }
            self.tell(key, server, out);
            self.weigh(now, key, server, turn, out);
        }
    }

    /// Whether a server's verdict has turned, its first one among them, and the command that is told so.
    pub(super) fn tell(&mut self, key: ServiceKey, server: DestinationKey, out: &mut Vec<Output>) {
        let Some(service) = self.service(&key) else { return };
        if !service.own_commands.contains_key(&server.0) && self.config.notify.is_none() {
            return;
        }
        let Some(pool) = self.pools.get(&key) else { return };
        let up = match pool.standing(&server) {
            Standing::Up => true,
            Standing::Down => false,
            Standing::Unknown | Standing::Unchecked => return,
        };
        let hook = hook(service, key, pool, server, up);
        if self.told.insert((key, server), up) != Some(up) {
            self.notify(Turned { key, server: Some(server), up }, out);
            out.extend(hook.map(Output::Run));
        }
    }

    fn notify(&self, turned: Turned, out: &mut Vec<Output>) {
        out.extend(self.config.notify.is_some().then_some(Output::Tell(turned)));
    }

    /// The same of all servers.
    pub(super) fn tell_all(&mut self, out: &mut Vec<Output>) {
        let of_service = |(key, place): (&ServiceKey, &usize)| {
            let servers = self.config.services[*place].own_commands.keys();
            let servers: Vec<_> = servers.map(|server| (*key, DestinationKey(*server))).collect();
            servers
        };
        let mut all: BTreeSet<_> = self.index.iter().flat_map(of_service).collect();
        if self.config.notify.is_some() {
            let servers = |(key, pool): (&ServiceKey, &Pool)| -> Vec<_> {
                pool.members.keys().map(|server| (*key, *server)).collect()
            };
            all.extend(self.pools.iter().flat_map(servers));
        }
        self.told.retain(|of, _| all.contains(of));
        for (key, server) in all {
            self.tell(key, server, out);
        }
    }

    /// At the end, those who want to hear that it is over: of each server that is up, and each quorum that is reached.
    pub(super) fn tell_the_end(&self, out: &mut Vec<Output>) {
        for (key, place) in &self.index {
            let service = &self.config.services[*place];
            let Some(pool) = self.pools.get(key).filter(|_| service.down_on_stop) else { continue };
            let up = |server: &&SocketAddr| self.told.get(&(*key, DestinationKey(**server))) == Some(&true);
            let servers = service.own_commands.keys().filter(up);
            out.extend(
                servers
                    .filter_map(|it| hook(service, *key, pool, DestinationKey(*it), false))
                    .map(Output::Run),
            );
            let reached = self.quorums.get(key).and_then(Quorum::reached) == Some(true);
            if let Some(command) = service.policy.quorum.on_down.clone().filter(|_| reached) {
                let service = service.name.clone();
                out.push(Output::Run(Hook {
                    service,
                    key: *key,
                    server: None,
                    up: false,
                    servers: Vec::new(),
                    command,
                }));
            }
        }
    }

    /// Lets a server have the weight that it is due now, whatever held it back.
    pub(super) fn weigh(
        &mut self,
        now: Time,
        key: ServiceKey,
        server: DestinationKey,
        turn: Option<Turn>,
        out: &mut Vec<Output>,
    ) {
        if self.pools.get(&key).is_some_and(|pool| pool.next().is_some()) {
            self.ramping.insert(key);
        }
        let found = self.found.as_ref().and_then(|found| found.get(&key));
        // One that somebody has taken stays away.
        if found.is_some_and(|found| found.servers.contains_key(&server)) {
            self.reported.release(&key, server);
        }
        if let Some(service) = self.name(&key) {
            let event = turn.map(|turn| match turn {
                Turn::AllDown(kept) => Event::AllDown { service, key, kept },
                Turn::TooFew(up, kept) => Event::TooFew { service, key, up, kept },
                Turn::Recovered => Event::Recovered { service, key },
            });
            out.extend(event.map(Output::Say));
        }
        self.quorum(key, out);
        self.spare_no_longer(&key);
        self.retries.hurry(&Subject::Service(key));
        self.brake.release(&(key, Thing::Server(server)));
        self.plan(now, key, out);
    }

    /// The servers that a target's verdict is about.
    fn probed_for(&self, target: TargetId) -> Vec<(ServiceKey, DestinationKey)> {
        let first = self.probed_for.partition_point(|(id, _)| *id < target);
        let places = self.probed_for[first..].iter().take_while(|(id, _)| *id == target);
        let vips = places.flat_map(|(_, place)| &self.config.services[*place].listen);
        let servers = vips.filter_map(|vip| {
            let key = vip.0;
            let servers = self.pools.get(&key)?.probed_by(target);
            Some(servers.map(move |server| (key, *server)))
        });
        servers.flatten().collect()
    }

    /// Slow starts go on.
    pub(super) fn ramp(&mut self, now: Time) {
        self.ramping.retain(|key| {
            let Some(pool) = self.pools.get_mut(key) else { return false };
            pool.tick(now);
            pool.next().is_some()
        });
    }

    /// Whether the quorum of a service has turned, and the command that is told so.
    pub(super) fn quorum(&mut self, key: ServiceKey, out: &mut Vec<Output>) {
        let Some(place) = self.index.get(&key) else { return };
        let (Some(pool), service) = (self.pools.get(&key), &self.config.services[*place]) else { return };
        let quorum = &service.policy.quorum;
        let Some(up) = self.quorums.entry(key).or_default().turn(quorum, pool) else { return };
        let command = if up { &quorum.on_up } else { &quorum.on_down };
        let servers = pool.alive().map(|(server, _)| *server).collect();
        let service = service.name.clone();
        // Who asks for none of this hears of his servers anyway.
        if *quorum != model::Quorum::default() {
            out.push(Output::Say(Event::Quorum { service: service.clone(), key, reached: up }));
        }
        self.notify(Turned { key, server: None, up }, out);
        if let Some(command) = command.clone() {
            out.push(Output::Run(Hook { service, key, server: None, up, servers, command }));
        }
    }
}

/// What runs for this state of a server.
fn hook(service: &Service, key: ServiceKey, pool: &Pool, server: DestinationKey, up: bool) -> Option<Hook> {
    let commands = service.own_commands.get(&server.0)?;
    let command = if up { commands.on_up.clone() } else { commands.on_down.clone() };
    let servers = pool.alive().map(|(server, _)| *server).collect();
    Some(Hook { service: service.name.clone(), key, server: Some(server), up, servers, command: command? })
}
