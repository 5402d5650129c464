//! The history on disk: what the core was told and has decided goes to a thread that writes it, so that no disk, full or hung, holds
//! the daemon up.
//!
//! [`Recorder`] stands between the loop and the core, [`HistoryFile`] is bounded, and `notes` reads it for people.

mod file;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::utsname::uname;

use crate::core::history::{Recording, Start};
use crate::core::memory::Memory;
use crate::core::{Core, Input, Output, Time};
use crate::pieces::Pieces;

pub use file::HistoryFile;

/// From one try to write to the next.
const AGAIN: Duration = Duration::from_secs(5);
/// So many bytes wait at most, beside as many that are being written; what comes then is lost, and the gap in the numbers shows it.
const MOST: usize = 8 << 20;
/// So long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// Notes what the core is told and what it decides.
pub struct Recorder {
    recording: Recording,
    waiting: Arc<Waiting>,
    /// Closed when the writer has ended.
    ended: Receiver<()>,
}

impl Recorder {
    /// Begins a run in the history in `directory`, of a core that begins with this memory.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(directory: PathBuf, memory: Memory, now: Time) -> io::Result<Self> {
        let kernel = uname().map(|names| names.release().to_string_lossy().into_owned());
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let start = Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: kernel.unwrap_or_default(),
            boot: boot.trim().to_owned(),
            memory,
        };
        let (ending, ended) = channel();
        let waiting = Arc::new(Waiting::default());
        let recording = waiting.add(|lines| Recording::start(start, now, lines));
        let file = HistoryFile::in_directory(directory);
        let for_writer = Arc::clone(&waiting);
        thread::Builder::new().name("history".to_owned()).spawn(move || {
            let _ending = ending;
            write(file, &for_writer);
        })?;
        Ok(Self { recording, waiting, ended })
    }

    /// Hands an input to the core and returns what that asks for.
    pub fn handle(&mut self, core: &mut Core, now: Time, input: Input) -> Vec<Output> {
        self.waiting.add(|lines| self.recording.handle(core, now, input, lines))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.waiting.add(|lines| self.recording.flush(lines));
        self.waiting.end();
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    lines: Mutex<Lines>,
    news: Condvar,
}

#[derive(Default)]
struct Lines {
    text: Pieces,
    /// No more come.
    over: bool,
}

impl Waiting {
    /// Lets lines be added, or loses them.
    fn add<T>(&self, lines: impl FnOnce(&mut Pieces) -> T) -> T {
        let mut waiting = self.lock();
        let before = waiting.text.len();
        let result = lines(&mut waiting.text);
        if before > 0 && waiting.text.len() > MOST {
            waiting.text.truncate(before);
        }
        self.news.notify_one();
        result
    }

    /// No more come.
    fn end(&self) {
        self.lock().over = true;
        self.news.notify_one();
    }

    /// All that waits, as soon as there is something and the time has come; and whether no more come, which no time holds up.
    fn take(&self, not_before: Option<Instant>) -> (Pieces, bool) {
        let mut waiting = self.lock();
        loop {
            let early = not_before.map(|time| time.saturating_duration_since(Instant::now()));
            let early = early.filter(|early| !early.is_zero());
            if waiting.over || (!waiting.text.is_empty() && early.is_none()) {
                return (std::mem::take(&mut waiting.text), waiting.over);
            }
            waiting = match early {
                Some(early) => {
                    self.news.wait_timeout(waiting, early).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.news.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// What could not be written goes before all that came since.
    fn put_back(&self, mut lines: Pieces) {
        let mut waiting = self.lock();
        lines.append(&mut waiting.text);
        waiting.text = lines;
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes until nobody sends any more; what cannot be written is said once, and tried again.
fn write(mut file: HistoryFile, waiting: &Waiting) {
    // When to try again what failed.
    let mut again: Option<Instant> = None;
    let mut over = false;
    while !over {
        let lines;
        (lines, over) = waiting.take(again);
        let path = file.path().display().to_string();
        match file.append(&lines) {
            Ok(()) => {
                if again.take().is_some() {
                    tracing::info!(file = path, "the history works again");
                }
            }
            Err(error) => {
                waiting.put_back(lines);
                if again.replace(Instant::now() + AGAIN).is_none() {
                    tracing::error!(
                        file = path, %error,
                        "cannot write the history, will be tried again: until then `ipvsd explain` knows less"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::replay;
    use crate::core::model::Config;

    fn now() -> Time {
        Duration::from_micros(1_700_000_000_123_456)
    }

    fn run(directory: PathBuf, before_the_end: impl FnOnce()) {
        let mut recorder = Recorder::start(directory, Memory::default(), now()).unwrap();
        let mut core = Core::new(Memory::default());
        for input in [Input::Config(Config::default()), Input::Wake, Input::Unchanged, Input::Wake] {
            recorder.handle(&mut core, now(), input);
        }
        before_the_end();
    }

    #[test]
    fn runs_follow_one_another_and_play() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("state");
        run(directory.clone(), || {});
        run(directory.clone(), || {});
        let replayed = replay(HistoryFile::in_directory(directory).lines().unwrap(), |_| {}).unwrap();
        assert_eq!((replayed.runs, replayed.inputs, replayed.left_out), (2, 8, 0));
    }

    #[test]
    fn what_cannot_be_written_is_written_when_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("file");
        fs::write(&parent, "no directory").unwrap();
        let directory = parent.join("state");
        run(directory.clone(), || fs::remove_file(&parent).unwrap());
        let replayed = replay(HistoryFile::in_directory(directory).lines().unwrap(), |_| {}).unwrap();
        assert_eq!((replayed.runs, replayed.inputs, replayed.left_out), (1, 4, 0));
    }
}
