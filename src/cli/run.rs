//! `ipvsd run`.

use std::path::Path;
use std::process::ExitCode;

use crate::config::Loaded;
use crate::logging::Format;
use crate::{daemon, logging};

pub fn main(path: &Path, log: Option<Format>) -> ExitCode {
    match super::load(path) {
        // The warnings, which were said, have the text of the file with them.
        Ok(Loaded { config, files, .. }) => {
            logging::start(log);
            super::block_on(daemon::run(path, &files, config))
        }
        Err(status) => status,
    }
}
