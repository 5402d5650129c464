//! The reader's half: gives a core again what another was told, and compares what they decide.

use super::given::Known;
use super::{Decision, Entry, Start, What};
use crate::core::{Core, Output, Time};

/// What a replay has shown; all decisions were the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// So many runs, or their beginnings.
    pub runs: u64,
    /// So many inputs in them.
    pub inputs: u64,
    /// So many decisions.
    pub decisions: u64,
    /// So many lines that could not be played: damaged, after a gap in the numbers, or of a run whose start is not there.
    pub left_out: u64,
}

/// The core decides otherwise than what is written down: it is another one, or somebody has changed the history.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "line {line}, {at:?}: the history says {recorded:?}, the replay decides {decided:?}; a history is to be replayed by \
     the version of ipvsd that its start names"
)]
pub struct Differs {
    /// The line, from 1 on.
    pub line: u64,
    /// When.
    pub at: Time,
    /// What was decided.
    pub recorded: Vec<Decision>,
    /// What is decided now.
    pub decided: Vec<Decision>,
}

/// Plays a history, the older file first; `seen` gets what the core asks for at each input.
///
/// # Errors
/// The first input at which the core decides otherwise.
///
/// # Panics
/// The core may, if somebody has made up a history with a config that is not valid.
pub fn replay<L: AsRef<[u8]>>(
    lines: impl IntoIterator<Item = L>,
    mut seen: impl FnMut(&[Output]),
) -> Result<Replayed, Differs> {
    let mut replayed = Replayed::default();
    let mut run: Option<Run> = None;
    for (line, text) in (1..).zip(lines) {
        let entry = Entry::parse(text.as_ref());
        run = match entry {
            Ok(Entry { number: 0, what: What::Start(start), .. }) => {
                replayed.runs += 1;
                Some(Run::new(start))
            }
            Ok(entry) => match run.take().filter(|run| run.next == entry.number) {
                Some(run) => run.play(line, entry, &mut replayed, &mut seen)?,
                None => None,
            },
            Err(_) => None,
        };
        replayed.left_out += u64::from(run.is_none());
    }
    Ok(replayed)
}

struct Run {
    core: Core,
    known: Known,
    next: u64,
}

impl Run {
    fn new(start: Start) -> Self {
        Self { core: Core::new(start.memory), known: Known::default(), next: 1 }
    }

    /// None if the entry makes no sense here.
    fn play(
        mut self,
        line: u64,
        entry: Entry,
        replayed: &mut Replayed,
        seen: &mut impl FnMut(&[Output]),
    ) -> Result<Option<Self>, Differs> {
        self.next += 1;
        let mut play = |at: Time, given: super::Given, recorded: Vec<Decision>| {
            let Some(input) = given.input(&self.core, &self.known) else { return Ok(false) };
            self.known.told(&input);
            let outputs = self.core.handle(at, input);
            self.known.asked(&outputs);
            seen(&outputs);
            let decided = Decision::all(&outputs, self.core.rules.as_deref());
            if decided != recorded {
                return Err(Differs { line, at, recorded, decided });
            }
            replayed.inputs += 1;
            replayed.decisions += decided.len() as u64;
            Ok(true)
        };
        let understood = match entry.what {
            What::Start(_) => false,
            What::Input { given, decided } => play(entry.at, given, decided)?,
            What::Quiet(quiet) => {
                let mut understood = true;
                for input in quiet.inputs(entry.at) {
                    understood &= match input {
                        Some((at, given)) => play(at, given, Vec::new())?,
                        None => false,
                    };
                }
                understood
            }
        };
        Ok(understood.then_some(self))
    }
}
