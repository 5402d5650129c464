//! No text makes the reader panic, and a valid config survives being written and read.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipvs_netlink::{Forward, Tunnel, TunnelChecksum, TunnelKind};
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::parse;
use super::written::write;
use crate::core::model::{
    Check, Config, DnsProbe, Drift, Forwarding, KernelSettings, OnStop, Probe, Refusals, Reply, Server,
    Service, Sysctls, WhenAllDown,
};

const VALID: [&str; 3] = [
    include_str!("../../../examples/dns.toml"),
    include_str!("../../../examples/syslog.toml"),
    include_str!("../../../examples/radius.toml"),
];

/// Reads and renders; the result does not matter.
fn survive(text: &str) {
    match parse("a.toml", text) {
        Ok(loaded) => _ = loaded.warnings.to_string(),
        Err(report) => {
            assert!(!report.is_empty(), "refused without a word");
            for problem in report.problems() {
                assert!(problem.line >= 1 && problem.column >= 1);
            }
            report.render(true);
        }
    }
}

#[test]
fn any_depth_is_survived() {
    for deep in ["[", "{a=", "a.", "[[", "{a=["] {
        survive(&format!("service = {}", deep.repeat(50_000)));
        survive(&deep.repeat(50_000));
    }
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(?s).{0,200}") {
        survive(&text);
    }

    #[test]
    fn any_text_like_a_config_is_survived(words in prop::collection::vec(word(), 0..60)) {
        survive(&words.concat());
    }

    #[test]
    fn any_change_of_a_valid_text_is_survived(
        which in 0..VALID.len(),
        edits in prop::collection::vec((any::<Index>(), any::<Index>(), word()), 1..6),
    ) {
        let mut text: Vec<char> = VALID[which].chars().collect();
        for (at, length, word) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + length.index(12)).min(text.len());
            text.splice(at..end, word.chars());
        }
        survive(&text.into_iter().collect::<String>());
    }

    #[test]
    fn a_valid_config_survives_being_written(config in config()) {
        let text = write(&config);
        let read = parse("a.toml", &text).map_err(|report| TestCaseError::fail(format!("{text}\n{report}")))?;
        prop_assert_eq!(read.config, config, "{}", text);
    }
}

/// Pieces of which texts like configs are made.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "[[service]]\n",
            "[defaults]\n",
            "[kernel]\n",
            "[service.check]\n",
            "name = ",
            "listen = ",
            "servers = ",
            "check = ",
            "forward = ",
            "weight = ",
            "type = ",
            "send_hex = ",
            "expect = ",
            "interval = ",
            "fall = ",
            "answer = ",
            "\"udp\"",
            "\"dns\"",
            "\"none\"",
            "{ ",
            " }",
            "[ ",
            " ]",
            ", ",
            "\n",
            "\r\n",
            "\"",
            "'",
            "=",
            ".",
            "#",
            "\"[2001:db8::1]:53\"",
            "\"192.0.2.1:53\"",
            "\"10.0.0.1:0\"",
            "\"500ms\"",
            "\"999999999y\"",
            "4294967296",
            "-1",
            "0x10",
            "1e3",
            "true",
            "1979-05-27",
            "\"(\"",
            "\"é\"",
            "\u{feff}",
            "\u{0}",
        ])
        .prop_map(str::to_owned),
        ".{0,3}",
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let kernel = (any::<bool>(), any::<bool>()).prop_map(|(report, set)| KernelSettings {
        sysctls: if report { Sysctls::Report } else { Sysctls::Set },
        forwarding: if set { Forwarding::Set } else { Forwarding::Require },
    });
    let services = prop::collection::vec(settings(), 1..5).prop_map(|all| {
        all.into_iter().enumerate().map(|(index, settings)| service(index as u16, settings)).collect()
    });
    let refusals = (prop::option::of(any::<u16>()), any::<bool>())
        .prop_map(|(group, hidden)| Refusals { group, hidden });
    (services, kernel, any::<bool>(), refusals).prop_map(|(services, kernel, remove, refusals)| Config {
        services,
        kernel,
        refusals,
        on_stop: if remove { OnStop::Remove } else { OnStop::Keep },
    })
}

type Settings = (String, Vec<u32>, (bool, bool), bool, &'static str, Forward, Option<Check>, bool, Duration);

fn settings() -> impl Strategy<Value = Settings> {
    let tunnel = |kind, checksum| Forward::Tunnel(Tunnel { kind, checksum });
    let forward = prop_oneof![
        Just(Forward::Masquerade),
        Just(Forward::Direct),
        Just(tunnel(TunnelKind::Ipip, TunnelChecksum::None)),
        Just(tunnel(TunnelKind::Gre, TunnelChecksum::Full)),
        Just(tunnel(TunnelKind::Gue { port: 6080 }, TunnelChecksum::Remote)),
    ];
    (
        "[a-zé\"\\\\ -]{1,8}",
        prop::collection::vec(0..=i32::MAX as u32, 1..4),
        prop::sample::select(vec![(true, false), (false, true), (true, true)]),
        any::<bool>(),
        prop::sample::select(vec!["wrr", "sh", "wlc", "custom"]),
        forward,
        prop::option::of(check()),
        any::<bool>(),
        duration(0),
    )
}

/// A service that conflicts with no other `index`.
fn service(index: u16, settings: Settings) -> Service {
    let (name, weights, (v4, v6), ops, scheduler, forward, check, refuse, drain) = settings;
    let server_port = if forward == Forward::Masquerade { 5300 } else { 53 };
    let address = |is_v4: bool, net: u16, host: u16, port: u16| -> SocketAddr {
        if is_v4 {
            (Ipv4Addr::new(10, net as u8, index as u8, host as u8), port).into()
        } else {
            (Ipv6Addr::new(0x2001, 0xdb8, net, index, 0, 0, 0, host), port).into()
        }
    };
    let families: Vec<bool> =
        [(v4, true), (v6, false)].iter().filter(|(has, _)| *has).map(|(_, f)| *f).collect();
    let servers = families.iter().flat_map(|family| {
        weights.iter().enumerate().map(move |(host, weight)| (*family, host as u16 + 1, *weight))
    });
    Service {
        name: format!("{name}{index}"),
        listen: families.iter().map(|family| address(*family, 1, 1, 53)).collect(),
        ops,
        scheduler: scheduler.parse().unwrap(),
        forward,
        servers: servers
            .map(|(family, host, weight)| Server { address: address(family, 2, host, server_port), weight })
            .collect(),
        check: check.map(Into::into),
        when_all_down: if refuse { WhenAllDown::Refuse } else { WhenAllDown::Keep },
        drain,
        drift: Drift::default(),
    }
}

fn duration(least: u64) -> impl Strategy<Value = Duration> {
    (least..=86_400_000u64).prop_map(Duration::from_millis)
}

fn check() -> impl Strategy<Value = Check> {
    let reply = prop_oneof![
        Just(Reply::Any),
        Just(Reply::Optional),
        "[a-z^.\\\\\"']{0,6}"
            .prop_filter("a pattern", |p| regex::bytes::RegexBuilder::new(p).unicode(false).build().is_ok())
            .prop_map(Reply::Matches),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(Reply::StartsWith),
    ];
    let dns = (
        prop::sample::select(vec![".", "example.com", "_a.example."]),
        prop::sample::select(vec![
            ("A", Some("192.0.2.1")),
            ("AAAA", Some("2001:db8::1")),
            ("TXT", Some("a \"b\"")),
        ]),
        any::<bool>(),
    );
    let probe = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..20), reply)
            .prop_map(|(send, reply)| Probe::Udp { send, reply }),
        dns.prop_map(|(query, (record, answer), fails)| Probe::Dns(DnsProbe {
            query: query.to_owned(),
            record: record.to_owned(),
            rcode: if fails { "REFUSED" } else { "NOERROR" }.to_owned(),
            answer: answer.filter(|_| !fails).map(str::to_owned),
        })),
    ];
    let address = prop::option::of(prop_oneof![
        Just("10.9.9.9".parse().unwrap()),
        Just("2001:db8:9::9".parse().unwrap()),
    ]);
    let times = (duration(1), duration(1), duration(1));
    (probe, times, 1..=1000u32, 1..=1000u32, address, prop::option::of(1..=u16::MAX)).prop_map(
        |(probe, (interval, timeout, retry_interval), rise, fall, address, port)| Check {
            probe,
            interval,
            timeout,
            retry_interval,
            rise,
            fall,
            address,
            port,
        },
    )
}
