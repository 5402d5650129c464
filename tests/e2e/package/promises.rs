//! What docs/systemd.md says of the unit, with the units and drop-ins that stand there.

use std::net::{SocketAddr, UdpSocket};

use lab::{Network, Stream, reading};

use super::machine::{Machine, package};
use super::{CONFIG, FAMILY, replies, wait_for_another};
use crate::setup::{LIMIT, config, echoes, key, service, wait_for_weights};
use crate::supervise::Held;

const PAGE: &str = include_str!("../../../docs/systemd.md");
/// In no file of the machine but that of the credential.
const SECRET: &str = "open-sesame";

pub fn promises() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let machine = Machine::boot(&network.director);
    machine.check(&["dpkg", "--install", &package(1)]);
    // Pings need CAP_NET_RAW.
    machine.write(
        CONFIG,
        &config(&network, FAMILY, 5300, "check = { type = \"icmp\", interval = \"1s\", timeout = \"5s\" }"),
    );
    machine.check(&["systemctl", "start", "ipvsd"]);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    sockets(&machine);
    hanging(&machine, &network);
    credential(&machine, &network);
}

/// The block of the page that begins with the name of this file, written there.
fn write(machine: &Machine<'_>, file: &str, change: impl FnOnce(&str) -> String) {
    let head = format!("```ini\n# {file}\n");
    let (_, rest) = PAGE.split_once(&head).unwrap_or_else(|| panic!("docs/systemd.md has no {file}"));
    machine.write(file, &change(rest.split("```").next().expect("the block")));
}

/// systemd makes the sockets, as after a boot.
fn sockets(machine: &Machine<'_>) {
    let units = ["ipvsd-read.socket", "ipvsd-control.socket"];
    for unit in units {
        write(machine, &format!("/etc/systemd/system/{unit}"), str::to_owned);
    }
    machine.check(&["systemctl", "stop", "ipvsd"]);
    machine.check(&["rm", "-r", "/run/ipvsd"]);
    machine.check(&["systemd-tmpfiles", "--create"]);
    machine.check(&["systemctl", "daemon-reload"]);
    machine.check(&["systemctl", "enable", "--now", units[0], units[1]]);
    let state = || {
        machine.check(&["stat", "--format", "%n %a %G %i", "/run/ipvsd/read.sock", "/run/ipvsd/control.sock"])
    };
    let made = state();
    assert!(
        made.contains("read.sock 660 ipvsd-read ") && made.contains("control.sock 660 ipvsd-control "),
        "{made}"
    );
    machine.check(&["systemctl", "start", "ipvsd"]);
    let of = |group: &str, command: &str| {
        machine.try_to(&[
            "setpriv",
            "--reuid",
            "nobody",
            "--regid",
            group,
            "--clear-groups",
            "ipvsd",
            command,
        ])
    };
    let (success, said) = of("ipvsd-read", "status");
    assert!(success && said.contains("echo"), "{said}");
    assert!(!of("ipvsd-read", "reload").0, "that group may only read");
    let (success, said) = of("ipvsd-control", "reload");
    assert!(success, "{said}");
    assert!(!of("nogroup", "status").0, "who is in no group may not even read");
    machine.check(&["systemctl", "restart", "ipvsd"]);
    assert!(of("ipvsd-read", "status").0);
    assert_eq!(state(), made, "they are systemd's, whoever listens");
    machine.check(&["systemctl", "disable", "--now", units[0], units[1]]);
    machine.check(&["systemctl", "restart", "ipvsd"]);
    assert!(of("ipvsd-read", "status").0, "the daemon makes its own");
}

/// Only the checker hangs: the watchdog ends the daemon, systemd starts another, and no datagram is lost.
fn hanging(machine: &Machine<'_>, network: &Network) {
    machine.write("/run/systemd/system/ipvsd.service.d/lab.conf", "[Service]\nWatchdogSec=6\n");
    machine.check(&["systemctl", "daemon-reload"]);
    machine.check(&["systemctl", "restart", "ipvsd"]);
    wait_for_weights(network, FAMILY, &[1, 1]);
    let traffic = Stream { rate: 200, ..Stream::new(service(FAMILY)) }.start(network.client());
    replies(&traffic);
    let process = machine.property("MainPID");
    Held::thread(machine.process(), "health").wait_for_its_end();
    wait_for_another(machine, &process);
    let said = machine.journal("cat");
    assert!(said.contains("the checker has said nothing for 6s"), "{said}");
    assert!(said.contains("Watchdog timeout"), "{said}");
    replies(&traffic);
    assert_eq!(traffic.stop().answered.lost, [0; 0]);
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 1]);
}

/// A secret that root alone may read.
fn credential(machine: &Machine<'_>, network: &Network) {
    let address: SocketAddr =
        format!("{}:161", network.server_address(0, FAMILY)).parse().expect("an address");
    let agent = network.servers[0].run(|| UdpSocket::bind(address).expect("a socket"));
    agent.set_read_timeout(Some(LIMIT)).expect("a limit");
    machine.write("/etc/ipvsd/radius.secret", SECRET);
    machine.check(&["chmod", "600", "/etc/ipvsd/radius.secret"]);
    let check = "check = { type = \"snmp\", port = 161, community_credential = \"radius\", interval = \"1s\", timeout = \"1s\" }";
    machine.write(CONFIG, &config(network, FAMILY, 5300, check));
    let (success, said) = machine.try_to(&["ipvsd", "reload"]);
    assert!(!success && said.contains("LoadCredential="), "the unit has no credential yet: {said}");
    write(machine, "/etc/systemd/system/ipvsd.service.d/secrets.conf", str::to_owned);
    machine.check(&["systemctl", "daemon-reload"]);
    machine.check(&["systemctl", "restart", "ipvsd"]);
    let mut request = [0; 1500];
    let length = agent.recv(&mut request).expect("a request of the check");
    assert!(request[..length].windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()), "{request:?}");
    machine.check(&["systemctl", "reload", "ipvsd"]);
    let (success, _) = machine.try_to(&[
        "setpriv",
        "--reuid",
        "ipvsd",
        "--regid",
        "ipvsd",
        "--clear-groups",
        "cat",
        "/etc/ipvsd/radius.secret",
    ]);
    assert!(!success, "the daemon itself may not read the file");
    for said in [
        machine.journal("json"),
        machine.check(&["ipvsd", "status", "--json"]),
        machine.check(&["ipvsd", "explain", "echo"]),
    ] {
        assert!(!said.contains(SECRET), "{said}");
    }
}
