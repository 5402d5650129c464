//! What an operator does to a running daemon, and what a second one may not do.

use std::fs;
use std::net::SocketAddr;

use lab::{Burst, Family, Netns, Network, case, reading, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::setup::{
    IPVSD, LIMIT, PATIENT, command, config, echoes, ipvsd, key, servers, service, wait_for_weights,
};

const FAMILY: Family = Family::V4;

pub fn tests() -> Vec<Trial> {
    vec![
        case("admin::one_ipvsd_in_a_namespace", one_in_a_namespace),
        case("admin::a_reload_waits_and_returns_the_errors", reload),
        case("admin::a_plan_says_what_would_change_and_changes_nothing", plan),
    ]
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
        let (status, _, said) = command(&network.director, &[verb, "--config", &file]);
        assert_eq!(status, 1, "{verb}: {said}");
        assert!(said.contains(&format!("process {} of user 0: ", first.id())), "{verb}: {said}");
        assert!(said.contains(&format!("run --config {file}")), "{verb}: {said}");
    }
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 1]);
    let elsewhere = Netns::new("elsewhere");
    let (status, _, said) = command(&elsewhere, &["flush", "--config", &file]);
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
    assert_eq!(command(&network.director, &["reload"]), (0, "reloaded\n".into(), String::new()));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);

    write("[[service]]\nname = 1\nlisten = \"192.0.2.53\"\n");
    let (status, out, said) = command(&network.director, &["reload"]);
    assert_eq!((status, out.as_str()), (2, ""), "{said}");
    for place in [":2:8", ":3:10"] {
        assert!(said.contains(place), "no {place} in {said}");
        daemon.wait_for(place, LIMIT);
    }
    let said_before = daemon.lines().len();
    daemon.signal(Signal::SIGHUP);
    wait_until(LIMIT, "the same errors in the log after SIGHUP", || {
        let log = daemon.lines()[said_before..].join("\n");
        [":2:8", ":3:10"].iter().all(|place| log.contains(place))
    });

    write(&two);
    network.set_forwarding(false);
    let (status, _, said) = command(&network.director, &["reload"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("sysctl -w net.ipv4.ip_forward=1"), "{said}");
    network.set_forwarding(true);
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 1, 1], "the old config goes on");
    assert_answers(&network, &[10, 10, 10]);

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait_exit(LIMIT).success());
    let (status, _, said) = command(&network.director, &["reload"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("is ipvsd running?"), "{said}");
}

fn plan() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let director = &network.director;
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}\ndrain = \"1s\""));
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), &text).expect("writing the config");
    let path = file.path().display().to_string();
    let plan = |more: &[&str]| command(director, &[&["plan", "--config", &path], more].concat());
    let [first, second] = [0, 1].map(|number| SocketAddr::new(network.server_address(number, FAMILY), 5300));
    let service = service(FAMILY);

    let before = reading::nft(director);
    let (status, out, _) = plan(&[]);
    assert_eq!(status, 3, "{out}");
    for line in [
        format!("+ service echo at {service}: scheduler rr, OPS on"),
        format!("+ server {first} of echo at {service}: forward nat, weight 0 (its weight 1 comes when"),
        format!("+ reply rule of {second}: VIP {service}"),
    ] {
        assert!(out.contains(&line), "no {line:?} in\n{out}");
    }
    assert!(reading::services(director).is_empty(), "nothing has changed");
    assert_eq!(reading::nft(director), before, "nothing has changed");

    let mut daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let nothing = (0, "nothing to do\n".to_owned(), String::new());
    assert_eq!(plan(&[]), nothing);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait_exit(LIMIT).success());
    assert_eq!(plan(&[]), nothing, "the kernel keeps it all");

    let (vip, server) = (service.to_string(), first.to_string());
    director.check("ipvsadm", &["-e", "-u", &vip, "-r", &server, "-m", "-w", "5"]);
    director.check("ipvsadm", &["-E", "-u", &vip, "-s", "wrr", "-o"]);
    director.check("ipvsadm", &["-a", "-u", &vip, "-r", "10.0.1.99:5300", "-m", "-w", "1"]);
    director.set_sysctl("net.ipv4.vs.drop_packet", "3");
    director.nft("delete table ip ipvsd");
    let (status, out, _) = plan(&[]);
    assert_eq!(status, 3, "{out}");
    for line in [
        "~ sysctl net.ipv4.vs.drop_packet: value 3 → 0 (".to_owned(),
        format!("~ service echo at {service}: scheduler wrr → rr (about 20 ms of loss"),
        format!("~ server {first} of echo at {service}: weight 5 → 1\n"),
        format!("- server 10.0.1.99:5300 of echo at {service} (weight 0, and deleted after 1s)"),
        format!("+ request rule of {service}"),
        "7 changes to make\n".to_owned(),
    ] {
        assert!(out.contains(&line), "no {line:?} in\n{out}");
    }
    let (status, out, _) = plan(&["--json"]);
    assert_eq!(status, 3, "{out}");
    let data: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let changes = data["changes"].as_array().expect("a list of changes");
    let weight =
        changes.iter().find(|change| change["server"] == server.as_str() && change["change"] == "change");
    assert_eq!(
        weight.map(|change| &change["differences"]),
        Some(&serde_json::json!([{ "field": "weight", "old": "5", "new": "1" }])),
        "{out}"
    );
    assert_eq!(reading::weights(director, &key(FAMILY)).iter().sum::<u32>(), 7, "nothing has changed");

    let unprivileged = ["--bounding-set=-net_admin", IPVSD, "plan", "--config", &path];
    let output = director.output("setpriv", &unprivileged);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("CAP_NET_ADMIN"), "{output:?}");
    network.set_forwarding(false);
    let (status, _, said) = plan(&[]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("sysctl -w net.ipv4.ip_forward=1"), "{said}");
    network.set_forwarding(true);

    let _daemon = ipvsd(&network, &text);
    wait_until(LIMIT, "ipvsd has made the changes", || plan(&[]) == nothing);
}
