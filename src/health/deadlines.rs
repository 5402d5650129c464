//! When each target has something to do, in ticks: what falls into one tick is done at one waking, which costs more than all else
//! that a probe takes of this process.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::model::TargetId;

/// From one tick to the next. Nothing is done later than this for being kept until a tick; a probe may be 10 ms late.
const GRAIN: Duration = Duration::from_millis(8);

/// A moment at which targets are served: so many grains after the engine's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// The first one that is not before `deadline`.
    pub fn of(deadline: Duration) -> Tick {
        Tick(nanos(deadline).div_ceil(nanos(GRAIN)))
    }

    /// The first one after `now`.
    pub fn after(now: Duration) -> Tick {
        Tick(nanos(now) / nanos(GRAIN) + 1)
    }

    /// How long it is until then at `now`; zero if it is over.
    pub fn from(self, now: Duration) -> Duration {
        Duration::from_nanos(self.0.saturating_mul(nanos(GRAIN)).saturating_sub(nanos(now)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The targets by tick; each is in one.
#[derive(Debug, Default)]
pub struct Deadlines(BTreeMap<Tick, Vec<TargetId>>);

impl Deadlines {
    /// The next tick at which somebody is to be served.
    pub fn first(&self) -> Option<Tick> {
        self.0.first_key_value().map(|(tick, _)| *tick)
    }

    /// Puts a target to a tick.
    pub fn insert(&mut self, tick: Tick, target: TargetId) {
        self.0.entry(tick).or_default().push(target);
    }

    /// Takes a target away from its tick.
    pub fn remove(&mut self, tick: Tick, target: TargetId) {
        let Some(targets) = self.0.get_mut(&tick) else { return };
        if let Some(place) = targets.iter().position(|other| *other == target) {
            targets.swap_remove(place);
        }
        if targets.is_empty() {
            self.0.remove(&tick);
        }
    }

    /// Takes a target whose tick has come at `now`, those of the earliest tick first.
    pub fn pop(&mut self, now: Duration) -> Option<TargetId> {
        let mut first = self.0.first_entry().filter(|first| first.key().from(now).is_zero())?;
        let target = first.get_mut().pop();
        if first.get().is_empty() {
            first.remove();
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    #[test]
    fn a_tick_is_never_before_its_deadline_and_less_than_a_grain_after_it() {
        for grains in [0, 1, 200] {
            let moment = GRAIN * grains;
            assert_eq!(Tick::of(moment).from(moment), Duration::ZERO);
            assert_eq!(Tick::of(moment + MICROSECOND).from(moment + MICROSECOND), GRAIN - MICROSECOND);
            assert_eq!(Tick::after(moment).from(moment), GRAIN);
            assert_eq!(Tick::after(moment + MICROSECOND).from(moment), GRAIN);
        }
    }

    proptest! {
        #[test]
        fn each_target_comes_once_and_not_before_its_time(
            deadlines in prop::collection::vec(0u64..60, 0..40), taken in prop::collection::vec(any::<bool>(), 40),
        ) {
            let at = |deadline: u64| Duration::from_millis(deadline);
            let mut waiting = Deadlines::default();
            for (id, deadline) in (0..).zip(&deadlines) {
                waiting.insert(Tick::of(at(*deadline)), TargetId(id));
            }
            for (id, deadline) in (0..).zip(&deadlines).filter(|(id, _)| taken[*id as usize]) {
                waiting.remove(Tick::of(at(*deadline)), TargetId(id));
            }
            let mut served = Vec::new();
            for now in (0..=70).map(at) {
                let due = waiting.first().is_some_and(|tick| tick.from(now).is_zero());
                let mut popped = false;
                while let Some(TargetId(id)) = waiting.pop(now) {
                    let deadline = at(deadlines[id as usize]);
                    prop_assert!(deadline <= now && now < deadline + GRAIN);
                    served.push(id as usize);
                    popped = true;
                }
                prop_assert_eq!(due, popped);
            }
            served.sort_unstable();
            let expected: Vec<usize> = (0..deadlines.len()).filter(|id| !taken[*id]).collect();
            prop_assert_eq!(served, expected);
        }
    }
}
