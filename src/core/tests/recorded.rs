//! Histories that are noted, read again from their text and replayed: another core asks for the same, one output after the other.

use super::end::end;
use super::history::History;
use crate::core::history::{Recording, Start, masked, replay};
use crate::core::memory::Memory;
use crate::core::{Core, Input, Output, Time};
use crate::pieces::Pieces;

const SEEDS: u64 = 300;
const STEPS: usize = 300;

/// What is noted, and what it must give again.
#[derive(Default)]
pub struct Recorded {
    recording: Option<Recording>,
    lines: Pieces,
    outputs: Vec<Vec<Output>>,
}

impl Recorded {
    /// A run begins.
    pub fn start(&mut self, memory: Memory, now: Time) {
        if let Some(recording) = &mut self.recording {
            recording.flush(&mut self.lines);
        }
        let start = Start { memory, ..Start::default() };
        self.recording = Some(Recording::start(start, now, &mut self.lines));
    }

    pub fn handle(&mut self, core: &mut Core, now: Time, input: Input) -> Vec<Output> {
        let recording = self.recording.as_mut().expect("a run has begun");
        let outputs = recording.handle(core, now, input, &mut self.lines);
        let mut masked = outputs.clone();
        for output in &mut masked {
            if let Output::Probe(targets) = output {
                targets.iter_mut().for_each(|target| masked::mask(&mut target.check));
            }
        }
        self.outputs.push(masked);
        outputs
    }
}

#[test]
fn a_history_replayed_gives_the_same_outputs() {
    let (mut runs, mut inputs, mut decisions) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut history = History::new(seed, None, false);
        history.world.recorded = Some(Recorded::default());
        history.world.crash(false);
        let config = history.config.clone();
        history.reconfigure(config);
        (0..STEPS).for_each(|_| history.step());
        end(&mut history);
        assert_eq!(history.world.promises.broken, None, "seed {seed}");
        let Some(Recorded { recording: Some(mut recording), mut lines, outputs }) = history.world.recorded
        else {
            panic!("nothing was noted");
        };
        recording.flush(&mut lines);
        let mut expected = outputs.iter();
        let text = lines.iter().collect::<Vec<_>>().concat();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let replayed = replay(lines, |outputs| {
            assert_eq!(Some(outputs), expected.next().map(Vec::as_slice), "seed {seed}");
        });
        let replayed = replayed.unwrap_or_else(|differs| panic!("seed {seed}: {differs}"));
        assert_eq!((expected.next(), replayed.left_out), (None, 0), "seed {seed}");
        runs += replayed.runs;
        inputs += replayed.inputs;
        decisions += replayed.decisions;
    }
    println!("{runs} runs, {inputs} inputs, {decisions} decisions");
    assert!(runs > SEEDS, "no crash was noted");
}
