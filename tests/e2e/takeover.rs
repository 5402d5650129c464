//! ipvsd takes over a service that somebody else programmed and that forwards already: clients that are pinned to a
//! server are freed, and nothing is lost.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use lab::{Daemon, Family, Netns, Network, Process, case, reading, vip, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::setup::{LIMIT, PATIENT, config, echoes, ipvsd, service, wait_for_weights};
use crate::traffic::{Traffic, measured};

const FAMILY: Family = Family::V4;
const EXPIRE: &str = "net.ipv4.vs.expire_nodest_conn";

pub fn tests() -> Vec<Trial> {
    vec![
        case("takeover::pinned_clients_of_a_service_without_ops_are_freed", without_ops),
        case("takeover::the_only_server_is_evicted_when_there_is_another", postponed),
        case("takeover::from_a_running_keepalived_with_ops", keepalived_with_ops),
        case("takeover::from_a_running_keepalived_with_pinned_clients", keepalived_without_ops),
    ]
}

/// A service without OPS, made by hand over these servers.
fn by_hand(network: &Network, servers: usize) {
    let vip = service(FAMILY).to_string();
    network.director.check("ipvsadm", &["-A", "-u", &vip, "-s", "rr"]);
    for number in 0..servers {
        let server = SocketAddr::new(network.server_address(number, FAMILY), 5300).to_string();
        network.director.check("ipvsadm", &["-a", "-u", &vip, "-r", &server, "-m", "-w", "1"]);
    }
}

fn patient(network: &Network) -> String {
    config(network, FAMILY, 5300, &format!("check = {PATIENT}"))
}

/// Each client port has its entry.
fn wait_until_pinned(network: &Network, traffic: &Traffic) {
    wait_until(LIMIT, "eight entries", || reading::connections(&network.director).len() == 8);
    traffic.replies(300);
}

/// Nobody is pinned any more, and the sysctl that freed them is as it was.
fn wait_until_free(network: &Network) {
    wait_until(LIMIT, "no entry", || reading::connections(&network.director).is_empty());
    wait_until(LIMIT, "the sysctl as it was", || network.director.sysctl(EXPIRE) == "0");
}

/// Of three servers each gets its third of the datagrams, whatever the port they come from.
fn assert_spread(network: &Network) {
    let traffic = Traffic::start(network);
    traffic.replies(600);
    let flow = traffic.stop();
    let spread = flow.answered.spread();
    let share = flow.sent.len() as u64 / 3;
    assert!(spread.len() == 3 && spread.iter().all(|count| count.abs_diff(share) <= 2), "{spread:?}");
}

fn without_ops() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    by_hand(&network, 3);
    let traffic = Traffic::start(&network);
    wait_until_pinned(&network, &traffic);
    let _daemon = ipvsd(&network, &patient(&network));
    wait_until_free(&network);
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    traffic.replies(500);
    let states = traffic.watch.states();
    let out_of: Vec<_> = states.iter().filter(|state| state.len() < 3).collect();
    assert!(out_of.iter().all(|state| *state == &[1, 1]), "one at a time, weights as before: {states:?}");
    let (flow, entries) = traffic.stop_pinned();
    measured("takeover of a service without OPS", &flow);
    assert!(!entries.is_empty() && flow.answered.lost.is_empty(), "{:?}", flow.answered.lost);
    assert_spread(&network);
}

fn postponed() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    by_hand(&network, 1);
    let both = patient(&network);
    let one = both.replace(", \"10.0.1.12:5300\"", "");
    let traffic = Traffic::start(&network);
    wait_until_pinned(&network, &traffic);
    let mut daemon = ipvsd(&network, &one);
    let said = daemon.wait_for("evicted when another server has weight", LIMIT);
    assert!(said.contains("10.0.1.11:5300"), "{said}");
    traffic.replies(500);
    assert!(!reading::connections(&network.director).is_empty());
    assert!(traffic.watch.states().iter().all(|state| state == &[1]), "{:?}", traffic.watch.states());
    // A crash forgets neither the eviction nor the sysctl's old value.
    wait_until(LIMIT, "the sysctl set", || network.director.sysctl(EXPIRE) == "1");
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(LIMIT);
    let _daemon = ipvsd(&network, &both);
    wait_until_free(&network);
    wait_for_weights(&network, FAMILY, &[1, 1]);
    traffic.replies(500);
    let (flow, _) = traffic.stop_pinned();
    measured("takeover of a service with one server, a crash, and a second server", &flow);
    assert_eq!(flow.answered.lost, [0; 0]);
}

/// keepalived with all its processes.
struct Keepalived {
    parent: Process,
    dir: TempDir,
}

impl Keepalived {
    fn start(netns: &Netns, config: &str) -> Keepalived {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("keepalived.conf");
        fs::write(&file, config).expect("writing keepalived's config");
        let mut command = Command::new("keepalived");
        command.args(["--dont-fork", "--log-console", "--log-detail", "--check", "--use-file"]).arg(file);
        command.arg("--pid").arg(dir.path().join("parent.pid"));
        command.arg("--checkers_pid").arg(dir.path().join("checker.pid"));
        Keepalived { parent: Process::start(netns, &mut command), dir }
    }

    /// All at once, the checker first: it can neither clean up nor be started again.
    fn kill(mut self) {
        let checker = fs::read_to_string(self.dir.path().join("checker.pid")).expect("the checker's number");
        let checker = Pid::from_raw(checker.trim().parse().expect("a number"));
        self.parent.signal(Signal::SIGSTOP);
        kill(checker, Signal::SIGKILL).expect("killing the checker");
        self.parent.signal(Signal::SIGKILL);
        self.parent.wait_exit(LIMIT);
        wait_until(LIMIT, "the checker's end", || kill(checker, None).is_err());
    }
}

fn keepalived(network: &Network, ops: &str) -> Keepalived {
    let server = |number| {
        format!(
            "real_server {} 5300 {{ weight 1\n UDP_CHECK {{ connect_timeout 3\n retry 3\n }}\n }}\n",
            network.server_address(number, FAMILY)
        )
    };
    let servers: String = (0..3).map(server).collect();
    let text = format!(
        "virtual_server {} 53 {{\n delay_loop 1\n lvs_sched rr\n lvs_method NAT\n protocol UDP\n {ops}\n {servers}}}\n",
        vip(FAMILY)
    );
    let keepalived = Keepalived::start(&network.director, &text);
    wait_for_weights(network, FAMILY, &[1, 1, 1]);
    keepalived.parent.wait_for("Activating healthchecker for service", LIMIT);
    keepalived
}

/// ipvsd starts beside keepalived, which is then killed.
fn take_over(network: &Network, traffic: &Traffic, keepalived: Keepalived) -> Daemon {
    let daemon = ipvsd(network, &patient(network));
    wait_until_free(network);
    wait_until(LIMIT, "its rules", || {
        reading::nft(&network.director).contains("10.0.1.13 . 5300 : goto to-192.0.2.53-port-53")
    });
    wait_for_weights(network, FAMILY, &[1, 1, 1]);
    traffic.replies(500);
    keepalived.kill();
    traffic.replies(1500);
    wait_for_weights(network, FAMILY, &[1, 1, 1]);
    daemon
}

fn keepalived_with_ops() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    // keepalived's users have to bring the reply rewrite themselves.
    let rewrite =
        format!("ip saddr 10.0.1.0/24 udp sport 5300 ip saddr set {} udp sport set 53", vip(FAMILY));
    network.director.nft(&format!(
        "table ip hand {{ chain out {{ type filter hook postrouting priority srcnat; {rewrite}\n}}\n}}"
    ));
    let keepalived = keepalived(&network, "ops");
    let traffic = Traffic::start(&network);
    traffic.replies(300);
    let _daemon = take_over(&network, &traffic, keepalived);
    network.director.nft("delete table ip hand");
    traffic.replies(500);
    let states = traffic.watch.states();
    let flow = traffic.stop();
    measured("takeover from keepalived with OPS", &flow);
    assert_eq!(flow.answered.lost, [0; 0]);
    assert_eq!(states, [[1, 1, 1]], "nothing had to change");
}

fn keepalived_without_ops() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let keepalived = keepalived(&network, "");
    let traffic = Traffic::start(&network);
    wait_until_pinned(&network, &traffic);
    let _daemon = take_over(&network, &traffic, keepalived);
    let (flow, entries) = traffic.stop_pinned();
    measured("takeover from keepalived without OPS, with pinned clients", &flow);
    assert!(!entries.is_empty() && flow.answered.lost.is_empty(), "{:?}", flow.answered.lost);
    assert_spread(&network);
}
