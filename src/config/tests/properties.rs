//! No text makes the reader panic, and a valid config survives being written and read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{Flags, Forward, Protocol, ServiceKey, Tunnel, TunnelChecksum, TunnelKind};
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::parse;
use super::written::write;
use crate::core::model::{
    Amount, Check, Command, Commands, Config, DnsProbe, Drift, ExecProbe, ExecWeight, FileNumber, FileProbe,
    Forwarding, HttpProbe, KernelSettings, Notify, NtpProbe, OnStop, Origin, Pattern, Persistence, Policy,
    Probe, Quorum, Refusals, Reply, Secret, Server, Service, SipProbe, SnmpProbe, StatusRange, StunProbe,
    Sysctls, SyslogProbe, TcpProbe, TftpProbe, Timeouts, TlsProbe, Trust, Vip, WhenAllDown,
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
            "\"radius\"",
            "\"sip\"",
            "\"snmp\"",
            "\"syslog\"",
            "status = ",
            "secret_file = ",
            "oid = ",
            "facility = ",
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
            "\"192.0.2.1:53/tcp\"",
            "\"192.0.2.1:53/icmp\"",
            "\"fwmark 7\"",
            "\"fwmark 7/ipv6\"",
            "persistence = ",
            "scheduler_flags = ",
            "\"sh-port\"",
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

/// Of the family that is probed, where that does not depend on the server.
fn draw_origin(
    probe: &Probe,
    address: Option<IpAddr>,
    (port, interface, mark): (Option<u16>, Option<String>, Option<u32>),
) -> Origin {
    if matches!(probe, Probe::File(_) | Probe::Exec(_)) {
        return Origin::default();
    }
    let none = matches!(probe, Probe::Icmp | Probe::Tftp(_));
    let source =
        address.zip(port).map(|(address, port)| SocketAddr::new(address, if none { 0 } else { port }));
    Origin { source, interface, mark }
}

pub fn config() -> impl Strategy<Value = Config> {
    let seconds = || 0..=2_678_400u32;
    let timeouts =
        (seconds(), seconds(), seconds()).prop_map(|(tcp, tcp_fin, udp)| Timeouts { tcp, tcp_fin, udp });
    let kernel =
        (any::<bool>(), any::<bool>(), timeouts).prop_map(|(report, set, timeouts)| KernelSettings {
            timeouts,
            sysctls: if report { Sysctls::Report } else { Sysctls::Set },
            forwarding: if set { Forwarding::Set } else { Forwarding::Require },
        });
    let services = prop::collection::vec(settings(), 1..5).prop_map(|all| {
        all.into_iter().enumerate().map(|(index, settings)| service(index as u16, settings)).collect()
    });
    let refusals = (prop::option::of(any::<u16>()), any::<bool>())
        .prop_map(|(group, hidden)| Refusals { group, hidden });
    let metrics =
        prop::option::of((any::<std::net::IpAddr>(), 1..=u16::MAX).prop_map(std::net::SocketAddr::from));
    let words = prop::collection::vec("[ -~]{0,8}", 0..3);
    let notify = prop::option::of(("/[ -~]{1,8}", prop::option::of(("/[ -~]{0,8}", words))));
    let notify = notify.prop_map(|notify| {
        notify.map(|(fifo, command)| {
            let argv = command.map(|(first, rest)| [first].into_iter().chain(rest).collect());
            Notify { fifo, command: argv.unwrap_or_default() }
        })
    });
    (services, kernel, any::<bool>(), refusals, metrics, notify).prop_map(
        |(services, kernel, remove, refusals, metrics, notify)| Config {
            notify,
            services,
            kernel,
            refusals,
            on_stop: if remove { OnStop::Remove } else { OnStop::Keep },
            metrics,
        },
    )
}

type Settings =
    (String, Vec<u32>, (bool, bool), bool, &'static str, Forward, Checks, Verdicts, Duration, Connections);

/// What follows verdicts: the service's policy, commands of a server, and the two switches.
type Verdicts = (Policy, Option<Commands>, (bool, bool));

/// Those of the service, and those that some servers have of their own.
type Checks = (Vec<Check>, Option<Vec<Check>>);

/// What is of use with connections: the VIPs of other protocols, flags, persistence, thresholds.
type Connections = (Vec<Protocol>, u32, Option<Persistence>, (u32, u32));

fn connections() -> impl Strategy<Value = Connections> {
    let persistence = (1..=2_678_400u64, 0..=32u8, 1..=128u8, any::<bool>()).prop_map(
        |(seconds, prefix_v4, prefix_v6, sip)| Persistence {
            timeout: Duration::from_secs(seconds),
            prefix_v4,
            prefix_v6,
            engine: sip.then(|| "sip".parse().unwrap()),
        },
    );
    (
        prop::sample::subsequence(vec![Protocol::TCP, Protocol::SCTP], 0..=2),
        prop::sample::select(vec![0, Flags::SCHED1, Flags::SCHED1 | Flags::SCHED2, Flags::SCHED3]),
        prop::option::of(persistence),
        any::<(u32, u32)>(),
    )
}

fn checks() -> impl Strategy<Value = Vec<Check>> {
    prop::collection::vec(check(), 0..3).prop_filter("twice", |checks| checks.first() != checks.get(1))
}

fn settings() -> impl Strategy<Value = Settings> {
    let tunnel = |kind, checksum| Forward::Tunnel(Tunnel { kind, checksum });
    let forward = prop_oneof![
        Just(Forward::Masquerade),
        Just(Forward::Direct),
        Just(tunnel(TunnelKind::Ipip, TunnelChecksum::None)),
        Just(tunnel(TunnelKind::Gre, TunnelChecksum::Full)),
        Just(tunnel(TunnelKind::Gue { port: 6080.try_into().unwrap() }, TunnelChecksum::Remote)),
    ];
    (
        "[a-zé\"\\\\ -]{1,8}",
        prop::collection::vec(0..=i32::MAX as u32, 1..4),
        prop::sample::select(vec![(true, false), (false, true), (true, true)]),
        any::<bool>(),
        prop::sample::select(vec!["wrr", "sh", "wlc", "custom"]),
        forward,
        (checks(), prop::option::of(checks())),
        (policy(), prop::option::of(commands()), any::<(bool, bool)>()),
        duration(0),
        connections(),
    )
}

fn commands() -> impl Strategy<Value = Commands> {
    let some = (command(), prop::option::of(command()), any::<bool>());
    some.prop_map(|(one, other, swapped)| match swapped {
        false => Commands { on_up: Some(one), on_down: other },
        true => Commands { on_up: other, on_down: Some(one) },
    })
}

/// A service that conflicts with no other `index`.
fn service(index: u16, settings: Settings) -> Service {
    let (name, weights, (v4, v6), ops, scheduler, forward, (checks, own), policy, drain, connections) =
        settings;
    let (policy, commands, (down_on_stop, ha_suspend)) = policy;
    let (protocols, scheduler_flags, persistence, (upper_threshold, lower_threshold)) = connections;
    let scheduler =
        if checks.iter().chain(own.iter().flatten()).any(Check::weighs) { "wrr" } else { scheduler };
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
    let vips: Vec<SocketAddr> = families.iter().map(|family| address(*family, 1, 1, 53)).collect();
    let over = |protocol| vips.iter().map(move |vip| Vip(ServiceKey::Address { protocol, address: *vip }));
    Service {
        name: format!("{name}{index}"),
        listen: vips.iter().copied().map(Vip::from).chain(protocols.into_iter().flat_map(over)).collect(),
        ops,
        scheduler: scheduler.parse().unwrap(),
        scheduler_flags,
        persistence,
        forward,
        servers: servers
            .map(|(family, host, weight)| Server {
                upper_threshold,
                lower_threshold: lower_threshold.min(upper_threshold),
                ..Server::new(address(family, 2, host, server_port), weight, forward)
            })
            .collect(),
        checks: checks.into_iter().map(Arc::new).collect(),
        own_checks: own
            .into_iter()
            .map(|own| (address(families[0], 2, 1, server_port), own.into_iter().map(Arc::new).collect()))
            .collect(),
        own_commands: commands
            .into_iter()
            .map(|own| (address(families[0], 2, 1, server_port), own))
            .collect(),
        down_on_stop,
        ha_suspend,
        policy,
        drain,
        drift: Drift::default(),
    }
}

fn duration(least: u64) -> impl Strategy<Value = Duration> {
    (least..=86_400_000u64).prop_map(Duration::from_millis)
}

fn http() -> impl Strategy<Value = HttpProbe> {
    let host = prop::sample::select(vec![
        None,
        Some("www.example.com"),
        Some("[2001:db8::1]:8080"),
        Some("a.example:81"),
    ]);
    let header = ("[A-Z][a-z-]{0,5}x", "[ -~]{0,9}");
    let tls = prop::option::of(any::<bool>());
    let regex = || prop::option::of("[a-z^.]{0,5}");
    let body = (regex(), regex(), prop::option::of(any::<[u8; 16]>()));
    let texts = ("/[a-z?=%]{0,9}", body, prop::option::of("[a-z-]{1,5}"));
    let (status, headers) = (200..=699u16, prop::collection::btree_map(header.0, header.1, 0..3));
    (host, tls, texts, status, 0..9u16, headers).prop_map(|(host, tls, texts, first, more, headers)| {
        let tls = tls.map(|verify| TlsProbe {
            name: host.map(|host| match host {
                "www.example.com" => host.to_owned(),
                "a.example:81" => "a.example".to_owned(),
                _ => "2001:db8::1".to_owned(),
            }),
            trust: if verify { Trust::System } else { Trust::Anybody },
        });
        HttpProbe {
            path: texts.0,
            host: host.map(str::to_owned),
            method: "GET".to_owned(),
            headers: headers.into_iter().collect(),
            status: vec![StatusRange { first, last: (first + more).min(699) }],
            body: texts.1.0,
            body_absent: texts.1.1,
            digest: texts.1.2,
            weight: texts.2,
            tls,
        }
    })
}

fn tcp() -> impl Strategy<Value = TcpProbe> {
    let expect = prop_oneof![
        Just(Pattern::Matches("^[a-z]+\\d'\"".to_owned())),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(Pattern::StartsWith),
    ];
    let send = prop::collection::vec(any::<u8>(), 0..20);
    prop::option::of((send, expect)).prop_map(|said| match said {
        None => TcpProbe { send: Vec::new(), expect: None },
        Some((send, expect)) => TcpProbe { send, expect: Some(expect) },
    })
}

fn command() -> impl Strategy<Value = Arc<Command>> {
    let words = prop::collection::vec("[a-z é\"]{0,4}", 0..3);
    let user = prop::option::of("[a-z]{1,3}(:[a-z]{1,3})?");
    (words, duration(1), any::<bool>(), user).prop_map(|(words, timeout, network, user)| {
        let argv = std::iter::once("/bin/x y".to_owned()).chain(words).collect();
        Arc::new(Command { argv, timeout, network, user })
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let min_healthy = prop_oneof![(1..=100u8).prop_map(Amount::Percent), Just(Amount::Count(1))];
    let commands = (prop::option::of(command()), prop::option::of(command()));
    (any::<bool>(), prop::option::of(min_healthy), commands).prop_map(
        |(refuse, min_healthy, (on_up, on_down))| Policy {
            when_all_down: if refuse { WhenAllDown::Refuse } else { WhenAllDown::Keep },
            min_healthy,
            quorum: Quorum { on_up, on_down, ..Quorum::default() },
            ..Policy::default()
        },
    )
}

fn check() -> impl Strategy<Value = Check> {
    let reply = prop_oneof![
        Just(Reply::Any),
        Just(Reply::Optional),
        "[a-z^.\\\\\"']{0,6}"
            .prop_filter("a pattern", |p| regex::bytes::RegexBuilder::new(p).unicode(false).build().is_ok())
            .prop_map(Reply::Matches),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(Reply::StartsWith),
        "[a-zé\"\\\\]{0,6}".prop_map(|text| Reply::Contains(text.into())),
        (0..100u16, 100..=65_507u16).prop_map(|(least, most)| Reply::Length { least, most }),
    ];
    let dns = (
        prop::sample::select(vec![".", "example.com", "_a.example."]),
        prop::sample::select(vec![
            ("A", Some("192.0.2.1")),
            ("AAAA", Some("2001:db8::1")),
            ("TXT", Some("a \"b\"")),
        ]),
        any::<bool>(),
        prop::option::of(512..=u16::MAX),
    );
    let times = any::<i32>().prop_filter("adds nothing", |times| *times != 0).prop_map(FileNumber::Times);
    let others = vec![FileNumber::UpUnlessZero, FileNumber::DownUnlessZero, FileNumber::Percent];
    let number = prop_oneof![times, prop::sample::select(others)];
    let weight = prop::sample::select(vec![ExecWeight::None, ExecWeight::Printed, ExecWeight::Status]);
    let probe = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..20), reply)
            .prop_map(|(send, reply)| Probe::Udp { send, reply }),
        ("/[a-z\\{\\} ]{1,9}", number).prop_map(|(path, number)| Probe::File(FileProbe { path, number })),
        (prop::collection::vec("[a-z{}\"]{0,9}", 0..3), any::<bool>(), weight).prop_map(
            |(words, network, weight)| {
                let user = network.then(|| "nobody:nogroup".to_owned());
                let argv = std::iter::once("/bin/x".to_owned()).chain(words).collect();
                Probe::Exec(ExecProbe { argv, network, user, weight })
            }
        ),
        http().prop_map(Probe::Http),
        Just(Probe::Icmp),
        tcp().prop_map(Probe::Tcp),
        dns.prop_map(|(query, (record, answer), fails, edns)| Probe::Dns(DnsProbe {
            query: query.to_owned(),
            record: record.to_owned(),
            rcodes: if fails { &["NOTAUTH", "REFUSED"][..] } else { &["NOERROR"] }
                .iter()
                .map(|&c| c.into())
                .collect(),
            answers: answer.filter(|_| !fails).map(str::to_owned).into_iter().collect(),
            edns,
        })),
        prop::collection::vec((200..=699u16, 0..100u16), 1..4).prop_map(|ranges| {
            let range = |(first, more): (u16, u16)| StatusRange { first, last: (first + more).min(699) };
            let mut status: Vec<_> = ranges.into_iter().map(range).collect();
            status.sort();
            Probe::Sip(SipProbe { status })
        }),
        (1..=15u8).prop_map(|max_stratum| Probe::Ntp(NtpProbe { max_stratum })),
        ("[a-zé\"\\\\ -]{1,8}", prop::option::of(prop::collection::vec(any::<u32>(), 0..8))).prop_map(
            |(community, rest)| {
                let oid = rest.map(|rest| [vec![2, 39], rest].concat());
                Probe::Snmp(SnmpProbe { community: Secret::new(community.into()), oid })
            }
        ),
        (prop::sample::select(vec![5, 16]), prop::sample::select(vec![2, 7]))
            .prop_map(|(facility, severity)| Probe::Syslog(SyslogProbe { facility, severity })),
        any::<bool>().prop_map(|translated| Probe::Stun(StunProbe { translated })),
        prop::option::of("[a-zé\"\\\\ /-]{1,8}").prop_map(|file| Probe::Tftp(TftpProbe { file })),
        Just(Probe::Quic),
    ];
    let address = prop::option::of(prop_oneof![
        Just("10.9.9.9".parse().unwrap()),
        Just("2001:db8:9::9".parse().unwrap()),
    ]);
    let times = (duration(1), duration(1), duration(1));
    let port = prop_oneof![Just(0), 1..=u16::MAX];
    let origin =
        (prop::option::of(port), prop::option::of("[a-z.é\"-]{3,6}"), prop::option::of(any::<u32>()));
    let place = (address, prop::option::of(1..=u16::MAX), origin);
    (probe, times, 1..=1000u32, 1..=1000u32, place).prop_map(
        |(probe, (interval, timeout, retry_interval), rise, fall, (address, port, origin))| Check {
            origin: draw_origin(&probe, address, origin),
            port: port.filter(|_| probe != Probe::Icmp),
            probe,
            interval,
            timeout,
            retry_interval,
            rise,
            fall,
            address,
        },
    )
}
