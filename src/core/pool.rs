//! The servers of one IPVS service as their verdicts have them, and the weight that each is to have.
//!
//! ```text
//! weight = what its checks make of full, × slow start     while it is up (at least 1, unless they make it 0)
//!        = full                                            while it is down and the pool fails open
//!        = full                                            of the fallback while no server is up
//!        = 0                                               otherwise
//! full   = what an operator says, or the config
//! ```

mod member;
mod quorum;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipvs_netlink::DestinationKey;
use serde::{Deserialize, Serialize};

pub use member::{Known, Member, Standing};
pub use quorum::Quorum;

use super::Time;
use super::model::{Amount, Factor, Policy, TargetId, Verdict, WhenAllDown};

/// The servers of one IPVS service.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Every server of the service's family.
    pub members: BTreeMap<DestinationKey, Member>,
    policy: Policy,
    /// Servers that fell within this span before the last one did fell with it.
    window: Duration,
    /// While too few servers are up: those that keep their weight.
    held: Option<BTreeSet<DestinationKey>>,
    health: Health,
}

/// How a pool as a whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// At least `min_healthy` servers are up, or one.
    Enough,
    /// Fewer are.
    TooFew,
    /// None is.
    AllDown,
}

/// What a verdict changed for the pool as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// No server is up any more; these keep their weight, or take it: the fallback.
    AllDown(BTreeSet<DestinationKey>),
    /// So many servers are up, which is fewer than `min_healthy`; these keep their weight, up or not.
    TooFew(usize, BTreeSet<DestinationKey>),
    /// Enough servers are up again.
    Recovered,
}

/// The weight that a server is to have, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// None: whatever it has (0 for a new one).
    pub weight: Option<u32>,
    /// In words for the log.
    pub why: String,
}

impl Pool {
    /// A pool in which nobody is held; `window` is the longest time from a death to its verdict.
    pub fn new(members: BTreeMap<DestinationKey, Member>, policy: Policy, window: Duration) -> Self {
        let mut pool = Self { members, policy, window, held: None, health: Health::AllDown };
        pool.health = pool.judge();
        pool
    }

    /// Takes over from the pool before a reload what is known of its servers and which of them keep their weight while too few
    /// are up.
    pub fn inherit(&mut self, now: Time, old: &Self) {
        for (server, member) in &mut self.members {
            match old.members.get(server) {
                Some(before) => member.inherit(before),
                None => member.cold = true,
            }
        }
        self.health = self.judge();
        if self.health != Health::Enough {
            let held = |server: &DestinationKey| self.members.contains_key(server);
            let kept = old.held.clone().map(|old| old.into_iter().filter(held).collect());
            self.held = kept.or_else(|| self.settled().then(|| self.last_healthy(now, self.window)));
        }
    }

    /// The kernel was read for the first time: servers have these weights there.
    pub fn found(&mut self, weights: impl IntoIterator<Item = (DestinationKey, u32)>) {
        for (server, found) in weights {
            if let Some(member) = self.members.get_mut(&server) {
                member.found = found;
            }
        }
        self.health = self.judge();
    }

    /// Records a verdict about `server` and says what it means for the whole pool.
    pub fn verdict(&mut self, now: Time, server: &DestinationKey, verdict: &Verdict) -> Option<Turn> {
        let others = self.alive().any(|(other, _)| other != server);
        let member = self.members.get_mut(server)?;
        let unknown = member.unknown();
        member.verdict(now, verdict, others && !self.policy.slow_start.is_zero());

        let settled = unknown && self.settled();
        self.turned(now, settled, self.window)
    }

    /// An operator gives `server` this weight instead of the config's, or takes that back (none); what it means for the whole pool.
    pub fn operate(&mut self, now: Time, server: &DestinationKey, weight: Option<u32>) -> Option<Turn> {
        let others = self.alive().any(|(other, _)| other != server);
        let slowly = others && !self.policy.slow_start.is_zero();
        self.members.get_mut(server)?.operate(now, weight, slowly);
        // No link died: who was down before is down.
        self.turned(now, false, Duration::ZERO)
    }

    /// Judges the pool anew; `settled` when the last server has just had its first verdict. Servers that fell within `window` fell
    /// together.
    fn turned(&mut self, now: Time, settled: bool, window: Duration) -> Option<Turn> {
        let before = self.health;
        self.health = self.judge();
        if self.health == Health::Enough {
            return self.held.take().map(|_| Turn::Recovered);
        }
        if self.health == before && !settled {
            return None;
        }
        if self.held.is_none() && (before == Health::Enough || self.settled()) {
            self.held = Some(self.last_healthy(now, window));
        }
        let held = self.held.clone()?;
        let (up, all_down) = (self.alive().count(), self.health == Health::AllDown);
        Some(match self.policy.when_all_down {
            _ if !all_down => Turn::TooFew(up, held),
            WhenAllDown::Keep => Turn::AllDown(held),
            WhenAllDown::Refuse => Turn::AllDown(BTreeSet::new()),
            WhenAllDown::Fallback => Turn::AllDown(self.fallbacks().collect()),
        })
    }

    /// The servers that this is probed for.
    pub fn probed_by(&self, target: TargetId) -> impl Iterator<Item = &DestinationKey> {
        let probed = move |member: &Member| member.checks.iter().any(|(id, _)| *id == target);
        self.members.iter().filter(move |(_, member)| probed(member)).map(|(server, _)| server)
    }

    /// What its checks say of `server` together; nothing is known of one that is not of the pool.
    pub fn standing(&self, server: &DestinationKey) -> Standing {
        self.members.get(server).map_or(Standing::Unknown, Member::standing)
    }

    /// Whether `server` counts as up, and has weight when it is.
    pub fn is_up(&self, server: &DestinationKey) -> bool {
        self.members.get(server).is_some_and(Member::alive)
    }

    /// The weight that `server` is to have; none if it is not one of the pool's.
    pub fn due(&self, server: &DestinationKey) -> Option<Due> {
        let member = self.members.get(server)?;
        let due = |weight, why: &str| Due { weight, why: why.to_owned() };
        if member.operator == Some(0) {
            return Some(due(Some(0), "drained by an operator"));
        }
        if member.fallback {
            return Some(match self.falls_back() {
                true => due(Some(member.full()), "the fallback, since all servers are down"),
                false => due(Some(0), "the fallback, while a server is up"),
            });
        }
        Some(match member.standing() {
            Standing::Unchecked => due(Some(member.full()), "no check"),
            Standing::Unknown if member.found > 0 => {
                due(Some(member.found), "as it was found: no verdict yet")
            }
            Standing::Unknown => due(None, "no verdict yet"),
            Standing::Up => {
                let (weight, mut reason) = (member.effective(), member.reason());
                if member.operator.is_some() {
                    reason += ", weight set by an operator";
                }
                match member.ramp {
                    Some(_) => due(Some(weight), &format!("slow start ({reason})")),
                    None if weight != member.full() => {
                        due(Some(weight), &format!("asked for by its checks ({reason})"))
                    }
                    None => due(Some(weight), &reason),
                }
            }
            Standing::Down if self.keeps(server) => {
                let reason = member.reason();
                let why = if self.health == Health::AllDown { "all servers are" } else { "too many are" };
                // One that was never up has no weight to keep.
                let weight = Some(member.effective()).filter(|weight| *weight > 0).unwrap_or(member.full());
                due(Some(weight), &format!("kept, since {why} down ({reason})"))
            }
            Standing::Down => due(Some(0), &member.reason()),
        })
    }

    /// Slow starts go on.
    pub fn tick(&mut self, now: Time) {
        self.members.values_mut().for_each(|member| member.tick(now, self.policy.slow_start));
    }

    /// When a slow start is to go on.
    pub fn next(&self) -> Option<Time> {
        self.members.values().filter_map(|member| member.next(self.policy.slow_start)).min()
    }

    /// The servers that count as up, and their weight without what their checks make of it.
    pub fn alive(&self) -> impl Iterator<Item = (&DestinationKey, u32)> {
        let alive = self.members.iter().filter(|(_, member)| member.alive());
        alive.map(|(server, member)| (server, member.full()))
    }

    /// Whether each server has had its first verdict.
    pub fn settled(&self) -> bool {
        !self.members.values().any(Member::unknown)
    }

    /// How it stands as a whole.
    pub fn health(&self) -> Health {
        self.health
    }

    fn judge(&self) -> Health {
        match self.alive().count() {
            0 => Health::AllDown,
            up if up < self.minimum() => Health::TooFew,
            _ => Health::Enough,
        }
    }

    /// The fewest servers with which the pool does not fail open.
    pub fn minimum(&self) -> usize {
        let servers = self.members.values().filter(|member| member.usable()).count();
        match self.policy.min_healthy {
            None => 1,
            Some(Amount::Count(count)) => (count as usize).min(servers).max(1),
            Some(Amount::Percent(percent)) => (servers * usize::from(percent)).div_ceil(100).max(1),
        }
    }

    fn fallbacks(&self) -> impl Iterator<Item = DestinationKey> {
        self.members.iter().filter(|(_, member)| member.fallback).map(|(server, _)| *server)
    }

    /// Not before every server has had a verdict: at start the last one may be the one that is up.
    fn falls_back(&self) -> bool {
        self.policy.when_all_down == WhenAllDown::Fallback
            && self.health == Health::AllDown
            && self.held.is_some()
    }

    fn keeps(&self, server: &DestinationKey) -> bool {
        let open = self.health == Health::TooFew || self.policy.when_all_down == WhenAllDown::Keep;
        open && self.held.as_ref().is_some_and(|held| held.contains(server))
    }

    /// Those that are up, and those that fell just now: when a link dies, the verdicts of its servers come one after the other.
    /// If these are fewer than the operator asks for, all.
    fn last_healthy(&self, now: Time, window: Duration) -> BTreeSet<DestinationKey> {
        let usable = || self.members.iter().filter(|(_, member)| member.usable());
        let just_now = |member: &Member| member.fell.is_some_and(|fell| fell + window >= now);
        let last: BTreeSet<_> = usable()
            .filter(|(_, member)| member.alive() || just_now(member))
            .map(|(server, _)| *server)
            .collect();
        if self.policy.min_healthy.is_some() && last.len() < self.minimum() {
            return usable().map(|(server, _)| *server).collect();
        }
        last
    }
}

#[cfg(test)]
mod tests;
