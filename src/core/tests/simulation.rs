//! Many histories, each judged at every step and at its end.

use std::sync::atomic::{AtomicU64, Ordering};

use super::bugs::{self, Bug};
use super::end::end;
use super::history::History;
use super::world::table;

const SEEDS: u64 = 2000;
const STEPS: usize = 1000;

/// Runs one history to its end; what was wrong, if anything.
fn run(seed: u64, bug: Option<Bug>, trace: bool) -> Option<String> {
    let mut history = History::new(seed, bug, trace);
    for _ in 0..STEPS {
        history.step();
        if history.world.promises.broken.is_some() {
            return history.world.promises.broken;
        }
    }
    end(&mut history);
    let what = history.world.promises.broken.take()?;
    Some(format!("{what}; {:?}; the kernel has {:?}", history.trouble, table(&history.world.kernel)))
}

/// A panic says which seed it was.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

#[test]
fn simulation() {
    if let Some(seed) = std::env::var("IPVSD_SEED").ok().and_then(|seed| seed.parse().ok()) {
        assert_eq!(run(seed, None, true), None, "seed {seed}");
        return;
    }
    let seeds = std::env::var("IPVSD_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let seed = Seed(next.fetch_add(1, Ordering::Relaxed));
            if seed.0 >= seeds {
                return failures;
            }
            failures.extend(run(seed.0, None, false).map(|what| format!("IPVSD_SEED={}: {what}", seed.0)));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    let some: Vec<&String> = failures.iter().take(10).collect();
    assert!(failures.is_empty(), "{} of {seeds} histories fail: {some:#?}", failures.len());
}

#[test]
fn every_planted_bug_is_found() {
    for bug in bugs::ALL {
        let found = (0..SEEDS).find_map(|seed| Some((seed, run(seed, Some(bug), false)?)));
        let (seed, what) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?}: seed {seed}: {what}");
    }
}
