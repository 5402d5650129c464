//! Any text is a config or a report.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    match ipvsd::config::parse("fuzz.toml", text) {
        Ok(loaded) => drop(loaded.warnings.render(false)),
        Err(report) => assert!(!report.render(false).is_empty()),
    }
});
