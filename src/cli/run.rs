//! `ipvsd run`.

use std::path::Path;
use std::process::ExitCode;

use crate::logging::Format;
use crate::{daemon, logging};

pub fn main(path: &Path, log: Option<Format>) -> ExitCode {
    match super::load(path) {
        Ok(loaded) => {
            logging::start(log);
            super::block_on(daemon::run(path, loaded.config))
        }
        Err(status) => status,
    }
}
