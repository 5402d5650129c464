//! One server in its pool: what its checks know of it, and the weight that follows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Time;
use super::{Factor, TargetId, Verdict};

/// A percentage that leaves the weight as it is.
const FULL: u32 = 100;
/// A slow start raises the weight so often.
const STEPS: u32 = 10;

/// One server in its pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    /// Its weight when it is up, as the config has it.
    pub weight: u32,
    /// The weight that an operator has given it instead.
    pub operator: Option<u32>,
    /// It gets its weight only while no other server is up. It is not checked.
    pub fallback: bool,
    /// What is probed for it, each once, and what is known of it; all must be up. None is always up.
    pub checks: Box<[(TargetId, Known)]>,
    /// The weight that it was found with: while nothing else is known of it, it counts as up if it had any.
    pub found: u32,
    /// It has not served lately: in a working pool it starts slowly.
    pub cold: bool,
    /// Since when its checks say together what they say; none before the first verdict.
    pub since: Option<Time>,
    /// When it was last up, if it no longer is.
    pub fell: Option<Time>,
    /// It starts slowly.
    pub ramp: Option<Ramp>,
}

/// A slow start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// Since when.
    pub since: Time,
    /// So many tenths of its weight it has.
    pub step: u32,
}

/// What one check knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Known {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It answers.
    Up {
        /// Why it is up.
        reason: Cow<'static, str>,
        /// What it makes of its weight.
        factor: Factor,
    },
    /// It does not answer.
    Down {
        /// Why it is down.
        reason: Cow<'static, str>,
        /// What it made of its weight when it last answered.
        factor: Factor,
    },
}

/// What all checks of a server know together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It has no check.
    Unchecked,
    /// Some check has said nothing yet, and none says that it is down. Its weight stays as it is found.
    Unknown,
    /// Every check says so.
    Up,
    /// One check says so.
    Down,
}

impl Member {
    /// A server of which nothing is known.
    pub fn new(weight: u32, fallback: bool, checks: BTreeMap<TargetId, Known>) -> Self {
        // A map with room for ten more would be most of what a server takes.
        Self { weight, fallback, checks: checks.into_iter().collect(), ..Self::default() }
    }

    /// Its weight when it is up.
    pub fn full(&self) -> u32 {
        self.operator.unwrap_or(self.weight)
    }

    /// What its checks know together.
    pub fn standing(&self) -> Standing {
        let known = || self.checks.iter().map(|(_, known)| known);
        if self.checks.is_empty() {
            Standing::Unchecked
        } else if known().any(|known| matches!(known, Known::Down { .. })) {
            Standing::Down
        } else if known().any(|known| *known == Known::Unknown) {
            Standing::Unknown
        } else {
            Standing::Up
        }
    }

    /// Why it is up, or why the first check that says so has it down.
    pub(super) fn reason(&self) -> String {
        let mut reasons = Vec::new();
        for (_, known) in &self.checks {
            match known {
                Known::Down { reason, .. } => return reason.to_string(),
                Known::Up { reason, .. } => reasons.push(&**reason),
                Known::Unknown => {}
            }
        }
        reasons.join("; ")
    }

    pub(super) fn inherit(&mut self, before: &Self) {
        (self.found, self.cold) = (before.found, before.cold);
        (self.since, self.fell, self.ramp) = (before.since, before.fell, before.ramp);
    }

    /// Whether it can do its share of the work, as far as is known.
    pub(super) fn alive(&self) -> bool {
        self.usable()
            && match self.standing() {
                Standing::Unchecked => true,
                Standing::Unknown => self.found > 0,
                Standing::Up => self.base() > 0 && self.factors().all(|factor| factor != Factor::Percent(0)),
                Standing::Down => false,
            }
    }

    /// Whether it has weight when it is up, and need not wait for others to fall.
    pub(super) fn usable(&self) -> bool {
        self.full() > 0 && !self.fallback
    }

    /// Whether it has had no verdict, and was not found with weight either.
    pub(super) fn unknown(&self) -> bool {
        self.standing() == Standing::Unknown && self.found == 0 && !self.fallback
    }

    pub(super) fn verdict(&mut self, now: Time, verdict: &Verdict, slowly: bool) {
        let (was_alive, stood) = (self.alive(), self.standing());
        let reason = verdict.reason.clone();
        if let Some((_, known)) = self.checks.iter_mut().find(|(target, _)| *target == verdict.target) {
            *known = match (verdict.up, &*known) {
                (true, _) => Known::Up { reason, factor: verdict.factor },
                (false, Known::Unknown) => Known::Down { reason, factor: Factor::FULL },
                (false, Known::Up { factor, .. } | Known::Down { factor, .. }) => {
                    Known::Down { reason, factor: *factor }
                }
            };
        }
        match (was_alive, self.alive()) {
            (true, false) => (self.fell, self.ramp) = (Some(now), None),
            (false, true) => {
                self.fell = None;
                self.ramp = (slowly && self.cold).then_some(Ramp { since: now, step: 1 });
            }
            _ => {}
        }
        let stands = self.standing();
        if stands != stood {
            self.since = Some(now);
        }
        match stands {
            Standing::Down => self.cold = true,
            Standing::Up => self.cold = false,
            _ => {}
        }
    }

    /// An operator gives it this weight, or takes that back. One that was without any starts slowly.
    pub(super) fn operate(&mut self, now: Time, weight: Option<u32>, slowly: bool) {
        let was_usable = std::mem::replace(&mut self.operator, weight).unwrap_or(self.weight) > 0;
        match (was_usable, self.alive()) {
            (false, true) => self.ramp = slowly.then_some(Ramp { since: now, step: 1 }),
            (_, false) => self.ramp = None,
            (true, true) => {}
        }
    }

    /// Its weight while it is up, or kept as it was then: rounded once, or the order of its checks would count.
    pub(super) fn effective(&self) -> u32 {
        let (mut product, mut whole) = (u128::from(self.base()), 1u128);
        // Ten percentages that are not plain could be too many for 128 bits.
        for factor in self.factors().filter(|factor| *factor != Factor::FULL) {
            if let Factor::Percent(percent) = factor {
                product = product.saturating_mul(percent.into());
                whole = whole.saturating_mul(FULL.into());
            }
        }
        if let Some(ramp) = self.ramp {
            product = product.saturating_mul(ramp.step.into());
            whole = whole.saturating_mul(STEPS.into());
        }
        let least = u128::from(product > 0);
        (product / whole).clamp(least, i32::MAX as u128) as u32
    }

    /// Its weight while it is up, before percentages: an operator's, else the least that a check gives, else the config's; and what
    /// checks add to that. A server without weight in the config or by an operator gets none by checks.
    fn base(&self) -> u64 {
        let (mut given, mut added) = (None, 0i64);
        for factor in self.factors() {
            match factor {
                Factor::Percent(_) => {}
                Factor::Weight { weight } => {
                    given = Some(given.map_or(weight, |least: u32| least.min(weight)))
                }
                Factor::Added { added: more } => added += i64::from(more),
            }
        }
        let weight = match self.full() {
            0 => return 0,
            full => self.operator.or(given).unwrap_or(full),
        };
        u64::try_from(i64::from(weight) + added).unwrap_or(0)
    }

    /// Its slow start goes on.
    pub(super) fn tick(&mut self, now: Time, slow_start: Duration) {
        if let Some(Ramp { since, .. }) = self.ramp {
            let step = (1..STEPS).find(|step| now < since + slow_start * *step / STEPS);
            self.ramp = step.map(|step| Ramp { since, step });
        }
    }

    /// When its slow start is to go on.
    pub(super) fn next(&self, slow_start: Duration) -> Option<Time> {
        self.ramp.map(|ramp| ramp.since + slow_start * ramp.step / STEPS)
    }

    fn factors(&self) -> impl Iterator<Item = Factor> {
        self.checks.iter().filter_map(|(_, known)| match known {
            Known::Up { factor, .. } | Known::Down { factor, .. } => Some(*factor),
            Known::Unknown => None,
        })
    }
}
