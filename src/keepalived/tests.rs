//! Whole files: what they mean, and that any text is read to its end.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

#[path = "../../tests/keepalived/sample.rs"]
pub mod sample;

fn read(text: &str) -> File {
    parse(
        Path::new("/etc/keepalived/keepalived.conf"),
        text.as_bytes(),
        &Machine::new(Some("somebody".to_owned())),
    )
}

/// Severity, rule and line of all findings.
fn findings(file: &File) -> Vec<(Severity, Rule, u32)> {
    file.findings.iter().map(|finding| (finding.severity, finding.rule, finding.place.line)).collect()
}

/// The one virtual server of a text; its lines are those of the block.
fn server(body: &str) -> VirtualServer {
    let file = read(&format!("virtual_server 192.0.2.1 53 {{\n{body}\n}}\n"));
    file.lvs.virtual_servers.into_iter().next().expect("a virtual server")
}

const REAL: &str = "real_server 10.0.0.1 53 {\n}";

#[test]
fn what_a_file_leaves_out_is_what_keepalived_fills_in() {
    let file = read(
        "virtual_server 192.0.2.1 53 {\nreal_server 10.0.0.1 {\nTCP_CHECK {\n}\nMISC_CHECK {\nmisc_path x\n}\nDNS_CHECK {\n}\nHTTP_GET {\nurl {\npath /\n}\n}\n}\n}",
    );
    let expected =
        [Rule::NoProtocol, Rule::NoScheduler, Rule::NoForwarding].map(|rule| (Severity::Warning, rule, 1));
    assert_eq!(findings(&file), expected);
    let server = &file.lvs.virtual_servers[0];
    assert_eq!(server.scheduler, Value::default("wlc".to_owned()));
    assert_eq!(server.protocol, Some(Value::default(Protocol::Udp)));
    assert_eq!(server.method, Value::default(Method::Nat));
    assert_eq!((server.quorum.value, server.hysteresis.value, server.persistence), (1, 0, None));
    let real = &server.real_servers[0];
    assert_eq!((real.port, real.weight.value), (53, 1));
    let timings: Vec<_> = real.checks.iter().map(|check| check.timing.as_ref().unwrap()).collect();
    let seconds = |times: [u64; 3]| times.map(Duration::from_secs);
    let of = |timing: &Timing| [timing.interval.value, timing.retry_delay.value, timing.warmup.value];
    assert_eq!(timings.iter().map(|timing| timing.retry.value).collect::<Vec<_>>(), [1, 0, 3, 1]);
    assert_eq!(
        timings.iter().map(|timing| of(timing)).collect::<Vec<_>>(),
        [seconds([60, 1, 60]), seconds([60, 1, 60]), seconds([60, 60, 60]), seconds([60, 3, 60])]
    );
    let connection = real.checks[0].connection.as_ref().unwrap();
    assert_eq!(
        (connection.address.value, connection.port.value),
        ("10.0.0.1".parse::<IpAddr>().unwrap(), 53)
    );
    assert_eq!(connection.timeout, Value::default(Duration::from_secs(5)));
    assert!(real.checks[1].connection.is_none());
    let CheckKind::Misc { timeout, .. } = &real.checks[1].kind else { panic!("{:?}", real.checks[1]) };
    assert_eq!(timeout.value, Duration::from_secs(60));
}

#[test]
fn a_check_inherits_from_server_and_virtual_server() {
    let server = server(
        "delay_loop 10\nretry 4\nconnect_timeout 2.5\nalpha\nvirtualhost a.example\n\
         real_server 10.0.0.1 53 {\nretry 2\nalpha no\nUDP_CHECK {\nconnect_timeout 1\n}\n}\n\
         real_server 10.0.0.2 53 {\nHTTP_GET {\nalpha off\nwarmup 0\nurl {\npath /\n}\n}\n}\nweight 7",
    );
    let [first, second] = &server.real_servers[..] else { panic!("{server:?}") };
    let timing = first.checks[0].timing.as_ref().unwrap();
    assert_eq!((timing.interval.value, timing.retry.value), (Duration::from_secs(10), 2));
    assert_eq!(timing.retry.place.unwrap().line, 8);
    assert_eq!(first.checks[0].connection.as_ref().unwrap().timeout.value, Duration::from_secs(1));
    assert_eq!((first.alpha.value, first.checks[0].alpha.value), (false, false));
    let timing = second.checks[0].timing.as_ref().unwrap();
    assert_eq!((timing.retry.value, timing.warmup.value), (4, Duration::ZERO));
    assert_eq!(second.checks[0].connection.as_ref().unwrap().timeout.value, Duration::from_millis(2_500));
    assert_eq!((second.alpha.value, second.checks[0].alpha.value), (true, false));
    assert_eq!((first.weight.value, second.weight.value), (7, 7));
    let CheckKind::Http { virtualhost, .. } = &second.checks[0].kind else { panic!("{second:?}") };
    assert_eq!(virtualhost.as_ref().map(|at| at.value.as_str()), Some("a.example"));
}

#[test]
fn the_last_value_holds_and_the_first_script() {
    let server = server(&format!(
        "lvs_sched rr\nlb_algo wrr\nlb_kind DR\nlvs_method NAT\nquorum_up /a\nquorum_up /b\n{REAL}"
    ));
    assert_eq!((server.scheduler.value.as_str(), server.method.value), ("wrr", Method::Nat));
    assert_eq!(server.quorum_up.map(|script| script.command).as_deref(), Some("/a"));
}

#[test]
fn scripts_keep_their_words_and_their_account() {
    let server =
        server(&format!("quorum_up \"/bin/x 'a b' c\\x41\" bob staff\nquorum_down '/bin/y z' bob\n{REAL}"));
    let up = server.quorum_up.unwrap();
    assert_eq!(up.arguments().unwrap(), ["/bin/x", "a b", "cA"]);
    assert_eq!(up.account, Some(Account { user: "bob".to_owned(), group: Some("staff".to_owned()) }));
    let down = server.quorum_down.unwrap();
    assert_eq!(
        (down.arguments().unwrap(), down.account.unwrap().group),
        (vec!["/bin/y".to_owned(), "z".to_owned()], None)
    );
}

#[test]
fn persistence_comes_in_four_ways() {
    let seconds = |body: &str| server(&format!("{body}\n{REAL}")).persistence.map(|at| at.value.as_secs());
    assert_eq!(seconds("persistence_timeout 5"), Some(5));
    assert_eq!(seconds("persistence_timeout"), Some(360));
    assert_eq!(seconds("persistence_granularity 255.255.255.0"), Some(360));
    assert_eq!(seconds("persistence_timeout 0"), None);
    let file = read(
        "virtual_server 192.0.2.1 {\nlvs_sched rr\nlvs_method NAT\nprotocol UDP\nreal_server 10.0.0.1 {\n}\n}",
    );
    assert_eq!(findings(&file), [(Severity::Error, Rule::ZeroPort, 1)]);
    assert_eq!(file.lvs.virtual_servers[0].persistence.unwrap().value.as_secs(), 360);
}

#[test]
fn only_nat_changes_a_port() {
    let server = server(
        "lvs_method DR\nsorry_server 10.0.0.9\nreal_server 10.0.0.1 54 {\n}\nreal_server 10.0.0.2 54 {\nlvs_method NAT\n}\nreal_server fd00::1 53 {\nlvs_method TUN type gue port 5555 csum\n}",
    );
    let ports: Vec<_> = server.real_servers.iter().map(|real| real.port).collect();
    assert_eq!(ports, [53, 54, 53]);
    assert_eq!(server.real_servers[2].method.value, Method::Tun(Tunnel::Gue(5555, Checksum::Plain)));
    assert_eq!(server.sorry.unwrap().port, 53);
}

#[test]
fn a_udp_check_has_bytes_and_bits() {
    let server = server(&format!(
        "{}UDP_CHECK {{\npayload 00 1a2 3\nrequire_reply \"0X ff\"\nmin_reply_length 2\n}}\n}}",
        &REAL[..REAL.len() - 1]
    ));
    let CheckKind::Udp { payload, reply, least, most } = &server.real_servers[0].checks[0].kind else {
        panic!()
    };
    assert_eq!(payload.as_ref().unwrap().value, [0, 0x1a, 2, 3]);
    assert_eq!(reply.as_ref().unwrap().value, Pattern(vec![(0, 0xf0), (0xff, 0xff)]));
    assert_eq!((least.value, most.value), (2, 255));
}

#[test]
fn each_block_of_lvs_gives_what_it_says() {
    let file = read(
        "net_namespace outer\nnet_namespace_ipvs inner\n\
         global_defs {\nlvs_timeouts udp 30 tcp 900\nscript_user bob staff\nlvs_notify_fifo /run/f\n}\n\
         SSL {\nca /ca\n}\ntrack_file t {\nfile \"/a b\"\nweight 5 reverse\n}\n\
         virtual_server_group g {\n10.1.0.0/30 53\nfwmark 9\n}\n\
         virtual_server group g {\nreal_server 10.0.0.1 53 {\nFILE_CHECK {\ntrack_file t\n}\nBFD_CHECK {\nname b\n}\n}\n}\nbfd_instance b {\n}\n",
    );
    let global = &file.lvs.global;
    assert_eq!(global.udp_timeout.unwrap().value.as_secs(), 30);
    assert_eq!((global.tcp_timeout.unwrap().value.as_secs(), global.tcp_fin_timeout), (900, None));
    assert_eq!(global.namespace.as_ref().unwrap().value, "inner");
    assert_eq!(global.script_user.as_ref().unwrap().value.user, "bob");
    assert_eq!(global.notify_fifo.as_ref().unwrap().command, "/run/f");
    assert_eq!(file.lvs.ssl.as_ref().unwrap().ca.as_ref().unwrap().value, "/ca");
    let [Member::Addresses { first, last, port: 53 }, Member::Fwmark { mark: 9, family: None }] =
        file.lvs.groups[0].members.iter().map(|at| at.value).collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", file.lvs.groups)
    };
    assert_eq!((first.to_string(), last.to_string()), ("10.1.0.0".to_owned(), "10.1.0.3".to_owned()));
    let [file_check, bfd] = &file.lvs.virtual_servers[0].real_servers[0].checks[..] else { panic!() };
    assert!(
        matches!(&file_check.kind, CheckKind::File { weight: Value { value: -5, .. }, .. }),
        "{file_check:?}"
    );
    assert!(matches!(&bfd.kind, CheckKind::Bfd { name } if name.value == "b"), "{bfd:?}");
    assert!(file_check.connection.is_none() && bfd.timing.is_none());
}

#[test]
fn the_block_of_an_unknown_keyword_is_left_out() {
    let file = read(
        "virtual_server 192.0.2.1 53 {\nlvs_sched rr\nlvs_method NAT\nprotocol UDP\nreal_server 10.0.0.1 53 {\nUPD_CHECK {\nweight 9\n}\nweight 2\n}\nreal_server 10.0.0.2 53 {\n}\n}\n\
         vrrp_instance x {\nanything { at all }\n}\nvirtual_server 192.0.2.300 53 {\nmore {\n}\n}\n",
    );
    assert_eq!(
        findings(&file),
        [(Severity::Error, Rule::UnknownKeyword, 6), (Severity::Error, Rule::BadValue, 17)]
    );
    let weights: Vec<_> =
        file.lvs.virtual_servers[0].real_servers.iter().map(|real| real.weight.value).collect();
    assert_eq!(weights, [2, 1]);
    let left = file.lvs.keywords.iter().filter(|at| at.value.verdict == Verdict::LeftToKeepalived);
    assert_eq!(left.map(|at| (at.value.name, at.place.line)).collect::<Vec<_>>(), [("vrrp_instance", 14)]);
}

#[test]
fn places_lead_to_the_words() {
    let file = read(
        "$P=70000\nvirtual_server 192.0.2.1 53 { lvs_sched  rx\n  real_server 10.0.0.1 $P { }\n real_server 10.0.0.2 { } }",
    );
    let found: Vec<_> = file.findings.iter().filter(|finding| finding.rule == Rule::BadValue).collect();
    let places: Vec<_> = found.iter().map(|finding| (finding.place.line, finding.place.column)).collect();
    assert_eq!(places, [(2, 42), (3, 24)]);
    assert!(found[1].message.contains("70000"), "{found:?}");
}

#[test]
fn samples_are_without_errors_and_differ() {
    let mut kinds = BTreeSet::new();
    for seed in 0..300 {
        let file = read(&sample::valid(seed));
        let wrong: Vec<_> =
            file.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
        kinds.extend(file.lvs.keywords.iter().map(|at| (at.value.block, at.value.name)));
    }
    assert!(kinds.len() > 80, "{}", kinds.len());
}

/// So many virtual servers of two servers each, with a check.
fn many(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let (a, b) = (number / 250, number % 250 + 1);
        let _ = write!(
            text,
            "virtual_server 10.{}.{}.{b} 53 {{\n    delay_loop 5\n    lvs_sched rr\n    lvs_method NAT\n    ops\n    protocol UDP\n",
            a / 250,
            a % 250
        );
        for server in 1..3 {
            let _ = write!(
                text,
                "    real_server 172.16.{}.{server} 53 {{\n        weight 1\n        UDP_CHECK {{\n            connect_timeout 3\n            payload 00 01\n            require_reply 00\n        }}\n    }}\n",
                number % 256
            );
        }
        text.push_str("}\n");
    }
    text
}

#[test]
fn the_time_grows_with_the_file_and_no_faster() {
    let time = |count: usize| {
        let text = many(count);
        let best = |_| {
            let start = Instant::now();
            let file = read(&text);
            assert_eq!((file.lvs.virtual_servers.len(), file.findings.len()), (count, 0));
            start.elapsed()
        };
        (0..3).map(best).min().unwrap()
    };
    let (few, many) = (time(500), time(5_000));
    println!("500 virtual servers in {few:?}, 5 000 in {many:?}");
    assert!(many < few * 40, "500 take {few:?}, 5 000 take {many:?}");
}

proptest! {
    #[test]
    fn any_text_has_its_findings(text in "(virtual_server|real_server|global_defs|UDP_CHECK|url|fwmark|group|g|weight|quorum|[{}\n\" '0-9./:-]|10\\.0\\.0\\.1|53|lvs_method|TUN|type|gue|status_code|payload|require_reply){0,80}") {
        let file = read(&text);
        for finding in &file.findings {
            prop_assert!(finding.place.line >= 1 && !finding.message.is_empty());
        }
    }

    #[test]
    fn a_spoilt_sample_is_read_to_its_end(seed: u64) {
        read(&sample::spoilt(seed));
    }
}
