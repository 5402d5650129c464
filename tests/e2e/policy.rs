//! What a service does with its verdicts: the fallback, the minimum, the quorum's commands, the slow start.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use lab::{Daemon, Echo, Family, Network, Stream, case, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::setup::{LIMIT, config, echoes, ipvsd, service};
use crate::watch::Watch;

pub fn tests() -> Vec<Trial> {
    vec![
        case("policy::the_fallback_joins_before_the_last_server_leaves", fallback),
        case("policy::below_the_minimum_the_last_healthy_keep_their_weight_and_the_quorum_is_lost", minimum),
        case("policy::a_server_that_returns_starts_slowly", slow_start),
        case("policy::commands_end_with_the_daemon", commands_end),
        case("policy::a_config_or_command_in_other_hands_is_refused", other_hands),
    ]
}

const CHECK: &str = r#"check = { type = "udp", send = "check", expect = "check" }"#;

pub fn restart(network: &Network, number: usize) -> Echo {
    let listen = SocketAddr::new(network.server_address(number, Family::V4), 5300);
    Echo::start(&network.servers[number], &format!("s{number}"), &[listen])
}

fn fallback() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let address = |number| SocketAddr::new(network.server_address(number, Family::V4), 5300);
    let text = format!(
        "[[service]]\nname = \"echo\"\nlisten = \"{}\"\nservers = [\"{}\", \"{}\"]\nfallback = \"{}\"\n{CHECK}\n",
        service(Family::V4),
        address(0),
        address(1),
        address(2)
    );
    let watch = Watch::start(&network.director);
    let daemon = ipvsd(&network, &text);
    watch.wait(&[1, 1, 0]);
    let stream = Stream::new(service(Family::V4)).start(network.client());
    wait_until(LIMIT, "replies", || stream.received() > 200);
    servers[0].kill();
    servers[1].kill();
    let said = daemon.wait_for("all servers are down", LIMIT);
    assert!(said.contains(&address(2).to_string()), "it says who serves now: {said}");
    watch.wait(&[0, 0, 1]);
    let before = stream.received();
    wait_until(LIMIT, "the fallback's replies", || stream.received() > before + 300);
    servers[0] = restart(&network, 0);
    watch.wait(&[1, 0, 0]);
    let before = stream.received();
    wait_until(LIMIT, "replies of the server", || stream.received() > before + 300);
    let flow = stream.stop();
    assert_eq!(flow.answered.sources(), [service(Family::V4)].into());
    let last: Vec<&str> =
        flow.answered.replies.iter().rev().take(100).map(|reply| reply.server.as_str()).collect();
    assert_eq!(last, ["s0"; 100], "the fallback has gone again");
    let filled = watch
        .states()
        .iter()
        .skip_while(|state| **state != vec![1, 1, 0])
        .all(|state| state.iter().any(|weight| *weight > 0));
    assert!(filled, "the pool was empty: {:?}", watch.states());
    assert_eq!(watch.connections(), Vec::<String>::new());
}

fn minimum() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let told = tempfile::tempdir().expect("a directory");
    let told = told.path().join("told");
    let tell = |privileges: &str| {
        let script = "echo $IPVSD_STATE $IPVSD_SERVICE $IPVSD_VIP $IPVSD_SERVERS_UP $(grep CapEff /proc/self/status) >> $0";
        format!(
            "{{ command = [\"/bin/sh\", \"-c\", \"{script}\", \"{}\"], privileges = \"{privileges}\" }}",
            told.display()
        )
    };
    let more = format!(
        "min_healthy = \"60%\"\nquorum = 2\non_up = {}\non_down = {}\n{CHECK}",
        tell("none"),
        tell("network")
    );
    let watch = Watch::start(&network.director);
    let daemon = ipvsd(&network, &config(&network, Family::V4, 5300, &more));
    watch.wait(&[1, 1, 1]);
    servers[2].kill();
    watch.wait(&[1, 1, 0]);
    // Those that fall within one detection time of each other (1.1 s) fall together, and would be kept together.
    std::thread::sleep(Duration::from_secs(3));
    servers[1].kill();
    let said = daemon.wait_for("fewer servers are up than `min_healthy`", LIMIT);
    assert!(said.contains("up=1"), "{said}");
    lines(&told, 2);
    assert_eq!(watch.states().last(), Some(&vec![1, 1, 0]), "the last healthy set keeps its weight");
    servers[2] = restart(&network, 2);
    watch.wait(&[1, 0, 1]);
    let lines = lines(&told, 3);
    let begins = |line: &String| line.split(' ').take(3).map(str::to_owned).collect::<Vec<_>>().join(" ");
    let vip = service(Family::V4);
    let states: Vec<String> = lines.iter().map(begins).collect();
    assert_eq!(states, ["up", "down", "up"].map(|state| format!("{state} echo {vip}")));
    assert!(lines[0].ends_with("CapEff: 0000000000000000"), "{lines:?}");
    assert!(lines[1].ends_with("CapEff: 0000000000003000"), "the network's privileges: {lines:?}");
}

/// Waits until the commands have written so many lines.
pub fn lines(file: &Path, count: usize) -> Vec<String> {
    let read =
        || std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    wait_until(LIMIT, &format!("{count} commands"), || read().len() >= count);
    let lines = read();
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

fn slow_start() {
    let network = Network::new(2);
    let mut servers = echoes(&network, 5300);
    let address = |number| SocketAddr::new(network.server_address(number, Family::V4), 5300);
    let server = |number| format!("{{ address = \"{}\", weight = 20 }}", address(number));
    let text = format!(
        "[[service]]\nname = \"echo\"\nlisten = \"{}\"\nservers = [{}, {}]\nscheduler = \"wrr\"\nslow_start = \"5s\"\n{CHECK}\n",
        service(Family::V4),
        server(0),
        server(1)
    );
    let watch = Watch::start(&network.director);
    let _daemon = ipvsd(&network, &text);
    watch.wait(&[20, 20]);
    servers[1].kill();
    watch.wait(&[20, 0]);
    servers[1] = restart(&network, 1);
    watch.wait(&[20, 20]);
    let states = watch.states();
    let down = states.iter().rposition(|state| *state == vec![20, 0]).expect("it was down");
    let ramp: Vec<u32> = states[down..].iter().map(|state| state[1]).collect();
    assert!(ramp.windows(2).all(|pair| pair[0] < pair[1]), "it only grows: {ramp:?}");
    assert!(ramp.len() > 6 && ramp[1] <= 6, "in steps: {ramp:?}");
    assert!(ramp[1..].iter().all(|weight| weight % 2 == 0), "tenths of 20: {ramp:?}");
}

fn commands_end() {
    let network = Network::new(1);
    let mark = format!("{}.25", 70_000 + std::process::id() % 1000);
    let script = format!("[\"/bin/sh\", \"-c\", \"sleep {mark} & sleep {mark}\"]");
    let service = |name: &str, port: u16, more: &str| {
        let server = SocketAddr::new(network.server_address(0, Family::V4), port);
        format!(
            "[[service]]\nname = \"{name}\"\nlisten = \"192.0.2.53:{port}\"\nservers = [\"{server}\"]\n{more}\n"
        )
    };
    let check =
        format!("check = {{ type = \"exec\", command = {script}, interval = \"1h\", timeout = \"1h\" }}");
    let hook = format!("check = \"none\"\non_up = {{ command = {script}, timeout = \"1h\" }}");
    let text = service("asks", 53, &check) + &service("tells", 54, &hook);
    let mut daemon = ipvsd(&network, &text);
    let running = || {
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line).contains(&format!("sleep\0{mark}"))).count()
    };
    wait_until(LIMIT, "two commands of two processes", || running() == 4);
    daemon.signal(Signal::SIGTERM);
    daemon.wait_exit(LIMIT);
    wait_until(LIMIT, "none is left behind", || running() == 0);
}

fn other_hands() {
    let network = Network::new(1);
    let folder = tempfile::tempdir().expect("a directory");
    let command = folder.path().join("tell");
    std::fs::write(&command, "#!/bin/sh\n").expect("a script");
    let mode = |mode: &str| network.director.check("chmod", &[mode, &command.display().to_string()]);
    mode("777");
    let more = format!("on_up = [\"{}\"]\n{CHECK}", command.display());
    let refused =
        Daemon::start(&network.director, crate::setup::IPVSD, &config(&network, Family::V4, 5300, &more));
    let said = refused.wait_for("may be written by others", LIMIT);
    assert!(said.contains(&command.display().to_string()), "{said}");
    mode("755");
    let _daemon = ipvsd(&network, &config(&network, Family::V4, 5300, &more));
    wait_until(Duration::from_secs(30), "the service", || {
        !lab::reading::services(&network.director).is_empty()
    });
}
