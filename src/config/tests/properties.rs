//! No text makes the reader panic, and a valid config survives being written and read.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipvs_netlink::{Forward, Tunnel, TunnelChecksum, TunnelKind};
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::parse;
use crate::core::model::{
    Check, Config, DnsProbe, Forwarding, KernelSettings, OnStop, Probe, Reply, Server, Service, Sysctls,
    WhenAllDown,
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
    (services, kernel, any::<bool>()).prop_map(|(services, kernel, remove)| Config {
        services,
        kernel,
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

/// The config as a file that leaves nothing to the defaults.
fn write(config: &Config) -> String {
    let mut out = format!(
        "on_stop = {}\n[kernel]\nsysctls = {}\nforwarding = {}\n",
        quoted(&config.on_stop),
        quoted(&config.kernel.sysctls),
        quoted(&config.kernel.forwarding)
    );
    for service in &config.services {
        let servers: Vec<String> = service
            .servers
            .iter()
            .map(|server| format!("{{ address = \"{}\", weight = {} }}", server.address, server.weight))
            .collect();
        writeln!(
            out,
            "[[service]]\nname = {}\nlisten = {}\nservers = [{}]\nops = {}\nscheduler = {}\nforward = {}\ncheck = {}\n\
             when_all_down = {}\ndrain = {}",
            quoted(&service.name),
            quoted(&service.listen),
            servers.join(", "),
            service.ops,
            quoted(&service.scheduler),
            written_forward(service.forward),
            service.check.as_deref().map_or("\"none\"".to_owned(), written_check),
            quoted(&service.when_all_down),
            written_duration(service.drain),
        )
        .unwrap();
    }
    out
}

fn written_forward(forward: Forward) -> &'static str {
    match forward {
        Forward::Direct => "\"direct\"",
        Forward::Tunnel(Tunnel { kind: TunnelKind::Ipip, .. }) => "{ tunnel = \"ipip\" }",
        Forward::Tunnel(Tunnel { kind: TunnelKind::Gre, .. }) => "{ tunnel = \"gre\", checksum = \"full\" }",
        Forward::Tunnel(_) => "{ tunnel = \"gue\", port = 6080, checksum = \"remote\" }",
        _ => "\"nat\"",
    }
}

fn written_check(check: &Check) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>();
    let mut keys = match &check.probe {
        Probe::Udp { send, reply } => {
            let reply = match reply {
                Reply::Any => String::new(),
                Reply::Optional => ", reply = \"optional\"".to_owned(),
                Reply::Matches(pattern) => format!(", expect = {}", quoted(pattern)),
                Reply::StartsWith(bytes) => format!(", expect_hex = \"{}\"", hex(bytes)),
            };
            format!("type = \"udp\", send_hex = \"{}\"{reply}", hex(send))
        }
        Probe::Dns(dns) => {
            let answer = dns.answer.iter().map(|answer| format!(", answer = {}", quoted(answer)));
            format!(
                "type = \"dns\", query = {}, record = {}, rcode = {}{}",
                quoted(&dns.query),
                quoted(&dns.record),
                quoted(&dns.rcode),
                answer.collect::<String>()
            )
        }
    };
    for (key, value) in
        [("interval", check.interval), ("timeout", check.timeout), ("retry_interval", check.retry_interval)]
    {
        write!(keys, ", {key} = {}", written_duration(value)).unwrap();
    }
    write!(keys, ", rise = {}, fall = {}", check.rise, check.fall).unwrap();
    if let Some(address) = check.address {
        write!(keys, ", address = \"{address}\"").unwrap();
    }
    if let Some(port) = check.port {
        write!(keys, ", port = {port}").unwrap();
    }
    format!("{{ {keys} }}")
}

fn written_duration(duration: Duration) -> String {
    format!("\"{}\"", humantime::format_duration(duration))
}

/// As JSON, whose strings and lists of strings are TOML too.
fn quoted(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
