//! Any bytes in the files beside netlink are values or errors.

#![no_main]

use ipvs_netlink::{connection, sysctl, totals};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split(|byte| *byte == b'\n') {
        let _ = connection::parse(line);
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = (totals::parse(&text), totals::parse_per_cpu(&text));
    if let Ok(value) = sysctl::SYNC_THRESHOLD.parse(&text) {
        assert_eq!(sysctl::SYNC_THRESHOLD.parse(&format!("{}\t{}", value[0], value[1])), Ok(value));
    }
    if let Ok(cpus) = sysctl::EST_CPULIST.parse(&text) {
        assert_eq!(sysctl::EST_CPULIST.parse(&cpus.to_string()), Ok(cpus));
    }
    let _ = (sysctl::CONNTRACK.parse(&text), sysctl::SYNC_QLEN_MAX.parse(&text));
});
