//! What became of one probe, and the words for it.

use std::borrow::Cow;

use crate::core::model::Factor;
use crate::core::probes::Ended;
use crate::health::failure::{Failure, Unreachable};

/// What became of a probe.
pub enum Outcome {
    /// With what the answer makes of the weight.
    Answered(Factor),
    Silent,
    Failed(Failure),
}

impl Outcome {
    pub fn ended(&self) -> Ended {
        match self {
            Self::Answered(_) => Ended::Answered,
            Self::Silent => Ended::Silent,
            Self::Failed(why) => why.ended(),
        }
    }
}

/// Whether somebody said that nobody listens there.
pub fn is_refusal(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(Failure::Icmp(Unreachable::Port)))
}

/// Why a first verdict is what it is.
pub fn first_reason(outcome: &Outcome) -> Cow<'static, str> {
    match outcome {
        Outcome::Answered(factor) => with_factor("first answer", *factor),
        Outcome::Silent => "silent as expected".into(),
        Outcome::Failed(why) => why.to_string().into(),
    }
}

/// Why a verdict has changed after so many alike.
pub fn reason(outcome: &Outcome, row: usize) -> Cow<'static, str> {
    let what = match outcome {
        Outcome::Answered(factor) => with_factor("answered", *factor),
        other => first_reason(other),
    };
    in_a_row(what, row)
}

/// The same with their number, if it is more than one.
pub fn in_a_row(what: Cow<'static, str>, row: usize) -> Cow<'static, str> {
    if row > 1 { format!("{what}, {row} in a row").into() } else { what }
}

fn with_factor(what: &'static str, factor: Factor) -> Cow<'static, str> {
    if factor == Factor::FULL { what.into() } else { format!("{what} with {factor}").into() }
}
