//! The rise/fall machine of one target: when to probe, and what the outcome of a probe does to the verdict.
//!
//! Pure: time is an argument, a [`Duration`] since any fixed moment, and never goes back. Probes are numbered in the order in
//! which they are sent, and outcomes count in that order whatever the order in which they come in: a late success of an early
//! probe says nothing about the probes that were sent after it.
//!
//! ```text
//!              first success                     `fall` failures in a row
//!   unknown ───────────────────> up  ──────────────────────────────────────> down
//!      └── first failure ──> down    <──────────────────────────────────────
//!                                      `rise` successes in a row (or the first ever)
//! ```
//! A target that stays down and fails in another way, `fall` times in a row, is down for another reason: a change, too.
//!
//! A hint (client traffic was refused) makes an up target be probed at once, and the refusal of that very probe is enough for
//! down. Whoever forges hints gets no more than one probe in [`HINTED_INTERVAL`].

mod outcome;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use self::outcome::{Outcome, first_reason, in_a_row, is_refusal, reason};
use super::failure::{Failure, Sort};
use super::moment::Moment;
use super::protocol::silence_succeeds;
use crate::core::model::{Check, Factor};
use crate::core::probes::Ended;

/// An ICMP error about a dead neighbour takes the kernel about 3 s; less silence than this does not refute one.
const PATIENCE: Duration = Duration::from_secs(4);

/// From one hinted probe to the next.
const HINTED_INTERVAL: Duration = Duration::from_millis(100);

/// The machine.
#[derive(Debug)]
pub struct Machine {
    check: Arc<Check>,
    /// Silence is a success (`reply = "optional"`).
    silence_succeeds: bool,

    up: bool,
    /// A verdict has been given.
    announced: bool,
    /// It was up once, or was taken for up at the start.
    was_up: bool,
    /// What the last success made of the weight.
    factor: Factor,
    /// How it failed when it was last said that it is down, if it is; how it fails since then, and how often in a row.
    said: Option<Sort>,
    fails: Option<(Sort, u32)>,
    /// The probes after the last one whose outcome agreed with the verdict: each waits, or its outcome opposed the verdict.
    /// More than one are there only while answers are missing.
    probes: SmallVec<[Sent; 1]>,
    next_number: u64,
    next_regular: Moment,
    last_sent: Moment,
    /// Confirming probes still to send for the regular probe `confirming_from`.
    confirming: u32,
    confirming_from: u64,
    /// When the second probe is due.
    second: Moment,
    /// Hinted probes still to send, until one that is sent after the last hint succeeds: that is number `hinted_from` or later.
    hinted: u32,
    hinted_from: u64,
    next_hinted: Moment,
    /// Something came that was no answer, and nothing has failed for it yet.
    strayed: bool,
    ended: Option<(Ended, Moment)>,
}

#[derive(Debug)]
struct Sent {
    number: u64,
    at: Moment,
    opposes: bool,
    hinted: bool,
}

/// What [`Machine::tick`] asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the probe with this number now.
    Send(u64),
    /// Send the probe with this number now, by a socket of its own: a refusal must be told from those of other probes.
    SendAlone(u64),
    /// A probe's time is over.
    Expired(Option<Change>),
}

/// A verdict that has changed, or the first one, or the factor of one that is up, or the reason of one that is down.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Up or down.
    pub up: bool,
    /// What it makes of the weight while it is up.
    pub factor: Factor,
    /// Why, in words for the log.
    pub reason: Cow<'static, str>,
}

impl Machine {
    /// A target whose first probe is due `now` and the second one `phase` later; `phase` above the interval counts as the
    /// interval.
    pub fn new(check: Arc<Check>, assumed_up: bool, now: Duration, phase: Duration) -> Machine {
        let (first, second) = (now.into(), (now + phase.min(check.interval)).into());
        Machine {
            silence_succeeds: silence_succeeds(&check.probe),
            up: assumed_up,
            announced: false,
            was_up: assumed_up,
            factor: Factor::FULL,
            said: None,
            fails: None,
            probes: SmallVec::new(),
            next_number: 0,
            next_regular: first,
            last_sent: first,
            confirming: 0,
            confirming_from: 0,
            second,
            check,
            hinted: 0,
            hinted_from: 0,
            next_hinted: first,
            strayed: false,
            ended: None,
        }
    }

    /// What became of the probe whose outcome came last, and when it was sent; once.
    pub fn take_ended(&mut self) -> Option<(Ended, Duration)> {
        self.ended.take().map(|(ended, sent)| (ended, sent.into()))
    }

    /// What it goes by.
    pub fn check(&self) -> &Arc<Check> {
        &self.check
    }

    /// Whether it is up, or taken for up before its first verdict.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Something came that is no answer to a probe that waits.
    pub fn strayed(&mut self) {
        self.strayed = !self.probes.is_empty();
    }

    /// Client traffic was refused at `now`. A target that is not up is probed as before.
    pub fn hint(&mut self, now: Duration) {
        if self.up {
            self.hinted = self.check.fall;
            self.hinted_from = self.next_number;
            self.next_hinted = self.next_hinted.max(now.into());
        }
    }

    /// When [`Machine::tick`] has something to do next.
    pub fn deadline(&self) -> Duration {
        let mut at = self.next_regular;
        if self.confirming > 0 {
            at = at.min(self.last_sent + self.check.retry_interval);
        }
        if self.hinted > 0 {
            at = at.min(self.next_hinted);
        }
        if let Some(oldest) = self.oldest() {
            at = at.min(oldest.at + self.wait());
        }
        at.into()
    }

    /// What is due at `now`; to be called until it gives `None`.
    pub fn tick(&mut self, now: Duration) -> Option<Step> {
        let now = Moment::from(now);
        if let Some(oldest) = self.oldest().filter(|oldest| oldest.at + self.wait() <= now) {
            let number = oldest.number;
            let outcome = match self.silence_succeeds {
                true => Outcome::Silent,
                false if std::mem::take(&mut self.strayed) => {
                    Outcome::Failed(Failure::OnlyStrays(self.check.timeout))
                }
                false => Outcome::Failed(Failure::NoAnswer(self.check.timeout)),
            };
            return Some(Step::Expired(self.settle(number, outcome)));
        }
        if self.hinted > 0 && self.next_hinted <= now {
            self.hinted -= 1;
            self.next_hinted = now + HINTED_INTERVAL;
            return Some(Step::SendAlone(self.send(now, true)));
        }
        if self.next_regular <= now {
            let next = match self.next_number {
                0 => self.second,
                _ => self.next_regular + self.check.interval,
            };
            // Late by more than an interval (the machine slept): no burst to catch up, and the same phase as before, or
            // all targets would march in step from now on.
            self.next_regular = next.after(now, self.check.interval);
            if self.up && !self.silence_succeeds {
                self.confirm_from(self.next_number);
            }
            return Some(Step::Send(self.send(now, false)));
        }
        if self.confirming > 0 && self.last_sent + self.check.retry_interval <= now {
            self.confirming -= 1;
            return Some(Step::Send(self.send(now, false)));
        }
        None
    }

    /// Whether the outcome of this probe still matters.
    pub fn waits_for(&self, probe: u64) -> bool {
        self.probes.iter().any(|sent| sent.number == probe && !sent.opposes)
    }

    /// A right answer came for `probe`.
    pub fn answered(&mut self, probe: u64) -> Option<Change> {
        self.weighed(probe, Factor::FULL)
    }

    /// A right answer came for `probe`, and makes this of the weight.
    pub fn weighed(&mut self, probe: u64, factor: Factor) -> Option<Change> {
        self.settle(probe, Outcome::Answered(factor))
    }

    /// A right answer came, and its probe cannot be told: it counts for the oldest one.
    pub fn answered_any(&mut self) -> Option<Change> {
        self.oldest().map(|oldest| oldest.number).and_then(|number| self.answered(number))
    }

    /// `probe` has failed.
    pub fn failed(&mut self, probe: u64, why: Failure) -> Option<Change> {
        self.settle(probe, Outcome::Failed(why))
    }

    /// An ICMP error came, and its probe cannot be told, or was already taken for a success because nothing had come back.
    /// It is one failure while the target is up, and refutes all silence before it while it is not.
    pub fn failed_any(&mut self, why: Failure) -> Option<Change> {
        let number = match self.oldest() {
            Some(oldest) if self.up => oldest.number,
            _ => {
                let (number, at) = (self.next_number, self.last_sent);
                self.probes.push(Sent { number, at, opposes: false, hinted: false });
                self.next_number += 1;
                number
            }
        };
        self.failed(number, why)
    }

    /// `probe` could not be sent for a reason that says nothing about the target; the next one comes when it would have come.
    pub fn unsent(&mut self, probe: u64) {
        self.probes.retain(|sent| sent.number != probe);
    }

    fn send(&mut self, now: Moment, hinted: bool) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.last_sent = now;
        // What came before this probe was sent says nothing about it.
        self.strayed &= !self.probes.is_empty();
        self.probes.push(Sent { number, at: now, opposes: false, hinted });
        number
    }

    fn oldest(&self) -> Option<&Sent> {
        self.probes.iter().find(|sent| !sent.opposes)
    }

    /// How long a probe waits.
    fn wait(&self) -> Duration {
        let doubtful = self.silence_succeeds
            && if self.up { self.probes.iter().any(|sent| sent.opposes) } else { self.announced };
        if doubtful { self.check.timeout.max(PATIENCE) } else { self.check.timeout }
    }

    /// Confirming probes follow until `fall` probes are out, counted from `number`, or one of these succeeds.
    fn confirm_from(&mut self, number: u64) {
        self.confirming = self.check.fall - 1;
        self.confirming_from = number;
    }

    fn settle(&mut self, number: u64, outcome: Outcome) -> Option<Change> {
        let index = self.probes.iter().position(|sent| sent.number == number && !sent.opposes)?;
        self.ended = Some((outcome.ended(), self.probes[index].at));
        let success = !matches!(outcome, Outcome::Failed(_));
        if success {
            self.fails = None;
        }
        if success && number >= self.confirming_from {
            self.confirming = 0;
        }
        if success && number >= self.hinted_from {
            self.hinted = 0;
        }
        if success == self.up {
            self.probes.drain(..=index);
            if let Some((why, row)) = self.fails_otherwise(&outcome) {
                return Some(Change { up: false, factor: self.factor, reason: in_a_row(why.into(), row) });
            }
            let reweighed = self.take_factor(&outcome);
            if self.announced && !reweighed {
                return None;
            }
            self.say(&outcome);
            let reason = if self.announced { reason(&outcome, 1) } else { first_reason(&outcome) };
            self.announced = true;
            return Some(Change { up: success, factor: self.factor, reason });
        }
        if self.silence_succeeds && self.up && !self.probes.iter().any(|sent| sent.opposes) {
            self.confirm_from(number);
        }
        self.probes[index].opposes = true;
        let row = self.row(index);
        let refused_twice = self.probes[index].hinted && is_refusal(&outcome);
        let needed = match (self.up, self.was_up) {
            (true, _) if refused_twice => 1,
            (true, _) => self.check.fall,
            (false, true) => self.check.rise,
            (false, false) => 1,
        };
        if row < needed as usize {
            return None;
        }
        let reason = match refused_twice {
            true => format!("{}, as client traffic was", first_reason(&outcome)).into(),
            false if !success || self.was_up => reason(&outcome, row),
            false => first_reason(&outcome),
        };
        // What opposed the old verdict agrees with the new one.
        if let Some(last) = self.probes.iter().rposition(|sent| sent.opposes) {
            self.probes.drain(..=last);
        }
        self.up = success;
        self.announced = true;
        self.was_up |= success;
        self.confirming = 0;
        self.hinted = 0;
        self.take_factor(&outcome);
        self.say(&outcome);
        Some(Change { up: success, factor: self.factor, reason })
    }

    /// The factor of the latest answer counts; whether it is another one than before.
    fn take_factor(&mut self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Answered(factor) => std::mem::replace(&mut self.factor, *factor) != *factor,
            Outcome::Silent | Outcome::Failed(_) => false,
        }
    }

    /// The verdict that follows from this outcome is given.
    fn say(&mut self, outcome: &Outcome) {
        self.fails = None;
        self.said = match outcome {
            Outcome::Failed(why) => Some(why.sort()),
            Outcome::Answered(_) | Outcome::Silent => None,
        };
    }

    /// Whether a target that is down fails in another way than was said, and has done so often enough; how, and how often.
    fn fails_otherwise(&mut self, outcome: &Outcome) -> Option<(String, usize)> {
        let (Outcome::Failed(why), Some(said)) = (outcome, self.said) else { return None };
        let sort = why.sort();
        let row = self.fails.filter(|(before, _)| *before == sort).map_or(1, |(_, row)| row + 1);
        self.fails = (sort != said).then_some((sort, row));
        if sort == said || row < self.check.fall {
            return None;
        }
        self.say(outcome);
        Some((why.to_string(), row as usize))
    }

    /// How many opposing outcomes stand in a row around `index`.
    fn row(&self, index: usize) -> usize {
        let before = self.probes[..index].iter().rev().take_while(|sent| sent.opposes).count();
        before + self.probes[index..].iter().take_while(|sent| sent.opposes).count()
    }
}

#[cfg(test)]
mod tests;
