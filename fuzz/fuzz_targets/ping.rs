//! Any packet is a whole echo reply or none, and any quotation is of a request or none.

#![no_main]

use ipvsd::health::echo::{Echo, Family, HEADER};

libfuzzer_sys::fuzz_target!(|packet: &[u8]| {
    for family in [Family::V4, Family::V6] {
        for echo in [Echo::reply(family, packet), Echo::quoted(family, packet)].into_iter().flatten() {
            assert!(packet.ends_with(echo.payload) && packet.len() >= HEADER + echo.payload.len());
        }
        let asked = Echo { identifier: [1, 2], number: 3, payload: packet };
        let request = asked.request(family);
        assert_eq!(Echo::quoted(family, &request), Some(asked));
        assert_eq!(Echo::reply(Family::V6, &request), None);
    }
});
