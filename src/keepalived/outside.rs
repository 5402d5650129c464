//! What a keepalived.conf may ask of the machine that it is read on: files, the environment, chance.

use std::io;
use std::path::{Path, PathBuf};

/// The machine, as far as a config sees it.
pub trait Outside {
    /// The content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The paths that a glob pattern (without braces) matches, in alphabetical order.
    fn matches(&self, pattern: &str) -> Vec<PathBuf>;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;

    /// A number between two, both included.
    fn random(&self, least: u32, most: u32) -> u32;

    /// What `@id` lines are compared with.
    fn config_id(&self) -> &str;
}

/// This machine.
#[derive(Clone, Debug)]
pub struct Machine {
    config_id: String,
}

impl Machine {
    /// With `--config-id` of keepalived, or without: then it is the host's name up to the first dot.
    pub fn new(config_id: Option<String>) -> Self {
        let host = || {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            name.trim().split('.').next().unwrap_or_default().to_owned()
        };
        Self { config_id: config_id.unwrap_or_else(host) }
    }
}

impl Outside for Machine {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn matches(&self, pattern: &str) -> Vec<PathBuf> {
        let options = glob::MatchOptions {
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..Default::default()
        };
        glob::glob_with(pattern, options).map(|paths| paths.flatten().collect()).unwrap_or_default()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn random(&self, least: u32, most: u32) -> u32 {
        rand::random_range(least..=most)
    }

    fn config_id(&self) -> &str {
        &self.config_id
    }
}
