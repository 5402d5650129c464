//! What an operator does to a running daemon, and what a second one may not do.

use std::fs;
use std::process::Output;

use lab::{Burst, Daemon, Family, Netns, Network, case, reading};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::setup::{IPVSD, LIMIT, PATIENT, config, echoes, ipvsd, key, servers, service, wait_for_weights};

const FAMILY: Family = Family::V4;

pub fn tests() -> Vec<Trial> {
    vec![
        case("admin::one_ipvsd_in_a_namespace", one_in_a_namespace),
        case("admin::a_reload_waits_and_returns_the_errors", reload),
    ]
}

/// Runs `ipvsd ARGUMENTS` with the daemon's environment to its end: exit status, standard output, standard error.
fn command(netns: &Netns, daemon: &Daemon, arguments: &[&str]) -> (i32, String, String) {
    let directory = format!("RUNTIME_DIRECTORY={}", daemon.runtime_directory().display());
    let Output { status, stdout, stderr } = netns.output("env", &[&[&directory, IPVSD], arguments].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code().expect("an exit status"), text(&stdout), text(&stderr))
}

fn assert_answers(network: &Network, spread: &[u64]) {
    let answered = Burst::new(service(FAMILY), spread.iter().sum()).run(network.client());
    assert_eq!(answered.spread(), spread);
}

fn one_in_a_namespace() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let mut first = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1]);

    let file = first.config_file().display().to_string();
    for verb in ["run", "flush"] {
        let (status, _, said) = command(&network.director, &first, &[verb, "--config", &file]);
        assert_eq!(status, 1, "{verb}: {said}");
        assert!(said.contains(&format!("process {} of user 0: ", first.id())), "{verb}: {said}");
        assert!(said.contains(&format!("run --config {file}")), "{verb}: {said}");
    }
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 1]);
    let elsewhere = Netns::new("elsewhere");
    let (status, _, said) = command(&elsewhere, &first, &["flush", "--config", &file]);
    assert_eq!(status, 0, "another namespace has a lock of its own: {said}");

    first.signal(Signal::SIGKILL);
    first.wait_exit(LIMIT);
    let second = ipvsd(&network, &text);
    second.wait_for("started", LIMIT);
    assert_answers(&network, &[10, 10]);
}

fn reload() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let three = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let [first, second, _] = [0, 1, 2].map(|number| network.server_address(number, FAMILY));
    let two =
        three.replace(&servers(&network, FAMILY, 5300), &format!("\"{first}:5300\", \"{second}:5300\""));
    let mut daemon = ipvsd(&network, &two);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let write = |text: &str| fs::write(daemon.config_file(), text).expect("writing the config");

    write(&three);
    assert_eq!(command(&network.director, &daemon, &["reload"]), (0, "reloaded\n".into(), String::new()));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);

    write("[[service]]\nname = 1\nlisten = \"192.0.2.53\"\n");
    let (status, out, said) = command(&network.director, &daemon, &["reload"]);
    assert_eq!((status, out.as_str()), (2, ""), "{said}");
    for place in [":2:8", ":3:10"] {
        assert!(said.contains(place), "no {place} in {said}");
        daemon.wait_for(place, LIMIT);
    }
    let said_before = daemon.lines().len();
    daemon.signal(Signal::SIGHUP);
    lab::wait_until(LIMIT, "the same errors in the log after SIGHUP", || {
        let log = daemon.lines()[said_before..].join("\n");
        [":2:8", ":3:10"].iter().all(|place| log.contains(place))
    });

    write(&two);
    network.set_forwarding(false);
    let (status, _, said) = command(&network.director, &daemon, &["reload"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("sysctl -w net.ipv4.ip_forward=1"), "{said}");
    network.set_forwarding(true);
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 1, 1], "the old config goes on");
    assert_answers(&network, &[10, 10, 10]);

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait_exit(LIMIT).success());
    let (status, _, said) = command(&network.director, &daemon, &["reload"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("is ipvsd running?"), "{said}");
}
