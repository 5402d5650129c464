//! What may happen to a director, drawn by a seed: configs, servers that die and live again, edits by hand, faults,
//! crashes and restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipvs_netlink::{Family, Netmask, ServiceKey};

use super::bugs::Bug;
use super::configs::{FOREIGN, SERVERS, draw_config, draw_found, edit_config, server, vip};
use super::kernel::Kernel;
use super::random::Random;
use super::world::World;
use crate::core::model::{Config, Factor, TargetId, Verdict};
use crate::core::sysctls;
use crate::core::{Input, suspend};

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
    /// The VIPs that are addresses of this machine.
    pub here: BTreeSet<IpAddr>,
    /// Others have changed the sysctls, or what they were is forgotten.
    pub sysctls_changed: bool,
    /// The sysctls before ipvsd.
    pub sysctls: BTreeMap<String, String>,
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
            let (key, service) = draw_found(&mut random);
            let pinned = service.servers.keys().filter(|_| random.one_in(2)).map(|server| (key, *server));
            kernel.connections.extend(pinned);
            kernel.services.insert(key, service);
        }
        let mut world = World::new(kernel, seed.wrapping_mul(31));
        world.bug = bug;
        world.trace = trace;
        if random.one_in(2) {
            let (_, service) = draw_found(&mut random);
            let key = ServiceKey::udp(vip(FOREIGN, service.config.netmask == Netmask::host(Family::Inet6)));
            world.promises.foreign.insert(key, service.clone());
            world.kernel.services.insert(key, service);
        }
        for key in world.kernel.services.keys().copied().collect::<Vec<_>>() {
            world.promises.edited(world.now, &world.kernel, key);
        }
        let alive = (0..SERVERS).map(|number| (server(number), !random.one_in(3))).collect();
        let config = draw_config(&mut random);
        world.random = random;
        let mut history =
            Self { world, trouble, alive, config, here: BTreeSet::new(), sysctls_changed: false, sysctls };
        history.give_config();
        history
    }

    /// VIPs come to this machine and leave it.
    fn address(&mut self) {
        let vips: Vec<IpAddr> = suspend::vips(&self.config).collect();
        self.here = vips.into_iter().filter(|_| self.world.random.one_in(2)).collect();
        self.world.hand_over(Input::Here(self.here.clone()));
    }

    fn give_config(&mut self) {
        self.world.hand_over(Input::Here(self.here.clone()));
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
            78..85 => drop(self.tell_verdict()),
            85 => self.tell_factor(),
            86..92 => {
                let random = &mut self.world.random;
                let server = server(random.below(SERVERS));
                self.alive.insert(server, !random.one_in(3));
            }
            92 if self.world.random.one_in(2) => {
                let config = edit_config(&mut self.world.random, &self.config);
                self.reconfigure(config);
            }
            92 => self.address(),
            93..96 if self.trouble.by_hand => self.by_hand(),
            96 if self.trouble.faults => {
                self.world.faults = [0, 0, 0, 30, 8, 2, 1][self.world.random.below(7)];
            }
            97 if self.trouble.crashes && self.world.random.one_in(3) => {
                let file_lost = self.world.random.one_in(6);
                self.restart(file_lost);
            }
            99 => self.operate(),
            98 if self.world.random.one_in(6) => self.world.hand_over(Input::Stop),
            _ => {}
        }
    }

    fn restart(&mut self, file_lost: bool) {
        self.sysctls_changed |= file_lost && !self.world.disk.sysctls.is_empty();
        self.world.crash(file_lost);
        if self.world.random.one_in(3) {
            self.config = edit_config(&mut self.world.random, &self.config);
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
        if self.world.finished.is_some() {
            return false;
        }
        let promises = &self.world.promises;
        let news = promises.probed.iter().filter_map(|target| {
            let up = *self.alive.get(&target.address)?;
            let told = promises.told.get(&target.id).map(|(up, _)| *up);
            (told != Some(up)).then_some((target.id, up))
        });
        let Some((target, up)) = self.world.random.pick(news) else { return false };
        let factor = if self.world.random.one_in(4) { self.draw_factor() } else { Factor::FULL };
        self.verdict(target, up, factor);
        true
    }

    /// The checker hears another weight from one that is up.
    fn tell_factor(&mut self) {
        if self.world.finished.is_none() {
            let told = self.world.promises.told.iter();
            let up = told.filter_map(|(target, (up, _))| up.then_some(*target));
            if let Some(target) = self.world.random.pick(up) {
                let factor = self.draw_factor();
                self.verdict(target, true, factor);
            }
        }
    }

    fn draw_factor(&mut self) -> Factor {
        let random = &mut self.world.random;
        match random.below(4) {
            0 => Factor::Percent([0, 50, 100, 300][random.below(4)]),
            1 => Factor::Weight { weight: random.below(3) as u32 },
            _ => Factor::Added { added: [-3, -1, 2][random.below(3)] },
        }
    }

    fn verdict(&mut self, target: TargetId, up: bool, factor: Factor) {
        let reason = if up { "answered" } else { "silent" }.to_owned();
        self.world.hand_over(Input::Verdict(Verdict { target, up, factor, reason: reason.into() }));
    }
}
