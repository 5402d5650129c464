//! What has become of probes: of the last one of each target, and of all by type of check.

use std::time::Duration;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::model::TargetId;

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The right answer came.
    Answered,
    /// Nothing came back, which is right (`reply = "optional"`).
    Silent,
    /// Nothing came in time, or nothing that answers it.
    NoAnswer,
    /// An answer came that is wrong, or says that the server is not well.
    WrongAnswer,
    /// Nobody listens there: ICMP port unreachable, or a connection refused.
    Refused,
    /// No way to the host or its network, by ICMP or by the director's own routes.
    Unreachable,
    /// A firewall on the way or on the server said no.
    Prohibited,
    /// Another ICMP error, or a connection that broke.
    Error,
    /// The director's kernel refused to send it.
    NotSent,
    /// The director lacked something (descriptors, time, a capability); says nothing of the server.
    LeftOut,
}

impl Ended {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Answered,
        Self::Silent,
        Self::NoAnswer,
        Self::WrongAnswer,
        Self::Refused,
        Self::Unreachable,
        Self::Prohibited,
        Self::Error,
        Self::NotSent,
        Self::LeftOut,
    ];

    /// As in metrics and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Silent => "silent",
            Self::NoAnswer => "no_answer",
            Self::WrongAnswer => "wrong_answer",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Prohibited => "prohibited",
            Self::Error => "error",
            Self::NotSent => "not_sent",
            Self::LeftOut => "left_out",
        }
    }
}

/// The last probe of a target whose outcome counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastProbe {
    /// What became of it.
    pub ended: Ended,
    /// So long ago.
    pub ago: Duration,
    /// How long the last answer took; none before the first one.
    pub latency: Option<Duration>,
}

/// Upper bounds of the classes of latency, in microseconds; one more class has no bound.
pub const BOUNDS: [u32; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000,
];

/// What has become of the probes of all targets with checks of one type, since the checker runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// So many ended so, in the order of [`Ended::ALL`].
    pub ended: [u64; Ended::ALL.len()],
    /// So many answers took at most so long as the bound of their class, and longer than that of the one before.
    pub classes: [u64; BOUNDS.len() + 1],
    /// All latencies together, in microseconds.
    pub micros: u64,
}

impl Tally {
    /// One more probe.
    pub fn count(&mut self, ended: Ended, latency: Option<Duration>) {
        self.ended[ended as usize] += 1;
        if let Some(latency) = latency {
            let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
            self.classes[BOUNDS.partition_point(|bound| *bound < micros)] += 1;
            self.micros += u64::from(micros);
        }
    }
}

/// What the checker has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// By target; those that no probe of has ended yet are missing.
    pub last: FxHashMap<TargetId, LastProbe>,
    /// By type of check (`dns`).
    pub checks: Vec<(&'static str, Tally)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_their_numbers_and_words() {
        for (number, ended) in Ended::ALL.into_iter().enumerate() {
            assert_eq!(ended as usize, number);
            assert_eq!(serde_json::to_value(ended).unwrap(), ended.word());
        }
    }

    #[test]
    fn a_latency_is_in_the_class_whose_bound_it_does_not_exceed() {
        let mut tally = Tally::default();
        for micros in [0, 500, 501, 5_000_000, 5_000_001, u64::MAX] {
            tally.count(Ended::Answered, Some(Duration::from_micros(micros)));
        }
        tally.count(Ended::NoAnswer, None);
        assert_eq!((tally.classes[0], tally.classes[1]), (2, 1));
        assert_eq!((tally.classes[12], tally.classes[13]), (1, 2));
        assert_eq!((tally.ended[0], tally.ended[2]), (6, 1));
    }
}
