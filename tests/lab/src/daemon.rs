//! ipvsd itself in the director's namespace, with a config of its own.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Netns, Process};

/// A running `ipvsd run --config FILE`; killed (not ended in order) when dropped.
pub struct Daemon {
    process: Process,
    file: PathBuf,
    _dir: TempDir,
}

impl Daemon {
    /// Starts the daemon with this config text. `program` is `env!("CARGO_BIN_EXE_ipvsd")`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(netns: &Netns, program: impl AsRef<Path>, config: &str) -> Daemon {
        Daemon::start_with(netns, program, "ipvsd.toml", config)
    }

    /// The same with a config file of this name: one that ends in `.conf` is a keepalived.conf.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(netns: &Netns, program: impl AsRef<Path>, name: &str, config: &str) -> Daemon {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join(name);
        fs::write(&file, config).expect("writing the config");
        let mut command = Command::new(program.as_ref());
        command.arg("run").arg("--config").arg(&file);
        command.env("RUNTIME_DIRECTORY", netns.runtime_directory());
        command.env("STATE_DIRECTORY", netns.state_directory());
        let process = Process::start(netns, &mut command);
        Daemon { process, file, _dir: dir }
    }

    /// Its config file, gone with the daemon.
    pub fn config_file(&self) -> PathBuf {
        self.file.clone()
    }
}

impl Deref for Daemon {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Daemon {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
