//! The IPVS table: what keeps datagrams from being scheduled one by one, to servers that live.

use std::time::Duration;

use lab::{Burst, Daemon, Family, Network, case, wait_until};
use libtest_mimic::Trial;
use serde_json::Value;

use super::{Ward, findings, names};
use crate::setup::{IPVSD, LIMIT, PATIENT, config, echoes, servers, service, wait_for_weights};

pub fn tests() -> Vec<Trial> {
    vec![
        case("doctor::the_naive_set_up_until_ipvsd_starts", naive),
        case("doctor::pinned_clients_until_ipvsd_starts", pinned),
        case("doctor::schedulers_that_do_not_spread", schedulers),
        case("doctor::no_server_has_weight", no_weight),
        case("doctor::a_server_of_two_services", shared_server),
        case("doctor::a_server_on_loopback", loopback),
    ]
}

fn ipvsadm(network: &Network, arguments: &str) {
    network.director.check("ipvsadm", &arguments.split(' ').collect::<Vec<_>>());
}

/// A file with this config, for a doctor without a daemon.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("writing the config");
    file
}

/// Starts ipvsd, and waits until nothing is found any more.
fn started(network: &Network, text: &str) -> Daemon {
    let daemon = Daemon::start(&network.director, IPVSD, text);
    let mut last: Vec<Value> = Vec::new();
    wait_until(LIMIT, "nothing is found", || {
        let found = findings(network, &daemon.config_file(), &[]);
        if names(&found) != names(&last) {
            println!("found {found:#?}");
        }
        last = found;
        last.is_empty()
    });
    daemon
}

/// One-packet scheduling by ipvsadm and a stateful `snat`, as in many a guide.
fn naive() {
    let network = Network::new(3);
    let _echoes = echoes(&network, 5300);
    let text = config(&network, Family::V4, 5300, &format!("check = {PATIENT}"));
    let config = file(&text);
    assert_eq!(names(&findings(&network, config.path(), &[])), ["service-missing"]);
    ipvsadm(&network, "-A -u 192.0.2.53:53 -s rr -o");
    for server in ["10.0.1.11", "10.0.1.12", "10.0.1.13"] {
        ipvsadm(&network, &format!("-a -u 192.0.2.53:53 -r {server}:5300 -m"));
    }
    assert_eq!(names(&findings(&network, config.path(), &[])), ["reply-rules"]);
    network.director.nft(
        "table ip nat {
            chain post {
                type nat hook postrouting priority srcnat
                ip saddr 10.0.1.0/24 udp sport 5300 snat to 192.0.2.53:53
            }
        }",
    );
    assert_eq!(names(&findings(&network, config.path(), &[])), ["reply-rules", "reply-snat"]);
    let answered = Burst::new(service(Family::V4), 30).run(network.client());
    assert_eq!(
        answered.by_server().len(),
        1,
        "the first that answers has them all: {:?}",
        answered.by_server()
    );
    let found = findings(&network, config.path(), &[]);
    assert_eq!(names(&found), ["reply-rules", "reply-snat", "tracked-clients"]);
    let _daemon = started(&network, &text);
    assert_eq!(Burst::new(service(Family::V4), 30).run(network.client()).spread(), [10, 10, 10]);
}

/// First no one-packet scheduling at all, then switched on where entries pin already; and a persistent one.
fn pinned() {
    let network = Network::new(3);
    let _echoes = echoes(&network, 5300);
    let text = config(&network, Family::V4, 5300, &format!("check = {PATIENT}"));
    let config = file(&text);
    ipvsadm(&network, "-A -u 192.0.2.53:53 -s rr");
    for server in ["10.0.1.11", "10.0.1.12", "10.0.1.13"] {
        ipvsadm(&network, &format!("-a -u 192.0.2.53:53 -r {server}:5300 -m"));
    }
    assert_eq!(names(&findings(&network, config.path(), &[])), ["no-ops", "reply-rules"]);
    let burst = Burst { port: 40_000, ..Burst::new(service(Family::V4), 30) };
    assert_eq!(burst.run(network.client()).spread(), [30]);
    ipvsadm(&network, "-E -u 192.0.2.53:53 -s rr -o");
    assert_eq!(names(&findings(&network, config.path(), &[])), ["pinned-clients", "reply-rules"]);
    ipvsadm(&network, "-E -u 192.0.2.53:53 -s rr -o -p 60");
    assert_eq!(names(&findings(&network, config.path(), &[])), ["no-ops", "pinned-clients", "reply-rules"]);
    let _daemon = started(&network, &text);
    assert_eq!(burst.run(network.client()).spread(), [10, 10, 10]);
}

fn schedulers() {
    let mut ward = Ward::new(2, "drift = \"report\"");
    for scheduler in ["lc", "sh", "mh"] {
        let change = |network: &Network| ipvsadm(network, &format!("-E -u 192.0.2.53:53 -s {scheduler} -o"));
        ward.named(&["scheduler"], change, |network, _| ipvsadm(network, "-E -u 192.0.2.53:53 -s rr -o"));
    }
    ward.echoes[1].kill();
    wait_for_weights(&ward.network, Family::V4, &[1, 0]);
    wait_for_weights(&ward.network, Family::V6, &[1, 0]);
    let change = |network: &Network| ipvsadm(network, "-E -u 192.0.2.53:53 -s sh -o");
    ward.named(&["dead-slot", "scheduler"], change, |network, _| {
        ipvsadm(network, "-E -u 192.0.2.53:53 -s rr -o")
    });
}

fn no_weight() {
    let mut ward = Ward::new(1, "when_all_down = \"refuse\"");
    assert!(ward.findings(&[]).is_empty());
    ward.echoes.clear();
    wait_until(LIMIT, "no-weight", || names(&ward.findings(&[])) == ["no-weight"]);
    let lost = Burst { patience: Duration::from_millis(300), ..Burst::new(service(Family::V4), 1) };
    assert_eq!(lost.run(ward.network.client()).lost, [0]);
    ward.echoes = echoes(&ward.network, 5300);
    wait_until(LIMIT, "nothing is found", || ward.findings(&[]).is_empty());
}

fn shared_server() {
    let ward = Ward::new(2, "");
    let add = |network: &Network| {
        ipvsadm(network, "-A -u 192.0.2.99:53 -s rr -o");
        ipvsadm(network, "-a -u 192.0.2.99:53 -r 10.0.1.11:5300 -m");
    };
    ward.named(&["shared-server"], add, |network, _| ipvsadm(network, "-D -u 192.0.2.99:53"));
}

fn loopback() {
    let network = Network::new(1);
    let _echoes = echoes(&network, 5300);
    let text = config(&network, Family::V4, 5300, "check = \"none\"");
    let both = text.replace(&servers(&network, Family::V4, 5300), "\"127.0.0.1:5300\", \"10.0.1.11:5300\"");
    assert_ne!(text, both);
    let mut daemon = Daemon::start(&network.director, IPVSD, &both);
    wait_for_weights(&network, Family::V4, &[1, 1]);
    wait_until(LIMIT, "loopback-server", || {
        names(&findings(&network, &daemon.config_file(), &[])) == ["loopback-server"]
    });
    let burst = Burst { patience: Duration::from_millis(300), ..Burst::new(service(Family::V4), 4) };
    assert_eq!(burst.run(network.client()).lost.len(), 2, "those that went to loopback");
    super::kill(&mut daemon);
    let _daemon = started(&network, &text);
}
