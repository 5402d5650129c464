//! The Debian package on a fresh machine with a real systemd: from its installation to its removal, under traffic.

mod machine;
mod page;
mod promises;

use std::time::Instant;

use lab::{Echo, Family, Network, Running, Stream, case_in_vm, reading, wait_until};
use libtest_mimic::Trial;

use crate::setup::{LIMIT, PATIENT, config, echoes, key, service, wait_for_weights};
use crate::traffic::{lost_between, measured};
use machine::{Machine, package};
use promises::promises;

const FAMILY: Family = Family::V4;
const CONFIG: &str = "/etc/ipvsd/ipvsd.toml";
/// `systemd-analyze security` counts from 0 to 10.
const EXPOSURE: f32 = 2.0;

pub fn tests() -> Vec<Trial> {
    vec![
        case_in_vm("package::installed_supervised_upgraded_and_purged", life),
        case_in_vm("package::the_unit_keeps_its_promises", promises),
        case_in_vm("package::the_commands_of_the_docs", page::commands),
    ]
}

fn life() {
    let network = Network::new(2);
    let servers = echoes(&network, 5300);
    let machine = Machine::boot(&network.director);
    installed(&machine);
    started(&machine, &network);

    // Less than elsewhere: systemd and dpkg take long enough on an emulated machine.
    let traffic = Stream { rate: 200, ..Stream::new(service(FAMILY)) }.start(network.client());
    replies(&traffic);
    reloaded(&machine, &network, &traffic);
    killed(&machine, &traffic);
    stopped(&machine, &traffic);
    let (since, until) = upgraded(&machine, &traffic);
    let flow = traffic.stop();
    measured("reloads, kill -9, SIGSTOP, an upgrade of the package", &flow);
    println!("measured: {} lost while the package was upgraded", lost_between(&flow, since, until));
    assert_eq!(flow.answered.lost, [0; 0]);
    assert_eq!(flow.answered.sources(), [service(FAMILY)].into());
    assert_eq!(reading::connections(&network.director), [""; 0]);

    commands(&machine, &network, servers);
    misconfigured(&machine, &network);
    purged(&machine, &network);
}

/// Waits for replies of both servers.
fn replies(traffic: &Running) {
    let goal = traffic.received() + 100;
    wait_until(LIMIT, "100 more replies", || traffic.received() >= goal);
}

/// Waits until ipvsd runs as another process than this one.
fn wait_for_another(machine: &Machine<'_>, before: &str) {
    wait_until(LIMIT, "systemd has started it again", || {
        machine.property("ActiveState") == "active"
            && ![before, "0"].contains(&machine.property("MainPID").as_str())
    });
}

fn installed(machine: &Machine<'_>) {
    machine.check(&["dpkg", "--install", &package(1)]);
    assert_eq!(machine.check(&["systemctl", "is-enabled", "ipvsd"]), "enabled\n");
    assert_eq!(machine.property("ConditionResult"), "no", "there is no config");
    assert_eq!(machine.property("ActiveState"), "inactive");
    machine.check(&["id", "ipvsd"]);
    machine.check(&["getent", "group", "ipvsd-read", "ipvsd-control"]);
    assert_eq!(machine.check(&["stat", "--format", "%a %U %G", "/etc/ipvsd"]), "750 root ipvsd\n");

    let said = machine.check(&["systemd-analyze", "security", "--no-pager", "ipvsd.service"]);
    let last = said.lines().rev().find(|line| line.contains("Overall exposure level")).expect("a verdict");
    println!("measured: {}", last.trim_start_matches(|c: char| !c.is_ascii()).trim());
    let mut numbers = last.split_whitespace().filter_map(|word| word.parse::<f32>().ok());
    assert!(numbers.next_back().is_some_and(|exposure| exposure <= EXPOSURE), "{said}");
}

fn good(network: &Network) -> String {
    let kernel = "[kernel]\nforwarding = \"set\"\n";
    format!("{kernel}{}", config(network, FAMILY, 5300, &format!("check = {PATIENT}\ndrain = \"1s\"")))
}

fn started(machine: &Machine<'_>, network: &Network) {
    machine.write(CONFIG, &good(network));
    network.director.set_sysctl("net.ipv4.vs.drop_packet", "3");
    network.director.set_sysctl("net.ipv4.ip_forward", "0");
    machine.check(&["systemctl", "start", "ipvsd"]);
    let found = reading::services(&network.director);
    assert!(
        found.len() == 1 && found[0].ops && found[0].servers.len() == 2,
        "ready before it was: {found:?}"
    );
    assert!(reading::nft(&network.director).contains("table ip ipvsd"), "ready before it was");
    wait_until(LIMIT, "a status", || machine.property("StatusText") == "the kernel is as wanted");
    wait_for_weights(network, FAMILY, &[1, 1]);
    for (sysctl, value) in [("net.ipv4.vs.drop_packet", "0"), ("net.ipv4.ip_forward", "1")] {
        wait_until(LIMIT, sysctl, || network.director.sysctl(sysctl) == value);
    }

    let process = machine.property("MainPID");
    let status = machine.check(&["cat", &format!("/proc/{process}/status")]);
    // CAP_NET_ADMIN and CAP_NET_RAW of linux/capability.h
    for line in ["CapBnd:\t0000000000003000", "CapEff:\t0000000000003000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "no {line} in {status}");
    }
    assert_eq!(machine.property("User"), "ipvsd");
    let other = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/log_martians"];
    let (written, said) =
        machine.try_to(&[&["nsenter", "--mount", "--target", &process][..], &other].concat());
    assert!(!written && said.contains("Read-only file system"), "the other sysctls: {said}");

    let messages: Vec<serde_json::Value> =
        machine.journal("json").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let server = format!("{}:5300", network.server_address(0, FAMILY));
    let about = |message: &&serde_json::Value| message["IPVSD_SERVER"] == server.as_str();
    let message = messages.iter().find(about).unwrap_or_else(|| panic!("none about {server}: {messages:#?}"));
    assert_eq!((&message["IPVSD_SERVICE"], &message["SYSLOG_IDENTIFIER"]), (&"echo".into(), &"ipvsd".into()));
    let line = message["MESSAGE"].as_str().expect("a line");
    assert!(line.contains(&format!("server={server}")), "{line}");
}

fn reloaded(machine: &Machine<'_>, network: &Network, traffic: &Running) {
    let process = machine.property("MainPID");
    machine.write(CONFIG, "[[service]]\nname = 1\n");
    let (success, said) = machine.try_to(&["systemctl", "reload", "ipvsd"]);
    assert!(!success, "a bad file was taken: {said}");
    assert_eq!(
        (machine.property("ActiveState"), machine.property("MainPID")),
        ("active".to_owned(), process.clone())
    );
    assert!(machine.journal("cat").contains("ipvsd.toml:2:8"), "the log says where");
    replies(traffic);
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 1], "the old config goes on");

    machine.write(CONFIG, &good(network).replace("drain = \"1s\"", "drain = \"2s\""));
    machine.check(&["systemctl", "reload", "ipvsd"]);
    assert_eq!((machine.property("SubState"), machine.property("MainPID")), ("running".to_owned(), process));
    replies(traffic);
}

fn killed(machine: &Machine<'_>, traffic: &Running) {
    let process = machine.property("MainPID");
    machine.check(&["kill", "-KILL", &process]);
    wait_for_another(machine, &process);
    assert_eq!(machine.property("NRestarts"), "1");
    replies(traffic);
}

/// A process that does nothing any more is ended by the watchdog, after a time that is short here.
fn stopped(machine: &Machine<'_>, traffic: &Running) {
    machine.write("/run/systemd/system/ipvsd.service.d/lab.conf", "[Service]\nWatchdogSec=6\n");
    machine.check(&["systemctl", "daemon-reload"]);
    machine.check(&["systemctl", "restart", "ipvsd"]);
    let process = machine.property("MainPID");
    machine.check(&["kill", "-STOP", &process]);
    wait_for_another(machine, &process);
    assert!(machine.journal("cat").contains("Watchdog timeout"), "the watchdog did it");
    replies(traffic);
}

fn upgraded(machine: &Machine<'_>, traffic: &Running) -> (Instant, Instant) {
    let (process, since) = (machine.property("MainPID"), Instant::now());
    machine.check(&["dpkg", "--install", &package(2)]);
    assert!(machine.check(&["dpkg-query", "--show", "ipvsd"]).contains("-2"), "the newer one");
    wait_for_another(machine, &process);
    replies(traffic);
    println!("measured: the upgrade took {:?}", since.elapsed());
    (since, Instant::now())
}

/// The sandbox holds for an exec check; the drop-in of the documentation lets it write.
fn commands(machine: &Machine<'_>, network: &Network, servers: Vec<Echo>) {
    machine.write("/opt/check", "#!/bin/sh\necho ran >> /var/lib/ipvsd-checks/ran\n");
    machine.check(&["chmod", "755", "/opt/check"]);
    machine.check(&["install", "-d", "-o", "ipvsd", "/var/lib/ipvsd-checks"]);
    let check =
        "check = { type = \"exec\", command = [\"/opt/check\"], interval = \"1s\", timeout = \"10s\" }";
    machine.write(CONFIG, &config(network, FAMILY, 5300, check));
    machine.check(&["systemctl", "reload", "ipvsd"]);
    wait_until(LIMIT, "the sandbox", || machine.journal("cat").contains("Read-only file system"));
    assert!(!machine.has("/var/lib/ipvsd-checks/ran"));
    let example = "/usr/share/doc/ipvsd/examples/ipvsd.service.d";
    machine.check(&["cp", "-r", example, "/etc/systemd/system/"]);
    machine.check(&["systemctl", "daemon-reload"]);
    machine.check(&["systemctl", "restart", "ipvsd"]);
    wait_until(LIMIT, "the check may write", || machine.has("/var/lib/ipvsd-checks/ran"));
    wait_for_weights(network, FAMILY, &[1, 1]);
    drop(servers);
}

fn misconfigured(machine: &Machine<'_>, network: &Network) {
    machine.write(CONFIG, "on_stop = 1\n");
    let (success, _) = machine.try_to(&["systemctl", "restart", "ipvsd"]);
    assert!(!success);
    // One that will be started again is in the state auto-restart.
    assert_eq!(
        (machine.property("SubState"), machine.property("ExecMainStatus")),
        ("failed".into(), "2".into())
    );
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 1], "the kernel goes on");
}

fn purged(machine: &Machine<'_>, network: &Network) {
    let said = machine.check(&["dpkg", "--purge", "ipvsd"]);
    for words in ["the kernel goes on forwarding", "nft delete table ip ipvsd", "ipvsadm"] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 1], "what is left was said");
    for path in ["/usr/bin/ipvsd", "/usr/lib/systemd/system/ipvsd.service", "/run/ipvsd", "/var/lib/ipvsd"] {
        assert!(!machine.has(path), "{path} is left");
    }
    assert!(machine.has(CONFIG), "the config is its owner's");
}
