//! Each server by its own check, probes from where the config says, and weights that checks give as keepalived's do.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use lab::{Answer, Capture, Family, Network, Packet, case, wait_until};
use libtest_mimic::Trial;

use crate::setup::{LIMIT, PATIENT, command, config, echoes, ipvsd, server, service, wait_for_weights};

pub fn tests() -> Vec<Trial> {
    vec![
        case("probes::a_server_is_asked_by_its_own_check", own_check),
        case("probes::they_come_from_the_source_by_the_interface_and_with_the_mark", origin),
        case("probes::an_exit_status_and_numbers_in_files_are_weights", weights),
    ]
}

fn own_check() {
    let network = Network::new(4);
    let mut echoes = echoes(&network, 5300);
    let at = |number| server(&network, number, Family::V4);
    let settings = |own: &str| {
        format!(
            "[[service]]\nname = \"echo\"\nlisten = \"{}\"\ncheck = {PATIENT}\n\
             servers = [\"{}\", {{ address = \"{}\"{own} }}, {{ address = \"{}\", check = \"none\" }}, \"{}\"]\n",
            service(Family::V4),
            at(0),
            at(1),
            at(2),
            at(3)
        )
    };
    let daemon = ipvsd(&network, &settings(", check = \"icmp\""));
    wait_for_weights(&network, Family::V4, &[1, 1, 1, 1]);
    for echo in &mut echoes[..3] {
        echo.set_answer(Answer::Text("sorry".to_owned()));
    }
    wait_for_weights(&network, Family::V4, &[0, 1, 1, 1]);
    // The service's check is for it, too, from now on.
    std::fs::write(daemon.config_file(), settings("")).expect("the config");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for_weights(&network, Family::V4, &[0, 0, 1, 1]);
}

/// How many packets the rules have counted, in their order.
fn counted(netns: &lab::Netns) -> Vec<u64> {
    let listing = netns.check("nft", &["list", "table", "inet", "counts"]);
    let counters = listing.lines().filter_map(|line| line.split_once("counter packets "));
    counters.map(|(_, rest)| rest.split(' ').next().expect("a number").parse().expect("a number")).collect()
}

fn origin() {
    let network = Network::new(2);
    let _echoes = echoes(&network, 5300);
    network.director.ip(&["addr add 10.0.1.77/24 dev back"]);
    network.director.nft(
        "table inet counts { chain out { type filter hook output priority 0
             ip saddr 10.0.1.77 meta mark 7 oifname back udp dport 5300 counter
             ip saddr 10.0.1.77 meta mark 7 oifname back meta l4proto icmp counter
             ip saddr 10.0.1.77 meta mark != 7 counter
         }; }",
    );
    let from =
        "interface = \"back\", mark = 7, interval = \"300ms\", timeout = \"5s\", retry_interval = \"1s\"";
    let checks = format!(
        "check = [{{ type = \"udp\", send = \"check\", expect = \"check\", source = \"10.0.1.77:5000\", {from} }}, \
         {{ type = \"icmp\", source = \"10.0.1.77\", {from} }}]"
    );
    let capture = Capture::start(&network.servers[1]);
    let daemon = ipvsd(&network, &config(&network, Family::V4, 5300, &checks));
    wait_for_weights(&network, Family::V4, &[1, 1]);
    wait_until(LIMIT, "some more probes", || counted(&network.director)[..2].iter().all(|count| *count > 8));
    assert_eq!(counted(&network.director)[2], 0, "all are marked");
    let source: SocketAddr = "10.0.1.77:5000".parse().expect("an address");
    let packets = capture.stop();
    let to_it = |packet: &&Packet| !packet.outgoing && packet.destination == server(&network, 1, Family::V4);
    let probes: Vec<_> = packets.iter().filter(to_it).collect();
    assert!(probes.len() > 2 && probes.iter().all(|probe| probe.source == source), "{probes:#?}");
    let pings = packets.iter().filter(|packet| packet.protocol == 1 && !packet.outgoing);
    assert!(pings.clone().count() > 2 && pings.clone().all(|ping| ping.source.ip() == source.ip()));

    // Without the address there is no probe, and no word about the servers.
    network.director.ip(&["addr del 10.0.1.77/24 dev back"]);
    daemon.wait_for("Probes are left out: none can be sent from 10.0.1.77", LIMIT);
    let explain = || command(&network.director, &["explain", "echo"]).1;
    wait_until(LIMIT, "all are left out", || explain().matches(" ago: left out").count() == 4);
    wait_for_weights(&network, Family::V4, &[1, 1]);
}

/// The numbers are those that keepalived 2.2.7 gave for the same (MISC_CHECK with misc_dynamic, FILE_CHECK).
fn weights() {
    let network = Network::new(3);
    let _echoes = echoes(&network, 5300);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| {
        std::fs::write(path("new"), text).expect("a file");
        std::fs::rename(path("new"), path(name)).expect("a file");
    };
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("a folder");
    for (name, text) in [("status", "0"), ("added", "0"), ("faults", "0")] {
        write(name, text);
    }
    let script = format!("exit $(cat {})", path("status"));
    let exec = format!(
        "{{ type = \"exec\", command = [\"/bin/sh\", \"-c\", \"{script}\"], weight = \"status\", interval = \"500ms\", timeout = \"20s\" }}"
    );
    let file = |name: &str, keys: &str| {
        format!("{{ type = \"file\", path = \"{}\", timeout = \"20s\", {keys} }}", path(name))
    };
    let (added, faults) = (file("added", "weight = { times = 2 }"), file("faults", "down = \"nonzero\""));
    let of = |number, checks: &str| {
        let address = server(&network, number, Family::V4);
        format!("{{ address = \"{address}\", weight = 10, check = [{checks}] }}")
    };
    let servers = [of(0, &exec), of(1, &format!("{exec}, {added}")), of(2, &format!("{faults}, {added}"))];
    let _daemon = ipvsd(
        &network,
        &format!(
            "[[service]]\nname = \"echo\"\nlisten = \"{}\"\nscheduler = \"wrr\"\nservers = [{}]\n",
            service(Family::V4),
            servers.join(", ")
        ),
    );
    let wait = |weights: &[u32]| wait_for_weights(&network, Family::V4, weights);
    wait(&[10, 10, 10]);
    write("status", "7");
    wait(&[5, 5, 10]);
    write("added", "4");
    wait(&[5, 13, 18]);
    write("status", "255");
    wait(&[253, 261, 18]);
    write("added", "-5");
    wait(&[253, 243, 0]);
    write("status", "2");
    write("added", "1000");
    wait(&[0, 2000, 2010]);
    write("status", "1");
    wait(&[0, 0, 2010]);
    write("status", "0");
    write("added", "0");
    wait(&[10, 10, 10]);
    write("faults", "3");
    wait(&[10, 10, 0]);
}
