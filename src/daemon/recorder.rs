//! The history on disk: what the core was told and has decided goes to a thread that writes it, so that no disk, full or hung, holds
//! the daemon up.
//!
//! [`Recorder`] stands between the loop and the core, [`HistoryFile`] is bounded, and `notes` reads it for people.

mod file;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::utsname::uname;

use crate::core::history::{Recording, Start};
use crate::core::memory::Memory;
use crate::core::{Core, Input, Output, Time};

pub use file::HistoryFile;

/// From one try to write to the next.
const AGAIN: Duration = Duration::from_secs(5);
/// So many bytes wait to be written at most; what comes then is lost, and the gap in the numbers shows it.
const MOST: usize = 16 << 20;
/// So long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// Notes what the core is told and what it decides.
pub struct Recorder {
    recording: Recording,
    /// Not yet with the writer.
    lines: Vec<u8>,
    /// None at the end only.
    writer: Option<Sender<Vec<u8>>>,
    waiting: Arc<AtomicUsize>,
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
        let mut lines = Vec::new();
        let recording = Recording::start(start, now, &mut lines);
        let (writer, work) = channel();
        let (ending, ended) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let file = HistoryFile::in_directory(directory);
        let for_writer = Arc::clone(&waiting);
        thread::Builder::new().name("history".to_owned()).spawn(move || {
            let _ending = ending;
            write(file, &work, &for_writer);
        })?;
        let mut recorder = Self { recording, lines, writer: Some(writer), waiting, ended };
        recorder.send();
        Ok(recorder)
    }

    /// Hands an input to the core and returns what that asks for.
    pub fn handle(&mut self, core: &mut Core, now: Time, input: Input) -> Vec<Output> {
        let outputs = self.recording.handle(core, now, input, &mut self.lines);
        if !self.lines.is_empty() {
            self.send();
        }
        outputs
    }

    fn send(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let Some(writer) = &self.writer else { return };
        if self.waiting.load(Ordering::Relaxed) + lines.len() <= MOST {
            self.waiting.fetch_add(lines.len(), Ordering::Relaxed);
            // The writer lives as long as this struct.
            let _ = writer.send(lines);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.recording.flush(&mut self.lines);
        self.send();
        self.writer = None;
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

/// Writes until nobody sends any more; what cannot be written is said once, and tried again.
fn write(mut file: HistoryFile, work: &Receiver<Vec<u8>>, waiting: &AtomicUsize) {
    let mut unwritten = VecDeque::new();
    // When to try again what failed.
    let mut again: Option<Instant> = None;
    let mut over = false;
    while !over {
        let next = match again {
            None => work.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => work.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        over = next == Err(RecvTimeoutError::Disconnected);
        unwritten.extend(next.into_iter().chain(work.try_iter()));
        if !over && again.is_some_and(|due| Instant::now() < due) {
            continue;
        }
        let path = file.path().display().to_string();
        match append(&mut file, &mut unwritten, waiting) {
            Ok(()) => {
                if again.take().is_some() {
                    tracing::info!(file = path, "the history works again");
                }
            }
            Err(error) => {
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

/// Appends what waits, one after the other.
fn append(
    file: &mut HistoryFile,
    unwritten: &mut VecDeque<Vec<u8>>,
    waiting: &AtomicUsize,
) -> io::Result<()> {
    while let Some(lines) = unwritten.front() {
        file.append(lines)?;
        waiting.fetch_sub(lines.len(), Ordering::Relaxed);
        unwritten.pop_front();
    }
    Ok(())
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
