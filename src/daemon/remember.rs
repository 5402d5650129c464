//! What must be known after a crash, on disk: read at start and for a plan, written before anything else is done, and
//! written again until it works.

use std::time::{Duration, Instant};

use super::Refusal;
use crate::admin;
use crate::core::memory::Memory;
use crate::kernel::state::StateFile;

/// From one try to the next.
const AGAIN: Duration = Duration::from_secs(1);

/// The state file, and what it does not hold yet.
pub struct Remembered {
    file: StateFile,
    unwritten: Option<(Memory, Instant)>,
}

impl Remembered {
    /// For a daemon: the file, and what an earlier run wrote into it.
    pub fn read() -> Result<(Self, Memory), Refusal> {
        let (file, memory) = read()?;
        if memory.is_none() {
            let file = file.path().display();
            tracing::info!(%file, "no state file: only what the config names is ipvsd's own");
        }
        Ok((Self { file, unwritten: None }, memory.unwrap_or_default()))
    }

    /// Writes this down. If that fails, it is said once, and [`Self::retry`] tries again.
    pub fn write(&mut self, memory: Memory, now: Instant) {
        let file = self.file.path().display();
        match (self.file.write(&memory), &self.unwritten) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                self.unwritten = None;
                tracing::info!(%file, "the state file works again");
            }
            (Err(error), said) => {
                if said.is_none() {
                    tracing::error!(
                        %file, %error,
                        "cannot write the state file, will be tried again: after a crash ipvsd would know less"
                    );
                }
                self.unwritten = Some((memory, now + AGAIN));
            }
        }
    }

    /// Tries again what could not be written, if that is due.
    pub fn retry(&mut self, now: Instant) {
        if let Some((memory, _)) = self.unwritten.as_ref().filter(|(_, due)| *due <= now) {
            self.write(memory.clone(), now);
        }
    }
}

/// The state file and what an earlier run wrote into it; none if there is no file. One that is not understood is no
/// reason not to start.
pub fn read() -> Result<(StateFile, Option<Memory>), Refusal> {
    let directory = admin::runtime_directory();
    let state = StateFile::of_this_namespace(&directory).map_err(Refusal::io("name the state file"))?;
    let memory = state.read().unwrap_or_else(|error| {
        let file = state.path().display();
        tracing::warn!(%file, %error, "the state file is no use: only what the config names is ipvsd's own");
        Some(Memory::default())
    });
    Ok((state, memory))
}
