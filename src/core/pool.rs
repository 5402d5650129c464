//! The servers of one IPVS service as their verdicts have them, and the weight that each is to have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipvs_netlink::DestinationKey;

use super::Time;
use super::model::{TargetId, WhenAllDown};

/// The servers of one IPVS service.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Every server of the service's family.
    pub members: BTreeMap<DestinationKey, Member>,
    /// What happens when the last one goes down.
    pub when_all_down: WhenAllDown,
    /// Servers that fell within this span before the last one did fell with it: the longest time to a verdict.
    pub window: Duration,
    /// While no server is up: those that keep their weight.
    held: Option<BTreeSet<DestinationKey>>,
}

/// One server in its pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its weight when it is up.
    pub weight: u32,
    /// What is probed for it; none has no check and is always up.
    pub target: Option<TargetId>,
    /// What is known of it.
    pub standing: Standing,
}

/// What is known of a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Nothing yet. Its weight stays as it was found; one that was found with weight counts as up.
    Unknown {
        /// The weight that it was found with.
        weight: u32,
    },
    /// It answers.
    Up {
        /// Why it is up.
        reason: String,
    },
    /// It does not answer.
    Down {
        /// When it was last up, if it ever was.
        fell: Option<Time>,
        /// Why it is down.
        reason: String,
    },
}

/// What a verdict changed for the pool as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// No server is up any more; these keep their weight.
    AllDown(BTreeSet<DestinationKey>),
    /// A server is up again.
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

impl Member {
    fn alive(&self) -> bool {
        self.weight > 0
            && match self.standing {
                Standing::Unknown { weight } => weight > 0 || self.target.is_none(),
                Standing::Up { .. } => true,
                Standing::Down { .. } => false,
            }
    }

    fn unknown(&self) -> bool {
        matches!(self.standing, Standing::Unknown { weight: 0 }) && self.target.is_some()
    }
}

impl Pool {
    /// A pool in which nobody is held.
    pub fn new(
        members: BTreeMap<DestinationKey, Member>,
        when_all_down: WhenAllDown,
        window: Duration,
    ) -> Self {
        Self { members, when_all_down, window, held: None }
    }

    /// Takes over from the pool before a reload which servers keep their weight while none is up.
    pub fn inherit(&mut self, old: &Self) {
        if self.none_alive() {
            self.held = old
                .held
                .clone()
                .map(|held| held.into_iter().filter(|server| self.members.contains_key(server)).collect());
        }
    }

    /// The kernel was read for the first time: `server` has this weight there.
    pub fn found(&mut self, server: &DestinationKey, found: u32) {
        if let Some(member) = self.members.get_mut(server)
            && let Standing::Unknown { weight } = &mut member.standing
        {
            *weight = found;
        }
    }

    /// Records a verdict and says what it means for the whole pool.
    pub fn verdict(&mut self, now: Time, server: &DestinationKey, up: bool, reason: &str) -> Option<Turn> {
        let before = !self.none_alive();
        let member = self.members.get_mut(server)?;
        let was_unknown = member.unknown();
        let fell = if member.alive() {
            Some(now)
        } else if let Standing::Down { fell, .. } = member.standing {
            fell
        } else {
            None
        };
        let reason = reason.to_owned();
        member.standing = if up { Standing::Up { reason } } else { Standing::Down { fell, reason } };

        if !self.none_alive() {
            return self.held.take().map(|_| Turn::Recovered);
        }
        let last_unknown = was_unknown && !self.members.values().any(Member::unknown);
        if !before && !last_unknown {
            return None;
        }
        let held = self.held.clone().unwrap_or_else(|| self.fallen_together(now));
        self.held = Some(held.clone());
        Some(Turn::AllDown(match self.when_all_down {
            WhenAllDown::Keep => held,
            WhenAllDown::Refuse => BTreeSet::new(),
        }))
    }

    /// Whether `server` counts as up, and has weight when it is.
    pub fn is_up(&self, server: &DestinationKey) -> bool {
        self.members.get(server).is_some_and(Member::alive)
    }

    /// The weight that `server` is to have; none if it is not one of the pool's.
    pub fn due(&self, server: &DestinationKey) -> Option<Due> {
        let member = self.members.get(server)?;
        let due = |weight, why: &str| Due { weight, why: why.to_owned() };
        Some(match &member.standing {
            _ if member.target.is_none() => due(Some(member.weight), "no check"),
            Standing::Unknown { weight: 0 } => due(None, "no verdict yet"),
            Standing::Unknown { weight } => due(Some(*weight), "as it was found: no verdict yet"),
            Standing::Up { reason } => due(Some(member.weight), reason),
            Standing::Down { reason, .. } if self.keeps(server) => {
                due(Some(member.weight), &format!("kept, since all servers are down ({reason})"))
            }
            Standing::Down { reason, .. } => due(Some(0), reason),
        })
    }

    fn keeps(&self, server: &DestinationKey) -> bool {
        self.when_all_down == WhenAllDown::Keep
            && self.held.as_ref().is_some_and(|held| held.contains(server))
    }

    fn none_alive(&self) -> bool {
        !self.members.values().any(Member::alive)
    }

    /// The last healthy set: when a link dies, the verdicts of its servers come one after the other.
    fn fallen_together(&self, now: Time) -> BTreeSet<DestinationKey> {
        let with_the_last = |member: &Member| match member.standing {
            Standing::Down { fell: Some(fell), .. } => member.weight > 0 && fell + self.window >= now,
            _ => false,
        };
        self.members.iter().filter(|(_, member)| with_the_last(member)).map(|(server, _)| *server).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn server(last: u8) -> DestinationKey {
        DestinationKey(format!("10.0.1.{last}:53").parse().unwrap())
    }

    fn pool(policy: WhenAllDown) -> Pool {
        let member =
            |id| Member { weight: 1, target: Some(TargetId(id)), standing: Standing::Unknown { weight: 0 } };
        Pool::new((1..=3).map(|n| (server(n), member(n.into()))).collect(), policy, SECOND)
    }

    fn weights(pool: &Pool) -> Vec<Option<u32>> {
        (1..=3).map(|n| pool.due(&server(n)).unwrap().weight).collect()
    }

    #[test]
    fn servers_that_fall_together_keep_their_weight_together() {
        let mut pool = pool(WhenAllDown::Keep);
        for n in 1..=3 {
            assert_eq!(pool.verdict(SECOND, &server(n), true, "answered"), None);
        }
        assert_eq!(pool.verdict(10 * SECOND, &server(1), false, "silent"), None);
        assert_eq!(weights(&pool), [Some(0), Some(1), Some(1)]);
        assert_eq!(pool.verdict(20 * SECOND, &server(2), false, "silent"), None);
        let held = BTreeSet::from([server(2), server(3)]);
        let turn = pool.verdict(20 * SECOND + SECOND / 2, &server(3), false, "silent");
        assert_eq!(turn, Some(Turn::AllDown(held)));
        assert_eq!(weights(&pool), [Some(0), Some(1), Some(1)], "the one that fell long before stays out");
        assert_eq!(pool.verdict(30 * SECOND, &server(1), true, "answered"), Some(Turn::Recovered));
        assert_eq!(weights(&pool), [Some(1), Some(0), Some(0)]);
    }

    #[test]
    fn refuse_takes_the_last_one_out() {
        let mut pool = pool(WhenAllDown::Refuse);
        for n in 1..=3 {
            pool.verdict(SECOND, &server(n), true, "answered");
        }
        for n in 1..=3 {
            pool.verdict(2 * SECOND, &server(n), false, "silent");
        }
        assert_eq!(weights(&pool), [Some(0); 3]);
    }

    #[test]
    fn a_server_found_with_weight_counts_as_up_until_its_verdict() {
        let mut pool = pool(WhenAllDown::Keep);
        pool.found(&server(1), 7);
        assert_eq!(weights(&pool), [Some(7), None, None], "what is found stays until a verdict");
        assert_eq!(pool.verdict(SECOND, &server(2), false, "silent"), None);
        assert_eq!(pool.verdict(SECOND, &server(3), false, "silent"), None);
        let turn = pool.verdict(SECOND, &server(1), false, "silent");
        assert_eq!(turn, Some(Turn::AllDown(BTreeSet::from([server(1)]))));
        assert_eq!(weights(&pool), [Some(1), Some(0), Some(0)]);
    }

    #[test]
    fn servers_that_were_never_up_have_nothing_to_keep_and_it_is_said_once() {
        let mut pool = pool(WhenAllDown::Keep);
        assert_eq!(pool.verdict(SECOND, &server(1), false, "silent"), None);
        assert_eq!(pool.verdict(SECOND, &server(2), false, "silent"), None);
        let turn = pool.verdict(SECOND, &server(3), false, "silent");
        assert_eq!(turn, Some(Turn::AllDown(BTreeSet::new())));
        assert_eq!(weights(&pool), [Some(0); 3]);
    }
}
