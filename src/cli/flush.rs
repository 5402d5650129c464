//! `ipvsd flush`.

use std::path::Path;
use std::process::ExitCode;

use crate::daemon;

pub fn main(path: &Path) -> ExitCode {
    match super::load(path) {
        Ok(loaded) => {
            super::start_logging();
            super::block_on(daemon::flush(loaded.config))
        }
        Err(status) => status,
    }
}
