//! `--probe`: the hop at which a datagram is lost, and nothing left behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use lab::{Answer, Family, Netns, Network, Process, case, reading, vip, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Ward, run_cures};
use crate::setup::{IPVSD, LIMIT, wait_until_all_up};

pub fn tests() -> Vec<Trial> {
    vec![
        case("doctor::probe_says_where_datagrams_are_lost", hops),
        case("doctor::probe_leaves_nothing_behind", nothing_left),
    ]
}

const PROBE: [&str; 1] = ["--probe"];

/// As ever, but for a check that waits less: so long the probe waits for a datagram that is lost.
fn quick(servers: usize, more: &str) -> Ward {
    let timeout = "timeout = \"1500ms\"";
    Ward::with(servers, |network| super::config(network, more).replace("timeout = \"5s\"", timeout))
}

/// A chain of its own that drops, which no other finding names.
fn drop_at(director: &Netns, hook: &str, what: &str) {
    director.nft(&format!(
        "table inet dropping {{ chain drops {{ type filter hook {hook} priority 10; iifname != \"lo\" meta mark 0 {what} drop; }}; }}"
    ));
}

fn undo_drop(director: &Netns) {
    director.nft("delete table inet dropping");
}

/// Hop after hop, over one set-up: that the next one is found alone shows that the cure of the one before has cured.
fn hops() {
    let mut ward = quick(2, "[kernel]\nsysctls = \"report\"");
    requests(&ward);
    silent_servers(&mut ward);
    replies(&mut ward);
}

/// The findings that `provoke` brings, and no others.
fn found(ward: &Ward, ids: &[&str], provoke: impl FnOnce(&Network)) -> Vec<Value> {
    provoke(&ward.network);
    ward.until(&PROBE, ids)
}

fn requests(ward: &Ward) {
    let director = &ward.network.director;
    let [four, _] = Family::BOTH.map(vip);
    found(ward, &["lost-before-input", "vip-absent"], |_| {
        director.ip(&[format!("addr del {four}/32 dev lo")])
    });
    director.ip(&[format!("addr add {four} dev lo")]);
    found(ward, &["lost-at-input"], |_| drop_at(director, "input", "udp dport 53"));
    undo_drop(director);
    found(ward, &["lost-at-output"], |_| {
        // The director's own probes are tracked.
        director.nft(
            "table inet dropping { chain drops { type filter hook output priority 10; meta mark 0 ct state untracked udp dport 5300 drop; }; }",
        );
    });
    undo_drop(director);
    let dropped = found(ward, &["drop-packet", "lost-in-ipvs"], |_| {
        director.set_sysctl("net.ipv4.vs.am_droprate", "1");
        director.set_sysctl("net.ipv4.vs.drop_packet", "3");
    });
    run_cures(&ward.network, &dropped, "sysctl -w");
}

fn silent_servers(ward: &mut Ward) {
    // It answers the director, and knows another way to clients.
    let routes = |verb: &str| {
        let ways = [("192.0.0.0/29", "10.0.1.254"), ("fd69:7076:7364::/64", "fd00:1::fe")];
        ways.map(|(clients, gateway)| format!("route {verb} {clients} via {gateway}"))
    };
    let bypass = found(ward, &["bypass"], |network| network.servers[1].ip(&routes("add")));
    let second = |it: &Value| {
        it["seen"].as_str().is_some_and(|seen| {
            seen.contains("left for 10.0.1.12:5300") || seen.contains("left for [fd00:1::12]:5300")
        })
    };
    assert!(bypass.len() == 2 && bypass.iter().all(second), "{bypass:#?}");
    ward.network.servers[1].ip(&routes("del"));
    // It answers every second one.
    let half = found(ward, &["server-silent"], |network| {
        network.servers[1].nft(
            "table inet lossy { chain in { type filter hook input priority 0; ip saddr 192.0.0.2 udp dport 5300 numgen inc mod 2 0 drop; }; }",
        );
    });
    let one = "that left for 10.0.1.12:5300 1 were answered";
    assert!(half.len() == 1 && half[0]["seen"].as_str().is_some_and(|seen| seen.contains(one)), "{half:#?}");
    ward.network.servers[1].nft("delete table inet lossy");
    // The only servers keep their weight when all seem dead.
    ward.echoes.iter_mut().for_each(|echo| echo.set_answer(Answer::Silent));
    ward.until(&PROBE, &["server-silent"]);
    ward.echoes.clear();
    ward.until(&PROBE, &["server-refuses"]);
    ward.echoes = crate::setup::echoes(&ward.network, 5300);
    ward.until(&PROBE, &[]);
}

fn replies(ward: &mut Ward) {
    let director = &ward.network.director;
    let off = found(ward, &["forwarding-off", "lost-in-routing"], |_| {
        director.set_sysctl("net.ipv4.ip_forward", "0")
    });
    run_cures(&ward.network, &off, "sysctl -w");
    found(ward, &["lost-at-forward"], |_| drop_at(director, "forward", "udp sport 5300"));
    undo_drop(director);
    found(ward, &["lost-to-client"], |_| {
        director.nft(
            "table inet dropping { chain drops { type filter hook postrouting priority 200; udp sport 53 drop; }; }",
        );
    });
    undo_drop(director);
    super::kill(&mut ward.daemon);
    found(ward, &["not-rewritten", "reply-rules"], |_| director.nft("delete table ip ipvsd"));
    ward.daemon = lab::Daemon::start(&ward.network.director, IPVSD, &super::config(&ward.network, ""));
    wait_until_all_up(&ward.network, 2);
    ward.until(&PROBE, &[]);
}

/// Namespaces of probes, and the counting table of the director.
fn left(network: &Network) -> (Vec<String>, bool) {
    let names = fs::read_dir("/run/netns").expect("/run/netns").flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let of_doctor = names.filter(|name| name.starts_with("ipvsd-doctor-")).collect();
    (of_doctor, reading::nft(&network.director).contains("table inet ipvsd_doctor"))
}

fn nothing_left() {
    let mut ward = quick(1, "");
    assert!(ward.findings(&PROBE).is_empty());
    assert_eq!(left(&ward.network), (vec![], false));
    // While it waits for an answer.
    ward.echoes.iter_mut().for_each(|echo| echo.set_answer(Answer::Silent));
    let file = ward.daemon.config_file();
    let start = || {
        let mut command = Command::new(IPVSD);
        command.args(["doctor", "--probe", "--config"]).arg(&file);
        let process = Process::start(&ward.network.director, &mut command);
        wait_until(LIMIT, "the probe is under way", || {
            let (spaces, counts) = left(&ward.network);
            spaces.len() == 1 && counts
        });
        process
    };
    let mut interrupted = start();
    interrupted.signal(Signal::SIGINT);
    assert_eq!(interrupted.wait_exit(LIMIT).code(), Some(1));
    assert_eq!(left(&ward.network), (vec![], false), "interrupted: {:?}", interrupted.lines());

    let mut killed = start();
    killed.signal(Signal::SIGKILL);
    killed.wait_exit(LIMIT);
    let (spaces, counts) = left(&ward.network);
    assert_eq!((spaces.len(), counts), (1, true), "nobody could clean up");
    ward.echoes.iter_mut().for_each(|echo| echo.set_answer(Answer::Echo));
    wait_until(LIMIT, "nothing is found", || ward.findings(&PROBE).is_empty());
    assert_eq!(left(&ward.network), (vec![], false));
    assert!(!Path::new(&format!("/run/netns/{}", spaces[0])).exists());
    let links = ward.network.director.check("ip", &["-o", "link"]);
    assert!(!links.contains("ipvsd"), "{links}");
}
