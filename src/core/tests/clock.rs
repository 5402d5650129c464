//! Work and time go on in the world, as far as a test lets them.

use std::time::Duration;

use super::bugs::Bug;
use super::world::{Answer, World};
use crate::core::Input;
use crate::core::model::{Factor, Verdict};

impl World {
    /// Whether nothing is on its way to the kernel or back.
    pub fn idle(&self) -> bool {
        self.answers.is_empty()
            && self.batches.is_empty()
            && self.look.is_none()
            && self.looking.is_none()
            && self.rules.is_empty()
            && self.connections.is_empty()
    }

    /// One of the tasks does a piece of its work, or the core takes an answer. False: there is nothing to do.
    pub fn work(&mut self) -> bool {
        if self.idle() {
            return false;
        }
        match self.random.below(4) {
            0 => self.work_ipvs(),
            1 => self.work_rules(),
            2 => self.look_at_connections(),
            _ => {
                if let Some(answer) = self.answers.pop_front() {
                    self.hand(answer);
                }
            }
        }
        true
    }

    /// Until nothing is under way.
    pub fn settle(&mut self) {
        let mut rounds = 0;
        while self.work() && self.promises.broken.is_none() {
            rounds += 1;
            self.promises.must(rounds < 20_000, || "there is no end of work".to_owned());
        }
    }

    /// Gives the core an input and lets all work be done.
    pub fn input(&mut self, input: Input) {
        self.hand(Answer { input, known: None });
        self.settle();
    }

    /// Lets time pass, alarms included.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(time) = self.wake.filter(|time| *time <= end && self.promises.broken.is_none()) {
            self.now = self.now.max(time);
            self.ring();
            self.settle();
        }
        self.now = end;
    }

    /// The alarm, if its time has come.
    pub fn ring(&mut self) -> bool {
        let due = self.wake.take_if(|time| *time <= self.now).is_some();
        if due && !self.planted(Bug::WakeLost) {
            self.hand(Answer { input: Input::Wake, known: None });
        }
        due
    }

    /// A verdict on every target with this address.
    pub fn verdict(&mut self, server: &str, up: bool) {
        let server: std::net::SocketAddr = server.parse().expect("an address");
        let targets = self.promises.probed.iter().filter(|target| target.address == server);
        for target in targets.map(|target| target.id).collect::<Vec<_>>() {
            self.input(Input::Verdict(Verdict {
                target,
                up,
                factor: Factor::FULL,
                reason: "a reason".into(),
            }));
        }
    }

    /// What was written since the last time.
    pub fn written(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}
