//! What became of probes: the last one of a target, and all by type of check. A few words a target, and a few instructions a probe.

use std::time::Duration;

use crate::core::probes::{Ended, LastProbe, Tally};

/// The last probe of a target.
#[derive(Debug)]
pub struct Record {
    /// The place of its type among the [`Tallies`].
    kind: u8,
    ended: Option<Ended>,
    /// When that was, in whole seconds of the engine's time.
    at: u32,
    /// How long the last answer took, in microseconds.
    latency: Option<u32>,
}

/// All probes by type of check.
#[derive(Debug, Default)]
pub struct Tallies(pub Vec<(&'static str, Tally)>);

impl Tallies {
    /// An empty record for a target with a check of this type.
    pub fn record(&mut self, check: &'static str) -> Record {
        let place = self.0.iter().position(|(known, _)| *known == check).unwrap_or_else(|| {
            self.0.push((check, Tally::default()));
            self.0.len() - 1
        });
        // There are fewer types.
        Record { kind: place as u8, ended: None, at: 0, latency: None }
    }
}

impl Record {
    /// A probe has ended at `now`; after so long, if by an answer.
    pub fn count(&mut self, now: Duration, ended: Ended, latency: Option<Duration>, tallies: &mut Tallies) {
        self.ended = Some(ended);
        self.at = now.as_secs() as u32;
        if let Some(latency) = latency {
            self.latency = Some(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
        tallies.0[usize::from(self.kind)].1.count(ended, latency);
    }

    /// The last probe, as seen at `now`; none if none has ended yet.
    pub fn last(&self, now: Duration) -> Option<LastProbe> {
        Some(LastProbe {
            ended: self.ended?,
            ago: now.saturating_sub(Duration::from_secs(self.at.into())),
            latency: self.latency.map(|micros| Duration::from_micros(micros.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_the_last_outcome_and_the_last_latency() {
        let mut tallies = Tallies::default();
        let (mut udp, mut dns) = (tallies.record("udp"), tallies.record("dns"));
        assert_eq!(tallies.record("udp").kind, udp.kind);
        let seconds = Duration::from_secs;
        assert_eq!(dns.last(seconds(9)), None);
        dns.count(seconds(3), Ended::Answered, Some(Duration::from_micros(700)), &mut tallies);
        dns.count(seconds(5), Ended::Refused, None, &mut tallies);
        udp.count(seconds(5), Ended::LeftOut, None, &mut tallies);
        let expected =
            LastProbe { ended: Ended::Refused, ago: seconds(4), latency: Some(Duration::from_micros(700)) };
        assert_eq!(dns.last(seconds(9)), Some(expected));
        let sums: Vec<(&str, u64, u64)> =
            tallies.0.iter().map(|(check, tally)| (*check, tally.ended.iter().sum(), tally.micros)).collect();
        assert_eq!(sums, [("udp", 1, 0), ("dns", 2, 700)]);
    }
}
