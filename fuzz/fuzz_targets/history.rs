//! Any bytes in the history are notes or left out.

#![no_main]

use ipvsd::core::history::{Entry, What};
use ipvsd::daemon::{About, notes};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    for line in &lines {
        let Ok(entry) = Entry::parse(line) else { continue };
        if let What::Quiet(quiet) = &entry.what {
            assert!(quiet.inputs(entry.at).count() <= line.len());
        }
        let again = serde_json::to_vec(&entry).expect("JSON");
        assert_eq!(Entry::parse(&again).expect("an entry"), entry);
    }
    assert!(notes(lines, &About::default(), 5).len() <= 5);
});
