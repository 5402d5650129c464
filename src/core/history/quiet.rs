//! Inputs that say nothing new and decide nothing: a letter each, and the microseconds since the one before, in hexadecimal.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{Given, Time, in_micros};

/// Such inputs in a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quiet(String);

impl Quiet {
    /// The letter of an input that may be quiet.
    pub(super) fn letter(given: &Given) -> Option<char> {
        Some(match given {
            Given::Wake => 'W',
            Given::Unchanged => 'U',
            Given::SysctlsAsKnown => 'S',
            Given::ServicesAsKnown => 'L',
            Given::RulesAsKnown => 'R',
            Given::RulesTouched => 'T',
            Given::ConnectionsAsKnown => 'C',
            _ => return None,
        })
    }

    pub(super) fn push(&mut self, letter: char, since: Time) {
        // A String takes everything.
        let _ = write!(self.0, "{letter}{:x}", in_micros(since));
    }

    /// So many bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When each was given and what, from `before` on; none where it is not understood.
    pub fn inputs(&self, before: Time) -> impl Iterator<Item = Option<(Time, Given)>> {
        let letters = self.0.char_indices().filter(|(at, c)| *at == 0 || !matches!(c, '0'..='9' | 'a'..='f'));
        let ends = letters.clone().map(|(at, _)| at).skip(1).chain([self.0.len()]);
        let mut time = Some(before);
        letters.zip(ends).map(move |((at, letter), end)| {
            let given = match letter {
                'W' => Given::Wake,
                'U' => Given::Unchanged,
                'S' => Given::SysctlsAsKnown,
                'L' => Given::ServicesAsKnown,
                'R' => Given::RulesAsKnown,
                'T' => Given::RulesTouched,
                'C' => Given::ConnectionsAsKnown,
                _ => return None,
            };
            let since = u64::from_str_radix(&self.0[at + 1..end], 16).ok()?;
            time = time?.checked_add(Time::from_micros(since));
            Some((time?, given))
        })
    }
}
