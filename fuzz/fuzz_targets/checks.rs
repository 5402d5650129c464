//! Any datagram is judged, by every protocol, and what is wrong with it is said in one short line.

#![no_main]

use std::sync::{Arc, LazyLock};

use ipvsd::core::model::{
    DnsProbe, NtpProbe, Probe, RadiusProbe, Reply, Secret, SipProbe, SnmpProbe, StatusRange, StunProbe,
    TftpProbe,
};
use ipvsd::health::protocol::{Ask, Judgement, Protocol, compile};

static PROTOCOLS: LazyLock<Vec<Arc<dyn Protocol>>> = LazyLock::new(|| {
    let secret = || Secret::new(b"public".to_vec());
    let probes = [
        Probe::Udp { send: b"ping".to_vec(), reply: Reply::Matches("^pong".to_owned()) },
        Probe::Dns(DnsProbe {
            query: "example.com".to_owned(),
            record: "TXT".to_owned(),
            rcodes: vec!["NOERROR".to_owned()],
            answers: vec!["v=1".to_owned()],
            edns: Some(1232),
        }),
        Probe::Radius(RadiusProbe { secret: secret() }),
        Probe::Sip(SipProbe { status: vec![StatusRange { first: 200, last: 299 }] }),
        Probe::Ntp(NtpProbe { max_stratum: 15 }),
        Probe::Snmp(SnmpProbe { community: secret(), oid: None }),
        Probe::Stun(StunProbe { translated: false }),
        Probe::Tftp(TftpProbe { file: None }),
        Probe::Quic,
    ];
    probes.iter().map(|probe| compile(probe).expect("a valid probe")).collect()
});

libfuzzer_sys::fuzz_target!(|answer: &[u8]| {
    // Always the same, so that the fuzzer can learn the identifiers.
    let ask = Ask { nonce: 7, local: ([192, 0, 2, 1], 40000).into(), server: ([10, 0, 1, 11], 53).into() };
    for protocol in PROTOCOLS.iter() {
        if let Judgement::Wrong(why) = protocol.judge(&ask, answer) {
            assert!(!why.is_empty() && why.len() < 1000 && !why.contains(char::is_control), "{why:?}");
        }
    }
});
