//! Operators: what they say is what the judge holds for the config's weights.

use super::configs::{SERVERS, server};
use super::history::History;
use super::promises::Promises;
use crate::core::overrides::Override;
use crate::core::{Input, Time};

impl Promises {
    /// What operators say, with the config.
    pub fn operated(&mut self) {
        self.config = self.plain.clone();
        for service in self.config.values_mut() {
            for server in &mut service.servers {
                let says = |it: &&Override| it.service == service.name && it.server == server.address;
                if let Some(it) = self.overrides.iter().find(says) {
                    server.weight = it.weight;
                }
            }
        }
    }

    pub fn overridden(&mut self, it: &Override) {
        self.taken_back(it);
        self.overrides.push(it.clone());
        self.operated();
    }

    pub fn taken_back(&mut self, it: &Override) {
        self.overrides.retain(|other| (&other.service, other.server) != (&it.service, it.server));
        self.operated();
    }

    /// One that is over and was not taken back.
    pub fn overdue(&self, now: Time) -> Option<&Override> {
        self.overrides.iter().find(|it| it.until.is_some_and(|until| until < now))
    }
}

impl History {
    pub fn operate(&mut self) {
        let now = self.world.now;
        let random = &mut self.world.random;
        let names = self.config.services.iter().map(|service| service.name.clone());
        let Some(service) = random.pick(names) else { return };
        let server = server(random.below(SERVERS));
        if random.one_in(2) {
            self.world.hand_over(Input::TakeBack { service, server, by: 1 });
            return;
        }
        let weight = [0, 0, 0, 1, 7][random.below(5)];
        let until = random.one_in(2).then(|| now + Time::from_millis(10 << random.below(12)));
        self.world.hand_over(Input::Override(Override { service, server, weight, by: 1, since: now, until }));
    }
}
