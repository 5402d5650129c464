//! Any packet names a server or nobody.

#![no_main]

libfuzzer_sys::fuzz_target!(|packet: &[u8]| {
    let _ = ipvsd::kernel::hints::refusing_server(packet);
});
