//! ipvsd takes over a service that somebody else programmed and that forwards already: clients that are pinned to a
//! server are freed, and nothing is lost.

use std::fs;
use std::ops::Range;
use std::process::Command;
use std::time::Instant;

use lab::{Daemon, Family, Netns, Network, Process, case, reading, vip, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::setup::{
    LIMIT, PATIENT, config, echoes, ipvsd, lost_by_schedulers, server, service, wait_for_weights,
};
use crate::traffic::{Traffic, lost_between};

const EXPIRE: &str = "net.ipv4.vs.expire_nodest_conn";

pub fn tests() -> Vec<Trial> {
    vec![
        case("takeover::pinned_clients_of_a_service_without_ops_are_freed", || without_ops(Family::V4)),
        case("takeover::pinned_clients_of_a_service_without_ops_are_freed_in_ipv6", || {
            without_ops(Family::V6)
        }),
        case("takeover::the_only_server_is_evicted_when_there_is_another_in_ipv6", || postponed(Family::V6)),
        case("takeover::a_pool_of_nothing_but_a_sorry_server_is_never_empty_in_ipv6", || {
            sorry_server(Family::V6)
        }),
        case("takeover::a_scheduler_that_must_change_is_announced", || scheduler(Family::V4)),
        case("takeover::from_a_running_keepalived_with_ops", || keepalived_with_ops(Family::V4)),
        case("takeover::from_a_running_keepalived_with_pinned_clients_in_ipv6", || {
            keepalived_without_ops(Family::V6)
        }),
        case("takeover::keepalived_stopped_in_order_takes_its_services_along", || {
            keepalived_stopped(Family::V4)
        }),
    ]
}

/// A service made by hand with these options, over these servers.
fn by_hand(network: &Network, family: Family, options: &str, servers: &[usize]) {
    let vip = service(family).to_string();
    let service = ["-A", "-u", &vip].into_iter().chain(options.split(' '));
    network.director.check("ipvsadm", &service.collect::<Vec<_>>());
    for number in servers.iter().copied() {
        let server = server(network, number, family).to_string();
        network.director.check("ipvsadm", &["-a", "-u", &vip, "-r", &server, "-m", "-w", "1"]);
    }
}

fn patient(network: &Network, family: Family) -> String {
    config(network, family, 5300, &format!("check = {PATIENT}"))
}

/// Each client port has its entry.
pub fn wait_until_pinned(network: &Network, traffic: &Traffic) {
    wait_until(LIMIT, "nine entries", || reading::connections(&network.director).len() == 9);
    traffic.calm();
}

/// Nobody is pinned any more, and the sysctl that freed them is as it was.
fn wait_until_free(network: &Network) {
    wait_until(LIMIT, "no entry", || reading::connections(&network.director).is_empty());
    wait_until(LIMIT, "the sysctl as it was", || network.director.sysctl(EXPIRE) == "0");
}

/// Of three servers each gets its third of the datagrams, whatever the port they come from.
fn assert_spread(network: &Network, family: Family) {
    let traffic = Traffic::start_in(network, family);
    traffic.replies(600);
    let flow = traffic.stop("after the takeover");
    let spread = flow.answered.spread();
    let share = flow.sent.len() as u64 / 3;
    assert!(spread.len() == 3 && spread.iter().all(|count| count.abs_diff(share) <= 2), "{spread:?}");
}

fn without_ops(family: Family) {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    by_hand(&network, family, "-s rr", &[0, 1, 2]);
    let traffic = Traffic::start_in(&network, family);
    wait_until_pinned(&network, &traffic);
    let _daemon = ipvsd(&network, &patient(&network, family));
    wait_until_free(&network);
    wait_for_weights(&network, family, &[1, 1, 1]);
    traffic.replies(500);
    let states = traffic.watch.states();
    let out_of: Vec<_> = states.iter().filter(|state| state.len() < 3).collect();
    assert!(out_of.iter().all(|state| *state == &[1, 1]), "one at a time, weights as before: {states:?}");
    let (flow, entries) = traffic.stop_pinned("takeover of a service without OPS");
    assert!(!entries.is_empty() && flow.answered.lost.is_empty(), "{:?}", flow.answered.lost);
    assert_spread(&network, family);
}

fn postponed(family: Family) {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    by_hand(&network, family, "-s rr", &[0]);
    let both = patient(&network, family);
    let one = both.replace(&format!(", \"{}\"", server(&network, 1, family)), "");
    let traffic = Traffic::start_in(&network, family);
    wait_until_pinned(&network, &traffic);
    let mut daemon = ipvsd(&network, &one);
    let said = daemon.wait_for("evicted when another server has weight", LIMIT);
    assert!(said.contains(&server(&network, 0, family).to_string()), "{said}");
    traffic.replies(500);
    assert!(!reading::connections(&network.director).is_empty());
    assert!(traffic.watch.states().iter().all(|state| state == &[1]), "{:?}", traffic.watch.states());
    // A crash forgets neither the eviction nor the sysctl's old value.
    wait_until(LIMIT, "the sysctl set", || network.director.sysctl(EXPIRE) == "1");
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(LIMIT);
    let _daemon = ipvsd(&network, &both);
    wait_until_free(&network);
    wait_for_weights(&network, family, &[1, 1]);
    traffic.replies(500);
    let (flow, _) =
        traffic.stop_pinned("takeover of a service with one server, a crash, and a second server");
    assert_eq!(flow.answered.lost, [0; 0]);
}

/// Who used OPS before ipvsd had to bring the reply rewrite himself.
pub fn rewrite_by_hand(network: &Network, family: Family) {
    let (ip, servers) = if family == Family::V4 { ("ip", "10.0.1.0/24") } else { ("ip6", "fd00:1::/64") };
    let rewrite =
        format!("{ip} saddr {servers} udp sport 5300 {ip} saddr set {} udp sport set 53", vip(family));
    network.director.nft(&format!(
        "table {ip} hand {{ chain out {{ type filter hook postrouting priority srcnat; {rewrite}\n}}\n}}"
    ));
}

/// keepalived has seen all servers down, and has put its sorry server in their place, which the config does not name.
fn sorry_server(family: Family) {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let sorry = server(&network, 2, family);
    let sorry = format!("ops\n sorry_server {} {}", sorry.ip(), sorry.port());
    // Nobody is at port 9.
    let keepalived = virtual_server(&network, family, &sorry, 0..2, "retry 1\n connect_port 9");
    keepalived.parent.wait_for("Adding sorry server", LIMIT);
    wait_for_weights(&network, family, &[1]);
    rewrite_by_hand(&network, family);
    let traffic = Traffic::start_in(&network, family);
    traffic.calm();
    let text = patient(&network, family).replace(&format!(", \"{}\"", server(&network, 2, family)), "")
        + "drain = \"1s\"\n";
    let _daemon = ipvsd(&network, &text);
    traffic.watch.wait(&[1, 1]);
    traffic.replies(500);
    keepalived.kill();
    traffic.replies(1500);
    let states = traffic.watch.states();
    assert!(states.iter().all(|state| state.contains(&1)), "no moment without weight: {states:?}");
    assert!(states.contains(&vec![1, 1, 0]), "it was drained: {states:?}");
    assert_eq!(states.last(), Some(&vec![1, 1]), "{states:?}");
    let flow = traffic.stop("takeover of a sorry server's pool from keepalived");
    assert_eq!(flow.answered.lost, [0; 0]);
    assert_eq!(flow.answered.spread().len(), 3);
}

fn scheduler(family: Family) {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    by_hand(&network, family, "-s wlc -o", &[0, 1, 2]);
    rewrite_by_hand(&network, family);
    let traffic = Traffic::start_in(&network, family);
    traffic.calm();
    let daemon = ipvsd(&network, &patient(&network, family));
    daemon.wait_for("scheduler wlc → rr (about 20 ms of loss)", LIMIT);
    traffic.replies(1000);
    assert_eq!(reading::services(&network.director)[0].scheduler, "rr");
    let flow = traffic.stop("takeover with another scheduler");
    let lost = flow.answered.lost.len();
    assert!(lost <= lost_by_schedulers(&network, 1), "{lost} lost");
}

/// keepalived with all its processes.
pub struct Keepalived {
    /// The process that starts the others; it says what they say.
    pub parent: Process,
    dir: TempDir,
}

impl Keepalived {
    /// Starts it in the namespace, with the half for LVS only.
    pub fn start(netns: &Netns, config: &str) -> Keepalived {
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
    pub fn kill(mut self) {
        let checker = fs::read_to_string(self.dir.path().join("checker.pid")).expect("the checker's number");
        let checker = Pid::from_raw(checker.trim().parse().expect("a number"));
        self.parent.signal(Signal::SIGSTOP);
        kill(checker, Signal::SIGKILL).expect("killing the checker");
        self.parent.signal(Signal::SIGKILL);
        self.parent.wait_exit(LIMIT);
        wait_until(LIMIT, "the checker's end", || kill(checker, None).is_err());
    }
}

/// keepalived with this service, with more lines of its own, over these servers, with more lines for their `UDP_CHECK`.
fn virtual_server(
    network: &Network,
    family: Family,
    more: &str,
    servers: Range<usize>,
    check: &str,
) -> Keepalived {
    let server = |number| {
        format!(
            "real_server {} 5300 {{ weight 1\n UDP_CHECK {{ connect_timeout 3\n {check}\n }}\n }}\n",
            network.server_address(number, family)
        )
    };
    let servers: String = servers.map(server).collect();
    let text = format!(
        "virtual_server {} 53 {{\n delay_loop 1\n lvs_sched rr\n lvs_method NAT\n protocol UDP\n {more}\n {servers}}}\n",
        vip(family)
    );
    Keepalived::start(&network.director, &text)
}

fn keepalived(network: &Network, family: Family, ops: &str) -> Keepalived {
    let keepalived = virtual_server(network, family, ops, 0..3, "retry 3");
    wait_for_weights(network, family, &[1, 1, 1]);
    keepalived.parent.wait_for("Activating healthchecker for service", LIMIT);
    keepalived
}

/// How the reply rule of the last server begins.
fn rule(network: &Network, family: Family) -> String {
    format!("{} . 5300 : goto to-", network.server_address(2, family))
}

/// ipvsd starts beside keepalived, which is then killed.
fn take_over(network: &Network, family: Family, traffic: &Traffic, keepalived: Keepalived) -> Daemon {
    let daemon = ipvsd(network, &patient(network, family));
    daemon.wait_for("keepalived (process ", LIMIT);
    wait_until_free(network);
    wait_until(LIMIT, "its rules", || reading::nft(&network.director).contains(&rule(network, family)));
    wait_for_weights(network, family, &[1, 1, 1]);
    traffic.replies(500);
    keepalived.kill();
    traffic.replies(1500);
    wait_for_weights(network, family, &[1, 1, 1]);
    daemon
}

fn keepalived_with_ops(family: Family) {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    rewrite_by_hand(&network, family);
    let keepalived = keepalived(&network, family, "ops");
    let traffic = Traffic::start_in(&network, family);
    traffic.calm();
    let _daemon = take_over(&network, family, &traffic, keepalived);
    network.director.nft("delete table ip hand");
    traffic.replies(500);
    let states = traffic.watch.states();
    let flow = traffic.stop("takeover from keepalived with OPS");
    assert_eq!(flow.answered.lost, [0; 0]);
    assert_eq!(states, [[1, 1, 1]], "nothing had to change");
}

fn keepalived_without_ops(family: Family) {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let keepalived = keepalived(&network, family, "");
    let traffic = Traffic::start_in(&network, family);
    wait_until_pinned(&network, &traffic);
    let _daemon = take_over(&network, family, &traffic, keepalived);
    let (flow, entries) = traffic.stop_pinned("takeover from keepalived without OPS, with pinned clients");
    assert!(!entries.is_empty() && flow.answered.lost.is_empty(), "{:?}", flow.answered.lost);
    assert_spread(&network, family);
}

fn keepalived_stopped(family: Family) {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    rewrite_by_hand(&network, family);
    let mut keepalived = keepalived(&network, family, "ops");
    let traffic = Traffic::start_in(&network, family);
    traffic.calm();
    let daemon = ipvsd(&network, &patient(&network, family));
    wait_until(LIMIT, "its rules", || reading::nft(&network.director).contains(&rule(&network, family)));
    let since = Instant::now();
    keepalived.parent.signal(Signal::SIGTERM);
    keepalived.parent.wait_exit(LIMIT);
    // It deletes the service with all its servers; in between ipvsd may have been repairing.
    daemon.wait_for("drift, repaired", LIMIT);
    wait_for_weights(&network, family, &[1, 1, 1]);
    let until = Instant::now();
    traffic.replies(1500);
    wait_for_weights(&network, family, &[1, 1, 1]);
    let flow = traffic.stop("keepalived stopped in order, and the table repaired");
    let (lost, within) = (flow.answered.lost.len(), lost_between(&flow, since, until));
    assert!(lost > 0 && lost == within, "{lost} lost, {within} of them before the repair");
}
