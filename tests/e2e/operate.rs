//! What operators say about servers, and what is shown of them.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Instant, SystemTime};

use lab::{Burst, Capture, Family, Network, Packet, Process, case, reading, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::setup::{
    IPVSD, LIMIT, PATIENT, command, config, echoes, ipvsd, key, server, service, wait_for_weights,
};
use crate::traffic::Traffic;

const FAMILY: Family = Family::V4;

pub fn tests() -> Vec<Trial> {
    vec![
        case("operate::a_drained_server_gets_nothing_over_reload_and_restart", drained),
        case("operate::a_weight_is_heeded_and_its_time_ends", weight),
        case("operate::the_last_server_is_drained_by_force_only", last),
        case("operate::status_and_its_check_say_how_it_stands", status),
        case("operate::each_socket_is_for_its_group", groups),
        case("operate::systemd_may_give_the_sockets", given),
    ]
}

/// The exit status and what was printed, both ways together.
fn run(network: &Network, arguments: &[&str]) -> (i32, String) {
    let (status, out, said) = command(&network.director, arguments);
    (status, out + &said)
}

fn told(network: &Network, service: &str) -> Value {
    let (status, out, said) = command(&network.director, &["status", service, "--json"]);
    assert_eq!(status, 0, "{said}");
    serde_json::from_str(&out).expect("JSON")
}

/// Requests of the client that came to the server between these times.
fn requests(packets: &[Packet], client: SocketAddr, from: SystemTime, to: SystemTime) -> usize {
    let of = |packet: &&Packet| !packet.outgoing && packet.source.ip() == client.ip();
    packets.iter().filter(of).filter(|packet| from <= packet.at && packet.at <= to).count()
}

fn drained() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let mut daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    let traffic = Traffic::start(&network);
    traffic.calm();
    let wire = Capture::start(&network.servers[1]);
    let second = server(&network, 1, FAMILY).to_string();

    let (status, said) = run(&network, &["drain", "echo", &second]);
    assert_eq!((status, said), (0, format!("echo {second}: drained until `ipvsd undrain echo {second}`\n")));
    traffic.watch.wait(&[1, 0, 1]);
    // What was on its way is through.
    traffic.replies(50);
    let from = SystemTime::now();
    daemon.wait_for("weight set by an operator", LIMIT);
    assert_eq!(run(&network, &["reload"]).0, 0);
    traffic.replies(300);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        daemon.signal(signal);
        daemon.wait_exit(LIMIT);
        daemon = ipvsd(&network, &text);
        wait_until(LIMIT, "verdicts", || {
            let (status, out, _) = command(&network.director, &["status", "--json"]);
            status == 0 && serde_json::from_str::<Value>(&out).expect("JSON")["ready"] == json!(true)
        });
        traffic.replies(400);
    }
    let shown = told(&network, "echo");
    let it = &shown["services"][0]["servers"][1];
    assert_eq!(
        (&it["weight"], &it["due"], &it["verdict"]),
        (&json!(0), &json!(0), &json!("up")),
        "{shown:#}"
    );
    assert_eq!(
        (&it["operator"]["by"], &it["why"]),
        (&json!(0), &json!("drained by an operator")),
        "{shown:#}"
    );
    let (_, plain) = run(&network, &["status"]);
    let line = plain.lines().find(|line| line.contains(&second)).expect("a line of the server");
    assert!(line.contains("0/1") && line.contains("drained by an operator"), "{plain}");
    let file = daemon.config_file().display().to_string();
    assert_eq!(run(&network, &["plan", "--config", &file]), (0, "nothing to do\n".to_owned()));
    assert_eq!(run(&network, &["plan"]), (0, "nothing to do\n".to_owned()), "asked for at the socket");
    let to = SystemTime::now();

    let ip = network.server_address(1, FAMILY).to_string();
    assert_eq!(run(&network, &["undrain", "echo", &ip]).0, 0, "its port need not be said");
    traffic.watch.wait(&[1, 1, 1]);
    traffic.replies(300);
    let (status, said) = run(&network, &["undrain", "echo", &ip]);
    assert!(status == 1 && said.contains("no operator has said anything"), "{said}");
    assert_eq!(traffic.watch.states(), [[1, 1, 1], [1, 0, 1], [1, 1, 1]]);
    let client = SocketAddr::new(network.client_address(0, FAMILY), 0);
    let packets = wire.stop();
    assert_eq!(requests(&packets, client, from, to), 0, "a drained server gets nothing");
    assert!(requests(&packets, client, to, SystemTime::now()) > 0, "one that is back does");
    assert_eq!(traffic.stop("drained, reloaded, killed, ended, undrained").answered.lost, [0; 0]);
}

fn weight() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let rr = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let daemon = ipvsd(&network, &rr);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let first = server(&network, 0, FAMILY).to_string();
    let (status, said) = run(&network, &["weight", "echo", &first, "3"]);
    assert!(status == 1 && said.contains("does not heed weights") && said.contains("wrr"), "{said}");
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 1]);
    for (arguments, expected) in [
        (["weight", "other", &first, "1"], "no service \"other\"; it has echo"),
        (["weight", "echo", "10.9.9.9", "1"], "no server 10.9.9.9"),
    ] {
        let (status, said) = run(&network, &arguments);
        assert!(status == 1 && said.contains(expected), "{said}");
    }

    std::fs::write(daemon.config_file(), format!("{rr}scheduler = \"wrr\"\n")).expect("writing the config");
    assert_eq!(run(&network, &["reload"]).0, 0);
    wait_until(LIMIT, "another scheduler", || reading::services(&network.director)[0].scheduler == "wrr");
    let began = Instant::now();
    let (status, said) = run(&network, &["weight", "echo", &first, "3", "--for", "8s"]);
    assert_eq!((status, said), (0, format!("echo {first}: weight 3 for 8s\n")));
    wait_for_weights(&network, FAMILY, &[3, 1]);
    assert_eq!(Burst::new(service(FAMILY), 40).run(network.client()).spread(), [30, 10]);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    assert!(began.elapsed().as_secs() >= 8, "{:?}", began.elapsed());
    daemon.wait_for("its time is over", LIMIT);
    assert_eq!(told(&network, "echo")["overrides"], json!([]));
}

fn last() {
    let network = Network::new(2);
    let mut servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let _daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    servers[1].kill();
    wait_for_weights(&network, FAMILY, &[1, 0]);
    let first = server(&network, 0, FAMILY).to_string();
    let (status, said) = run(&network, &["drain", "echo", &first]);
    assert!(
        status == 1 && said.contains("the last server with weight") && said.contains("--force"),
        "{said}"
    );
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 0]);
    assert_eq!(run(&network, &["drain", "echo", &first, "--force"]).0, 0);
    wait_for_weights(&network, FAMILY, &[0, 0]);
    let (status, said) = run(&network, &["status", "--check"]);
    assert!(status == 1 && said.contains("0 up, at least 1 must be"), "{said}");
    assert_eq!(run(&network, &["undrain", "echo", &first]).0, 0);
    wait_for_weights(&network, FAMILY, &[1, 0]);
}

fn status() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let (status, said) = run(&network, &["status", "--check"]);
    assert!(status == 1 && said.contains("is ipvsd running?"), "{said}");
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}\nmin_healthy = 2"));
    let daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    assert_eq!(run(&network, &["status", "--check", "echo"]), (0, String::new()));
    assert_eq!(run(&network, &["status", "--check", "other"]).0, 1);

    servers[2].kill();
    wait_for_weights(&network, FAMILY, &[1, 1, 0]);
    assert_eq!(run(&network, &["status", "--check"]), (0, String::new()));
    let shown = told(&network, "echo");
    let it = &shown["services"][0]["servers"][2];
    assert_eq!(
        (&it["weight"], &it["configured"], &it["verdict"]),
        (&json!(0), &json!(1), &json!("down")),
        "{shown:#}"
    );
    assert!(
        it["why"].as_str().is_some_and(|why| why.starts_with("refused (ICMP port unreachable)")),
        "{shown:#}"
    );
    network
        .director
        .check("ipvsadm", &["-e", "-u", "192.0.2.53:53", "-r", "10.0.1.11:5300", "-m", "-w", "5"]);
    wait_for_weights(&network, FAMILY, &[1, 1, 0]);
    let (_, plain) = run(&network, &["status"]);
    for expected in ["2 of 3 up", "0/1", "down", "weight 1 → 5, repaired", "kernel read"] {
        assert!(plain.contains(expected), "no {expected:?} in\n{plain}");
    }
    println!("{plain}");

    servers[1].kill();
    wait_until(LIMIT, "too few", || run(&network, &["status", "--check"]).0 == 1);
    assert_eq!(reading::weights(&network.director, &key(FAMILY))[1], 1, "it fails open");
    let (_, plain) = run(&network, &["status"]);
    assert!(plain.contains("1 of 3 up, at least 2 must be: fails open"), "{plain}");
    daemon.signal(Signal::SIGSTOP);
    assert_eq!(run(&network, &["status", "--check"]).0, 1, "a daemon that hangs is none");
    daemon.signal(Signal::SIGCONT);
}

/// As a user without privileges, in this group besides its own.
fn as_nobody(network: &Network, group: Option<&str>, arguments: &[&str]) -> (i32, String) {
    let directory = format!("RUNTIME_DIRECTORY={}", network.director.runtime_directory().display());
    let groups = group.map_or("--clear-groups".to_owned(), |group| format!("--groups={group}"));
    let who = [
        "--reuid=65534",
        "--regid=65534",
        &groups,
        "--inh-caps=-all",
        "--bounding-set=-all",
        "env",
        &directory,
        IPVSD,
    ];
    let output = network.director.output("setpriv", &[&who, arguments].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("an exit status"), String::from_utf8_lossy(&said).into_owned())
}

fn groups() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    for (group, number) in [("ipvsd-read", "4711"), ("ipvsd-control", "4712")] {
        if nix::unistd::Group::from_name(group).expect("the groups").is_none() {
            network.director.check("groupadd", &["--gid", number, group]);
        }
    }
    let _daemon = ipvsd(&network, &config(&network, FAMILY, 5300, &format!("check = {PATIENT}")));
    wait_for_weights(&network, FAMILY, &[1, 1]);
    for (name, number) in [("read.sock", 4711), ("control.sock", 4712)] {
        let file = network.director.runtime_directory().join(name).metadata().expect("the socket");
        assert_eq!((file.permissions().mode() & 0o777, file.gid()), (0o660, number), "{name}");
    }
    let first = server(&network, 0, FAMILY).to_string();
    let drain = ["drain", "echo", &first];
    for (group, reads, controls) in
        [(None, false, false), (Some("ipvsd-read"), true, false), (Some("ipvsd-control"), true, true)]
    {
        let (status, said) = as_nobody(&network, group, &["status", "--check"]);
        assert_eq!(
            (status == 0, said.contains("is not for this user")),
            (reads, !reads),
            "{group:?}: {said}"
        );
        let (status, said) = as_nobody(&network, group, &drain);
        assert_eq!(
            (status == 0, said.contains("is not for this user")),
            (controls, !controls),
            "{group:?}: {said}"
        );
    }
    assert_eq!(told(&network, "echo")["overrides"][0]["by"], json!(65534));
}

fn given() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let directory = network.director.runtime_directory();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("ipvsd.toml");
    std::fs::write(&file, text).expect("writing the config");
    std::fs::create_dir_all(&directory).expect("the runtime directory");
    let socket = |name: &str| directory.join(name).display().to_string();
    let mut systemd = Command::new("systemd-socket-activate");
    systemd.args(["--fdname=control:read", "-l", &socket("control.sock"), "-l", &socket("read.sock")]);
    let environment = format!("RUNTIME_DIRECTORY={}", directory.display());
    systemd.args([&format!("--setenv={environment}"), IPVSD, "run", "--config"]).arg(&file);
    let daemon = Process::start(&network.director, &mut systemd);
    daemon.wait_for("Listening on", LIMIT);
    assert_eq!(reading::services(&network.director).len(), 0, "nobody has asked yet");
    // It is started by whoever asks first, and makes no socket of its own in place of these.
    wait_until(LIMIT, "an answer", || run(&network, &["status", "--check"]).0 == 0);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let (status, said) = run(&network, &["reload"]);
    assert_eq!(status, 0, "{said}");
    assert!(!daemon.lines().iter().any(|line| line.contains("no admin socket")), "{:?}", daemon.lines());
}
