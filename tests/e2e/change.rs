//! Nothing is lost, pinned to a connection or answered from a wrong address while things change under traffic.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{Answer, Family, Flow, Network, Process, case, reading, vip, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::setup::{IPVSD, LIMIT, PATIENT, echoes, ipvsd, service};
use crate::traffic::{Traffic, lost_between};
use crate::watch::{Messages, Watch};

pub fn tests() -> Vec<Trial> {
    vec![
        case("change::a_start_from_nothing_makes_no_connection_and_loses_nothing", start),
        case("change::a_server_is_added_and_taken_by_reload", reload),
        case("change::a_server_is_added_and_taken_by_restart", restart),
        case("change::a_service_that_forwards_already_goes_on", take_over),
        case("change::what_is_its_own_is_removed_and_nothing_else", remove),
        case("change::a_bad_file_changes_nothing", bad_reload),
    ]
}

/// Replies come so late that their server's rule would be gone, were it not kept for them.
const LATE: u64 = 1500;

/// The service with these servers, on port 5300.
fn config(network: &Network, numbers: &[usize], more: &str) -> String {
    let address = |number: &usize| format!("\"{}\"", server(network, *number));
    let servers: Vec<String> = numbers.iter().map(address).collect();
    format!(
        "{more}\n[[service]]\nname = \"echo\"\nlisten = \"{}\"\nservers = [{}]\ncheck = {PATIENT}\ndrain = \"3s\"\n",
        service(Family::V4),
        servers.join(", ")
    )
}

fn server(network: &Network, number: usize) -> SocketAddr {
    SocketAddr::new(network.server_address(number, Family::V4), 5300)
}

fn start() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let traffic = Traffic::start(&network);
    wait_until(LIMIT, "refused datagrams", || traffic.stream.sent() >= 300);
    let _daemon = ipvsd(&network, &config(&network, &[0, 1, 2], ""));
    traffic.watch.wait(&[1, 1, 1]);
    traffic.replies(1000);
    let flow = traffic.stop("a start from nothing");
    let first = flow.answered.replies.iter().map(|reply| flow.sent[reply.number as usize]).min();
    let first = first.expect("a reply");
    assert!(lost_between(&flow, flow.sent[0], first) >= 300, "nobody answered before the start");
    assert_eq!(lost_between(&flow, first, Instant::now()), 0, "one was answered, and later ones were lost");
    assert_eq!(flow.answered.spread().len(), 3);

    let traffic = Traffic::start(&network);
    traffic.replies(2000);
    assert_eq!(
        traffic.stop("no event").answered.lost,
        [0; 0],
        "without an event nothing is lost on this machine"
    );
}

fn reload() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    servers[2].set_answer(Answer::Late(LATE));
    let daemon = ipvsd(&network, &config(&network, &[0, 1], ""));
    let change = |numbers: &[usize]| {
        fs::write(daemon.config_file(), config(&network, numbers, "")).expect("writing the config");
        daemon.signal(Signal::SIGHUP);
    };
    Watch::start(&network.director).wait(&[1, 1]);
    let messages = Messages::start(&network.director);
    let traffic = Traffic::start(&network);
    traffic.calm();
    change(&[0, 1, 2]);
    traffic.watch.wait(&[1, 1, 1]);
    traffic.replies(1000);
    change(&[0, 1]);
    leaves_in_order(&network, &traffic);
    let flow = traffic.stop("a server added and taken by reload");
    assert_eq!(flow.answered.lost, [0; 0]);
    answered_late(&flow);
    let mut asked = messages.stop();
    // Without weight a server needs no rule yet: these two go side by side.
    asked[..2].sort();
    let added = ["add elements", "add server", "set server"];
    let taken = ["set server", "delete server", "delete elements"];
    assert_eq!(asked, [added, taken].concat());
}

fn restart() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    servers[2].set_answer(Answer::Late(LATE));
    let mut daemon = ipvsd(&network, &config(&network, &[0, 1], ""));
    let traffic = Traffic::start(&network);
    traffic.watch.wait(&[1, 1]);
    let answered_from = Instant::now();
    traffic.calm();
    for numbers in [[0, 1, 2].as_slice(), &[0, 1]] {
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.wait_exit(LIMIT).success());
        traffic.replies(500);
        daemon = ipvsd(&network, &config(&network, numbers, ""));
        if numbers.len() == 3 {
            traffic.watch.wait(&[1, 1, 1]);
            traffic.replies(1000);
        } else {
            leaves_in_order(&network, &traffic);
        }
    }
    let flow = traffic.stop("a server added and taken by restart");
    assert_eq!(lost_between(&flow, answered_from, Instant::now()), 0);
    answered_late(&flow);
}

/// Server 2 gets weight 0, may still answer, is deleted, and then its reply rule goes.
fn leaves_in_order(network: &Network, traffic: &Traffic) {
    let drained = traffic.watch.wait(&[1, 1, 0]);
    let deleted = traffic.watch.wait(&[1, 1]);
    let took = deleted.duration_since(drained).expect("first drained, then deleted");
    // 3 s; on a slow guest the first of the two may be seen late.
    assert!(took >= Duration::from_millis(1500), "deleted after {took:?}");
    wait_until(LIMIT, "no reply rule", || {
        !reading::nft(&network.director).contains(&server(network, 2).ip().to_string())
    });
    traffic.replies(300);
}

/// Server 2 did answer, and each time so late that its last replies were on their way when its weight was 0.
fn answered_late(flow: &Flow) {
    let late = flow.answered.replies.iter().filter(|reply| reply.server == "s2");
    let delays: Vec<_> = late.map(|reply| reply.at - flow.sent[reply.number as usize]).collect();
    assert!(delays.len() > 100, "{} replies of server 2", delays.len());
    assert!(delays.iter().all(|delay| *delay >= Duration::from_millis(LATE)));
}

fn take_over() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let vip = service(Family::V4).to_string();
    network.director.check("ipvsadm", &["-A", "-u", &vip, "-s", "wrr", "-o"]);
    for number in 0..3 {
        let server = server(&network, number).to_string();
        network.director.check("ipvsadm", &["-a", "-u", &vip, "-r", &server, "-m", "-w", "3"]);
    }
    let rewrite =
        format!("ip saddr 10.0.1.0/24 udp sport 5300 ip saddr set {} udp sport set 53", lab::vip(Family::V4));
    network.director.nft(&format!(
        "table ip hand {{ chain out {{ type filter hook postrouting priority srcnat; {rewrite}\n}}\n}}"
    ));
    let traffic = Traffic::start(&network);
    traffic.calm();
    let config = config(&network, &[0, 1, 2], "[defaults]\nscheduler = \"wrr\"");
    let _daemon = ipvsd(&network, &config);
    traffic.watch.wait(&[1, 1, 1]);
    // Weights may go down before the rules are there, but not up.
    wait_until(LIMIT, "its own rules", || {
        reading::nft(&network.director).contains("10.0.1.13 . 5300 : goto")
    });
    traffic.replies(300);
    network.director.nft("delete table ip hand");
    traffic.replies(500);
    let states = traffic.watch.states();
    assert!(states.iter().all(|state| state.len() == 3 && !state.contains(&0)), "{states:?}");
    assert_eq!(traffic.stop("takeover of a service with OPS").answered.lost, [0; 0]);
}

fn remove() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let foreign = format!("{}:99", vip(Family::V4));
    network.director.check("ipvsadm", &["-A", "-u", &foreign, "-s", "sh"]);
    network.director.check("ipvsadm", &["-a", "-u", &foreign, "-r", "10.0.1.12:99", "-m", "-w", "5"]);
    network.director.nft(
        "table ip foreign { set s { type ipv4_addr; elements = { 10.0.1.11 }; }\nchain c { type filter hook \
         forward priority 0; ip saddr @s counter accept\n}\n}",
    );
    let held = || (network.director.check("ipvsadm", &["-Sn"]), rules_without_counts(&network));
    let before = held();

    let keep = config(&network, &[0, 1, 2], "");
    let remove = config(&network, &[0, 1, 2], "on_stop = \"remove\"");
    for (text, flush) in [(remove, false), (keep, true)] {
        let mut daemon = ipvsd(&network, &text);
        wait_until(LIMIT, "weights", || {
            reading::weights(&network.director, "udp 192.0.2.53:53") == [1, 1, 1]
        });
        let both = held();
        assert!(both.0.contains(&before.0) || both.0.contains("192.0.2.53:99"), "{}", both.0);
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.wait_exit(LIMIT).success());
        if flush {
            assert_eq!(held(), both, "kept");
            let mut command = Command::new(IPVSD);
            command.arg("flush").arg("--config").arg(daemon.config_file());
            assert!(Process::start(&network.director, &mut command).wait_exit(LIMIT).success());
        }
        assert_eq!(held(), before, "flush: {flush}");
    }
}

/// Probes pass the counter.
fn rules_without_counts(network: &Network) -> String {
    network.director.check("nft", &["-s", "list", "ruleset"])
}

fn bad_reload() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let good = config(&network, &[0, 1, 2], "");
    let daemon = ipvsd(&network, &good);
    let traffic = Traffic::start(&network);
    traffic.watch.wait(&[1, 1, 1]);
    let answered_from = Instant::now();
    traffic.calm();
    let held = || (network.director.check("ipvsadm", &["-Sn"]), reading::nft(&network.director));
    let before = held();
    let messages = Messages::start(&network.director);
    let bad = good
        .replace("drain = \"3s\"", "drain = \"3s\"\nscheduller = \"rr\"")
        .replace("10.0.1.12:5300", "10.0.1.12");
    fs::write(daemon.config_file(), bad).expect("writing the config");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("reload refused, the running config goes on", LIMIT);
    // Lines and columns, both errors at once: line 5 is `servers`, line 8 the key that there is not.
    wait_until(LIMIT, "both places", || {
        let said = daemon.lines().join("\n");
        said.contains("ipvsd.toml:5:") && said.contains("ipvsd.toml:8:1")
    });
    traffic.replies(500);
    assert_eq!(held(), before);
    assert_eq!(traffic.watch.states().last(), Some(&vec![1, 1, 1]));
    let flow = traffic.stop("a reload of a bad file");
    assert_eq!(lost_between(&flow, answered_from, Instant::now()), 0);
    assert_eq!(messages.stop(), [""; 0]);

    fs::write(daemon.config_file(), &good).expect("writing the config");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("reloaded", LIMIT);
}
