//! Any ruleset that nft might print is walked to an end.

#![no_main]

use std::net::SocketAddr;

use ipvsd::core::model::Rules;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(ruleset) = serde_json::from_str(text) else { return };
    let vip = SocketAddr::from(([192, 0, 2, 53], 53));
    let server = SocketAddr::from(([10, 0, 1, 11], 5300));
    let rules = Rules { requests: [vip].into(), replies: [(server, vip)].into(), ..Rules::default() };
    for obstacle in ipvsd::nft::firewall::obstacles(&ruleset, &rules) {
        assert!(!obstacle.cure().is_empty());
    }
});
