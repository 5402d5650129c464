//! What is told where it is hard to tell: nft hangs, a server has two checks of one type, drift is left, a word holds for ever.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lab::{Daemon, Family, Network, case, reading, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::faults::Nft;
use crate::metrics::{METRICS, both, get, told};
use crate::setup::{LIMIT, PATIENT, command, config, echoes, ipvsd, key, server, service, wait_for_weights};

const FAMILY: Family = Family::V4;
const LISTEN: &str = "[metrics]\nlisten = \"127.0.0.1:9532\"\n";

pub fn tests() -> Vec<Trial> {
    vec![
        case("told::a_hung_nft_hides_nothing", hung),
        case("told::each_series_is_there_once", once),
        case("told::drift_that_is_left_is_not_ready", left),
        case("told::a_word_for_ever_is_over_restarts", ever),
        case("told::words_on_all_kinds_of_servers", words),
        case("told::who_holds_the_socket_holds_it_for_a_while_only", sockets),
    ]
}

fn hung() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let nft = Nft::new(&network);
    let text = format!("{LISTEN}{}", config(&network, FAMILY, 5300, &format!("check = {PATIENT}")));
    let _daemon = Daemon::start(&network.director, nft.ipvsd(), &text);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let before = told(&network);
    assert!(!before["counted"].is_null(), "{before:#}");
    nft.script("nft", "exec sleep 600");
    std::thread::sleep(Duration::from_millis(1500));
    let began = Instant::now();
    let after = told(&network);
    println!("measured: status took {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(9));
    assert_eq!(after["counted"], before["counted"], "the last ones, with their age");
    let _ = both(&after["services"][0]["traffic"], "packets");
    let (_, plain, _) = command(&network.director, &["status"]);
    println!("{plain}");
    let (status, text) = get(&network.director, METRICS, "/metrics", "*/*").expect("an answer");
    assert_eq!(status, 200, "{text}");
    assert_eq!(get(&network.director, METRICS, "/healthz", "*/*").map(|it| it.0), Some(200));
    assert_eq!(command(&network.director, &["status", "--check"]).0, 0);
}

fn once() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let other = PATIENT.replace("check", "other");
    let text =
        format!("{LISTEN}{}", config(&network, FAMILY, 5300, &format!("check = [{PATIENT}, {other}]")));
    let _daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let (_, text) = get(&network.director, METRICS, "/metrics", "*/*").expect("an answer");
    let series: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|it| it.0)
        .collect();
    assert!(text.contains("ipvsd_probe_latency_seconds{"), "{text}");
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = series.iter().filter(|it| !seen.insert(**it)).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

fn left() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let text = format!(
        "{LISTEN}{}",
        config(&network, FAMILY, 5300, &format!("check = {PATIENT}\ndrift = \"report\""))
    );
    let daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let ready = || get(&network.director, METRICS, "/readyz", "*/*").expect("an answer");
    wait_until(LIMIT, "ready", || ready().0 == 200);
    let (vip, first) = (service(FAMILY).to_string(), server(&network, 0, FAMILY).to_string());
    network.director.check("ipvsadm", &["-e", "-u", &vip, "-r", &first, "-m", "-w", "0"]);
    daemon.wait_for("drift, only reported", LIMIT);
    wait_until(LIMIT, "not ready", || {
        let (status, said) = ready();
        status == 503 && said.contains(&first)
    });
    println!("{:?}\n{}", ready(), command(&network.director, &["status"]).1);
    assert_eq!(command(&network.director, &["reload"]).0, 0);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    wait_until(LIMIT, "ready again", || ready().0 == 200);
}

fn ever() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let mut daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let first = server(&network, 0, FAMILY).to_string();
    let (status, out, said) =
        command(&network.director, &["drain", "echo", &first, "--for", "400000000000y"]);
    println!("{status} {out}{said}");
    wait_for_weights(&network, FAMILY, &[0, 1]);
    println!("{}", command(&network.director, &["status"]).1);
    println!("{}", command(&network.director, &["explain", "echo"]).1);
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(LIMIT);
    let daemon = ipvsd(&network, &text);
    daemon.wait_for("started", LIMIT);
    wait_until(LIMIT, "verdicts", || told(&network)["ready"] == json!(true));
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [0, 1]);
    println!("{}", command(&network.director, &["explain", "echo"]).1);
    assert_eq!(command(&network.director, &["undrain", "echo", &first]).0, 0);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let explained = command(&network.director, &["explain", "echo", &first, "--json"]).1;
    let explained: Value = serde_json::from_str(&explained).expect("JSON");
    let by = |note: &&Value| note["by"] == json!(0);
    assert_eq!(explained["history"].as_array().expect("notes").iter().filter(by).count(), 2, "{explained:#}");
}

fn words() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let two = |family| format!("{}, {}", quoted(&network, 0, family), quoted(&network, 1, family));
    let text = |servers: &str| {
        format!(
            "[[service]]\nname = \"both\"\nlisten = [\"{}\", \"{}\"]\nservers = [{servers}]\nscheduler = \"wrr\"\n\
             when_all_down = \"fallback\"\nfallback = [{}, {}]\ndrain = \"1s\"\ncheck = {PATIENT}\n",
            service(Family::V4),
            service(Family::V6),
            quoted(&network, 2, Family::V4),
            quoted(&network, 2, Family::V6),
        )
    };
    let all = format!("{}, {}", two(Family::V4), two(Family::V6));
    let daemon = ipvsd(&network, &text(&all));
    let run = |arguments: &[&str]| {
        let (status, out, said) = command(&network.director, arguments);
        println!("$ ipvsd {} → {status}\n{out}{said}", arguments.join(" "));
        (status, out + &said)
    };
    for family in Family::BOTH {
        wait_for_weights(&network, family, &[1, 1, 0]);
    }
    run(&["status"]);
    // Of one family only, and by an address as somebody writes it.
    let v6 = network.server_address(0, Family::V6).to_string();
    assert_eq!(run(&["weight", "both", &v6, "7"]).0, 0);
    wait_for_weights(&network, Family::V6, &[7, 1, 0]);
    wait_for_weights(&network, Family::V4, &[1, 1, 0]);
    assert_eq!(run(&["status", "both", "--json"]).0, 0);
    assert_eq!(run(&["explain", "both", &format!("[{v6}]")]).0, 0, "as in brackets");
    // It is taken from the file and comes back.
    let without = all.replace(&format!("{}, ", quoted(&network, 0, Family::V6)), "");
    assert_ne!(without, all);
    fs::write(daemon.config_file(), text(&without)).expect("writing the config");
    assert_eq!(run(&["reload"]).0, 0);
    wait_for_weights(&network, Family::V6, &[1, 0]);
    let (_, said) = run(&["status"]);
    assert!(said.contains("the config does not have it"), "{said}");
    fs::write(daemon.config_file(), text(&all)).expect("writing the config");
    assert_eq!(run(&["reload"]).0, 0);
    wait_for_weights(&network, Family::V6, &[7, 1, 0]);
    // A dead server: drained and undrained, it stays dead.
    servers[1].kill();
    wait_for_weights(&network, FAMILY, &[1, 0, 0]);
    let second = server(&network, 1, FAMILY).to_string();
    assert_eq!(run(&["drain", "both", &second]).0, 0);
    let (_, said) = run(&["status"]);
    assert!(said.contains("refused"), "drained and dead: {said}");
    assert_eq!(run(&["undrain", "both", &second]).0, 0);
    assert_eq!(run(&["status"]).0, 0);
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 0, 0]);
    // The fallback: drained it does not step in.
    let third = server(&network, 2, FAMILY).to_string();
    assert_eq!(run(&["drain", "both", &third]).0, 0);
    servers[0].kill();
    wait_until(LIMIT, "all down", || run(&["status", "--check", "both"]).1.contains("0 up"));
    wait_for_weights(&network, Family::V6, &[0, 0, 1]);
    let v4 = reading::weights(&network.director, &key(FAMILY));
    assert_eq!(v4, [0, 0, 0], "no fallback, as the operator said");
    assert_eq!(run(&["undrain", "both", &third]).0, 0);
    wait_for_weights(&network, FAMILY, &[0, 0, 1]);
    run(&["explain", "both"]);
}

fn quoted(network: &Network, number: usize, family: Family) -> String {
    format!("\"{}\"", SocketAddr::new(network.server_address(number, family), 5300))
}

fn sockets() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let daemon = ipvsd(&network, &config(&network, FAMILY, 5300, &format!("check = {PATIENT}")));
    wait_for_weights(&network, FAMILY, &[1, 1]);
    let socket = network.director.runtime_directory().join("read.sock");
    let held: Vec<_> = (0..33).map(|_| UnixStream::connect(&socket).expect("a connection")).collect();
    let began = Instant::now();
    assert_eq!(command(&network.director, &["status", "--check"]).0, 0);
    println!("measured: {:?} with 33 connections before it", began.elapsed());
    drop(held);
    daemon.signal(Signal::SIGSTOP);
    let began = Instant::now();
    assert_eq!(command(&network.director, &["status", "--check"]).0, 1);
    println!("measured: {:?} for a daemon that hangs", began.elapsed());
    daemon.signal(Signal::SIGCONT);
    assert_eq!(command(&network.director, &["reload"]).0, 0);
    wait_until(LIMIT, "who it was", || {
        let out = command(&network.director, &["explain", "echo", "--json"]).1;
        let out: Value = serde_json::from_str(&out).expect("JSON");
        let is = |note: &Value| {
            note["by"] == json!(0) && note["what"].as_str().is_some_and(|it| it.contains("read again"))
        };
        out["history"].as_array().expect("notes").iter().any(is)
    });
    assert!(
        daemon.lines().iter().any(|line| line.contains("reloaded") && line.contains("by=")),
        "{:?}",
        daemon.lines()
    );
}
