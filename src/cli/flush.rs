//! `ipvsd flush`.

use std::path::Path;
use std::process::ExitCode;

use crate::{daemon, logging};

pub fn main(path: &Path) -> ExitCode {
    match super::load(path) {
        Ok(loaded) => {
            logging::start(None);
            super::block_on(daemon::flush(loaded.config))
        }
        Err(status) => status,
    }
}
