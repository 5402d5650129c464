//! `--probe`: the hop at which a datagram is lost, and nothing left behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use lab::{Answer, Family, Network, Process, case, reading, vip, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Ward, names, run_cures};
use crate::setup::{IPVSD, LIMIT, wait_until_all_up};

pub fn tests() -> Vec<Trial> {
    vec![
        case("doctor::probe_says_where_requests_are_lost", requests),
        case("doctor::probe_says_which_server_does_not_answer", silent_servers),
        case("doctor::probe_says_where_replies_are_lost", replies),
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
fn drop_at(network: &Network, hook: &str, what: &str) {
    network.director.nft(&format!(
        "table inet dropping {{ chain drops {{ type filter hook {hook} priority 10; iifname != \"lo\" meta mark 0 {what} drop; }}; }}"
    ));
}

fn undo_drop(network: &Network, _: &[Value]) {
    network.director.nft("delete table inet dropping");
}

fn requests() {
    let ward = quick(2, "");
    let [four, _] = Family::BOTH.map(vip);
    ward.named_with(
        &PROBE,
        &["lost-before-input", "vip-absent"],
        |network| network.director.ip(&[format!("addr del {four}/32 dev lo")]),
        |network, _| network.director.ip(&[format!("addr add {four} dev lo")]),
    );
    ward.named_with(
        &PROBE,
        &["lost-at-input"],
        |network| drop_at(network, "input", "udp dport 53"),
        undo_drop,
    );
    ward.named_with(
        &PROBE,
        &["lost-at-output"],
        // The director's own probes are tracked.
        |network| {
            network.director.nft(
                "table inet dropping { chain drops { type filter hook output priority 10; meta mark 0 ct state untracked udp dport 5300 drop; }; }",
            );
        },
        undo_drop,
    );
    // A sync daemon in the state of backup, and nobody in its place.
    let reporting = quick(1, "[kernel]\nsysctls = \"report\"");
    reporting.named_with(
        &PROBE,
        &["drop-packet", "lost-in-ipvs"],
        |network| {
            network.director.set_sysctl("net.ipv4.vs.am_droprate", "1");
            network.director.set_sysctl("net.ipv4.vs.drop_packet", "3");
        },
        |network, found| run_cures(network, found, "sysctl -w"),
    );
}

fn silent_servers() {
    let mut ward = quick(2, "");
    // It answers the director, and knows another way to clients.
    let routes = |verb: &str| {
        let ways = [("192.0.0.0/29", "10.0.1.254"), ("fd69:7076:7364::/64", "fd00:1::fe")];
        ways.map(|(clients, gateway)| format!("route {verb} {clients} via {gateway}"))
    };
    ward.named_with(
        &PROBE,
        &["bypass"],
        |network| network.servers[1].ip(&routes("add")),
        |network, found| {
            let second = |it: &Value| {
                it["seen"].as_str().is_some_and(|seen| {
                    seen.contains("left for 10.0.1.12:5300") || seen.contains("left for [fd00:1::12]:5300")
                })
            };
            assert!(found.len() == 2 && found.iter().all(second), "{found:#?}");
            network.servers[1].ip(&routes("del"));
        },
    );
    // The only servers keep their weight when all seem dead.
    ward.echoes.iter_mut().for_each(|echo| echo.set_answer(Answer::Silent));
    wait_until(LIMIT, "server-silent", || names(&ward.findings(&PROBE)) == ["server-silent"]);
    ward.echoes.clear();
    wait_until(LIMIT, "server-refuses", || names(&ward.findings(&PROBE)) == ["server-refuses"]);
    ward.echoes = crate::setup::echoes(&ward.network, 5300);
    wait_until(LIMIT, "nothing is found", || ward.findings(&PROBE).is_empty());
}

fn replies() {
    let mut ward = quick(2, "");
    ward.named_with(
        &PROBE,
        &["forwarding-off", "lost-in-routing"],
        |network| network.director.set_sysctl("net.ipv4.ip_forward", "0"),
        |network, found| run_cures(network, found, "sysctl -w"),
    );
    ward.named_with(
        &PROBE,
        &["lost-at-forward"],
        |network| drop_at(network, "forward", "udp sport 5300"),
        undo_drop,
    );
    ward.named_with(
        &PROBE,
        &["lost-to-client"],
        |network| {
            network.director.nft(
                "table inet dropping { chain drops { type filter hook postrouting priority 200; udp sport 53 drop; }; }",
            );
        },
        undo_drop,
    );
    super::kill(&mut ward.daemon);
    ward.network.director.nft("delete table ip ipvsd");
    assert_eq!(names(&ward.findings(&PROBE)), ["not-rewritten", "reply-rules"]);
    let _daemon = lab::Daemon::start(&ward.network.director, IPVSD, &super::config(&ward.network, ""));
    wait_until_all_up(&ward.network, 2);
    wait_until(LIMIT, "nothing is found", || ward.findings(&PROBE).is_empty());
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
