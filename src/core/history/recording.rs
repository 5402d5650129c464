//! The writer's half: stands between the core and whoever tells it something, and notes both.

use super::given::Known;
use super::{Decision, Entry, Given, Quiet, Start, What};
use crate::core::{Core, Input, Output, Time};
use crate::pieces::Pieces;

/// So many bytes of quiet inputs are kept back: an hour of them.
const QUIET: usize = 64 << 10;

/// A run that is being noted.
#[derive(Debug)]
pub struct Recording {
    number: u64,
    /// The time of the last entry or input.
    last: Time,
    quiet: Quiet,
    /// The time of the last entry or input before these.
    before: Time,
    known: Known,
}

impl Recording {
    /// Begins, and puts the first entry into `lines`; `core` is to be new and begin with the same memory. All times are whole
    /// microseconds.
    pub fn start(start: Start, now: Time, lines: &mut Pieces) -> Self {
        let mut recording =
            Self { number: 0, last: now, quiet: Quiet::default(), before: now, known: Known::default() };
        recording.write(now, What::Start(start), lines);
        recording
    }

    /// Hands an input to the core and returns what that asks for. Entries that are complete go to the end of `lines`.
    pub fn handle(&mut self, core: &mut Core, now: Time, input: Input, lines: &mut Pieces) -> Vec<Output> {
        let given = Given::of(&input, core, &self.known);
        self.known.told(&input);
        let outputs = core.handle(now, input);
        self.known.asked(&outputs);
        let decided = Decision::all(&outputs, core.rules.as_deref());
        match Quiet::letter(&given).filter(|_| decided.is_empty()) {
            Some(letter) => {
                if self.quiet == Quiet::default() {
                    self.before = self.last;
                }
                self.quiet.push(letter, now.saturating_sub(self.last));
                if self.quiet.len() >= QUIET {
                    self.flush(lines);
                }
            }
            None => {
                self.flush(lines);
                self.write(now, What::Input { given, decided }, lines);
            }
        }
        self.last = now;
        outputs
    }

    /// What was kept back is written, too.
    pub fn flush(&mut self, lines: &mut Pieces) {
        if self.quiet != Quiet::default() {
            let quiet = std::mem::take(&mut self.quiet);
            self.write(self.before, What::Quiet(quiet), lines);
        }
    }

    fn write(&mut self, at: Time, what: What, lines: &mut Pieces) {
        let end = lines.len();
        let entry = Entry { number: self.number, at, what };
        self.number += 1;
        match serde_json::to_writer(&mut *lines, &entry) {
            Ok(()) => lines.push(b"\n"),
            // The gap in the numbers tells.
            Err(_) => lines.truncate(end),
        }
    }
}
