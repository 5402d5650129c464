//! ipvsd ends in whatever way and starts again, with another config perhaps: the kernel goes on meanwhile, and afterwards
//! holds what the file says.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lab::{Daemon, Echo, Family, Network, case, reading, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::setup::{LIMIT, PATIENT, command, echoes, ipvsd, key, service, wait_for_weights};
use crate::traffic::{Traffic, longest_way, lost_between};
use crate::watch::Messages;

pub fn tests() -> Vec<Trial> {
    vec![
        case("crash::killed_or_ended_and_started_again_nothing_is_lost", again),
        case("crash::verdicts_survive_and_are_corrected", verdicts),
        case("crash::what_it_created_is_remembered_and_nothing_else_deleted", remembered),
    ]
}

fn server(network: &Network, number: usize) -> SocketAddr {
    SocketAddr::new(network.server_address(number, Family::V4), 5300)
}

/// The service with these servers and their weights.
fn config(network: &Network, weights: &[(usize, u32)]) -> String {
    let entry = |(number, weight): &(usize, u32)| {
        format!("{{ address = \"{}\", weight = {weight} }}", server(network, *number))
    };
    let servers: Vec<String> = weights.iter().map(entry).collect();
    format!(
        "[[service]]\nname = \"echo\"\nlisten = \"{}\"\nscheduler = \"wrr\"\nservers = [{}]\n\
         check = {PATIENT}\ndrain = \"1s\"\n",
        service(Family::V4),
        servers.join(", ")
    )
}

fn end(mut daemon: Daemon, signal: Signal) {
    daemon.signal(signal);
    daemon.wait_exit(LIMIT);
}

/// Waits until the daemon has a verdict on each of three servers, and each is that its weight is right.
fn wait_for_verdicts(daemon: &Daemon) {
    wait_until(LIMIT, "three verdicts", || {
        daemon.lines().iter().filter(|line| line.contains("verdict, weight unchanged")).count() == 3
    });
}

fn again() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let same = config(&network, &[(0, 3), (1, 3), (2, 3)]);
    let mut daemon = ipvsd(&network, &same);
    wait_for_weights(&network, Family::V4, &[3, 3, 3]);
    let traffic = Traffic::start(&network);
    traffic.calm();
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let messages = Messages::start(&network.director);
        end(daemon, signal);
        traffic.replies(300);
        daemon = ipvsd(&network, &same);
        wait_for_verdicts(&daemon);
        // Long enough for a look at the kernel.
        traffic.replies(1200);
        assert_eq!(messages.stop(), [""; 0], "after {signal} the kernel is as it should be");
        network.director.ip(&["link del nlmon0"]);
    }
    // E2 of keepalived: a changed file and a crash; it left all as it was.
    end(daemon, Signal::SIGKILL);
    traffic.replies(300);
    let daemon = ipvsd(&network, &config(&network, &[(0, 7), (1, 3)]));
    traffic.watch.wait(&[7, 3]);
    wait_until(LIMIT, "no reply rule", || {
        !reading::nft(&network.director).contains(&server(&network, 2).ip().to_string())
    });
    let found = reading::services(&network.director);
    assert_eq!((found[0].scheduler.as_str(), found[0].ops), ("wrr", true));
    let before = traffic.watch.states();
    let drained = before.iter().position(|state| state.len() == 3 && state[2] == 0);
    assert!(drained.is_some_and(|at| before[..at].iter().all(|state| state[..2] != [0, 0])), "{before:?}");
    traffic.replies(500);
    let flow = traffic.stop("killed, ended, killed with a changed file");
    assert_eq!(flow.answered.lost, [0; 0]);
    drop(daemon);
}

fn verdicts() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let text = config(&network, &[(0, 1), (1, 1), (2, 1)]);
    let daemon = ipvsd(&network, &text);
    wait_for_weights(&network, Family::V4, &[1, 1, 1]);
    servers[1].kill();
    wait_for_weights(&network, Family::V4, &[1, 0, 1]);
    let traffic = Traffic::start(&network);
    traffic.calm();

    // E12: what is down stays down.
    end(daemon, Signal::SIGKILL);
    let daemon = ipvsd(&network, &text);
    daemon.wait_for("verdict=\"down\"", LIMIT);
    traffic.replies(300);
    assert_eq!(traffic.watch.states(), [[1, 0, 1]]);

    // E5: what was down and lives again comes back. E11: what died meanwhile goes.
    end(daemon, Signal::SIGKILL);
    servers[1] = Echo::start(&network.servers[1], "s1", &[server(&network, 1)]);
    let died = Instant::now();
    servers[2].kill();
    traffic.replies(200);
    let started = Instant::now();
    let _daemon = ipvsd(&network, &text);
    traffic.watch.wait(&[1, 1, 0]);
    let corrected = Instant::now();
    traffic.replies(1000);
    println!("measured: weights corrected {} ms after the start", (corrected - started).as_millis());
    // Three probes: a dead server refuses at once, the rest is for a slow guest.
    assert!(corrected - started < Duration::from_secs(20));
    let flow = traffic.stop("a server died while ipvsd was off");
    assert_eq!(flow.answered.lost.len(), lost_between(&flow, died - longest_way(&flow), corrected));
    let late = flow.answered.replies.iter().filter(|reply| reply.at > corrected);
    let by = |name: &str| late.clone().filter(|reply| reply.server == name).count();
    assert!(by("s0") > 300 && by("s1") > 300 && by("s2") == 0);
}

fn remembered() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let director = &network.director;
    // Two services of somebody else: the config names the second.
    for port in [99, 55] {
        let (vip, server) = (format!("192.0.2.53:{port}"), format!("10.0.1.11:{port}"));
        director.check("ipvsadm", &["-A", "-u", &vip, "-s", "rr", "-o"]);
        director.check("ipvsadm", &["-a", "-u", &vip, "-r", &server, "-m", "-w", "1"]);
    }
    let one = config(&network, &[(0, 1), (1, 1)]);
    let more = |port: u16| {
        format!(
            "[[service]]\nname = \"more-{port}\"\nlisten = \"192.0.2.53:{port}\"\ncheck = \"none\"\n\
             servers = [\"10.0.1.11:{port}\", \"10.0.1.12:{port}\"]\nops = {}\n",
            // Without OPS a VIP is in no rule: the state file alone says whose the service is.
            port == 55
        )
    };
    let count = |port: u16| reading::weights(director, &format!("udp 192.0.2.53:{port}")).len();
    let daemon = ipvsd(&network, &[one.as_str(), &more(54), &more(55)].concat());
    wait_until(LIMIT, "three services", || (count(53), count(54), count(55)) == (2, 2, 2));
    wait_for_weights(&network, Family::V4, &[1, 1]);
    let traffic = Traffic::start(&network);
    traffic.calm();
    end(daemon, Signal::SIGKILL);
    let before = director.check("ipvsadm", &["-Sn"]);

    let wanted = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(wanted.path(), &one).expect("writing the config");
    let wanted = wanted.path().display().to_string();
    let plan = || command(director, &["plan", "--config", &wanted]);
    let (status, out, _) = plan();
    let gone =
        ["- service at 192.0.2.53:54 (", "- server 10.0.1.11:54 at", "- server 10.0.1.12:54 at", "3 changes"];
    assert_eq!((status, out.lines().count()), (3, gone.len()), "{out}");
    assert!(gone.iter().zip(out.lines()).all(|(said, line)| line.starts_with(said)), "{out}");
    let adopted = "192.0.2.53 . 55";
    assert!(reading::nft(director).contains(adopted), "{}", reading::nft(director));

    let file = state_file(&network);
    let good = fs::read(&file).expect("the state file");
    fs::write(&file, &good[..good.len() / 2]).expect("damaging the state file");
    for said in ["the state file is no use", "no state file"] {
        let (status, out, error) = plan();
        assert_eq!((status, out.as_str()), (0, "nothing to do\n"), "{said}");
        assert_eq!(error.contains("the state file is no use"), file.exists(), "{error}");
        let daemon = ipvsd(&network, &one);
        daemon.wait_for(said, LIMIT);
        daemon.wait_for("verdict=\"up\"", LIMIT);
        traffic.replies(1000);
        end(daemon, Signal::SIGKILL);
        assert_eq!(director.check("ipvsadm", &["-Sn"]), before, "{said}: nothing is deleted");
        let _ = fs::remove_file(&file);
    }

    fs::write(&file, &good).expect("the state file as it was");
    let _daemon = ipvsd(&network, &one);
    wait_until(LIMIT, "what ipvsd created goes", || count(54) == 0);
    let kept = ["192.0.2.53:99", "192.0.2.53:55", &key(Family::V4)[4..]];
    let keeps = |line: &&str| kept.iter().any(|vip| line.contains(vip));
    let lines = |text: &str| text.lines().filter(keeps).map(str::to_owned).collect::<Vec<_>>();
    wait_until(LIMIT, "the service itself goes", || !director.check("ipvsadm", &["-Sn"]).contains(":54 "));
    assert_eq!(lines(&director.check("ipvsadm", &["-Sn"])), lines(&before));
    wait_until(LIMIT, "a plan with nothing to do", || plan().0 == 0);
    assert!(reading::nft(director).contains(adopted), "{}", reading::nft(director));
    traffic.replies(300);
    let flow = traffic.stop("a VIP taken from the file while ipvsd was off");
    assert_eq!(flow.answered.lost, [0; 0]);
}

fn state_file(network: &Network) -> PathBuf {
    let directory = network.director.runtime_directory();
    let mut files =
        fs::read_dir(&directory).expect("the runtime directory").flatten().map(|entry| entry.path());
    let states = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    files.find(states).unwrap_or_else(|| panic!("no state file in {}", directory.display()))
}
