//! A moment of the engine's time in one word. A `Duration` takes two, and each target keeps several.

use std::ops::Add;
use std::time::Duration;

/// So many nanoseconds after the moment that the engine counts from; at most 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// This moment if it comes after `now`, else the first one after `now` that is whole steps later; a step is at least 1 ns.
    pub fn after(self, now: Moment, step: Duration) -> Moment {
        let Some(late) = now.0.checked_sub(self.0) else { return self };
        let step = Moment::from(step).0;
        Moment(self.0.saturating_add((late / step + 1).saturating_mul(step)))
    }
}

impl From<Duration> for Moment {
    fn from(since: Duration) -> Moment {
        Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Moment> for Duration {
    fn from(moment: Moment) -> Duration {
        Duration::from_nanos(moment.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, later: Duration) -> Moment {
        Moment(self.0.saturating_add(Moment::from(later).0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_exact_and_ends_at_the_last_one() {
        let (second, nanosecond) = (Duration::from_secs(1), Duration::from_nanos(1));
        assert_eq!(Duration::from(Moment::from(second) + nanosecond), second + nanosecond);
        assert!(Moment::from(second) < Moment::from(second + nanosecond));
        let last = Moment::from(Duration::MAX);
        assert_eq!(last + second, last);
        assert_eq!(Moment::from(second).after(last, second), last);
    }

    #[test]
    fn a_late_moment_is_put_off_by_whole_steps() {
        let at = |millis: u64| Moment::from(Duration::from_millis(millis));
        for (now, expected) in [(0, 7), (6, 7), (7, 17), (16, 17), (17, 27), (1000, 1007)] {
            assert_eq!(at(7).after(at(now), Duration::from_millis(10)), at(expected), "at {now} ms");
        }
    }
}
