//! Any bytes are a keepalived.conf with its findings, and are translated. Nothing outside of the text is read.

#![no_main]

use std::io;
use std::path::{Path, PathBuf};

use ipvsd::keepalived::{Outside, parse, translate};

struct Nothing;

impl Outside for Nothing {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn matches(&self, _: &str) -> Vec<PathBuf> {
        Vec::new()
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn random(&self, least: u32, _: u32) -> u32 {
        least
    }

    fn config_id(&self) -> &str {
        "fuzz"
    }
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let file = parse(Path::new("/fuzz/keepalived.conf"), text, &Nothing);
    assert!(file.findings.iter().all(|finding| finding.place.line > 0));
    let translation = translate(&file, &Nothing);
    assert!(translation.notes.iter().all(|note| note.place.line > 0));
});
