//! What goes wrong with keepalived and is in no other theme, in one life of the daemon: the table is cleared and every
//! process gets a SIGHUP (E4), a file is edited in many ways and read again (E7), all servers die (E9).

use std::fs;
use std::time::Instant;

use lab::{Echo, Family, Network, case, reading, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::setup::{LIMIT, PATIENT, echoes, ipvsd, lost_by_schedulers, server, service, wait_for_weights};
use crate::traffic::{Traffic, longest_way, lost_between};

pub fn tests() -> Vec<Trial> {
    vec![case("experiments::a_cleared_table_and_sighup_edits_and_the_death_of_all_servers", all)]
}

fn config(network: &Network, scheduler: &str, weights: [u32; 3]) -> String {
    let entry = |(number, weight): (usize, &u32)| {
        format!("{{ address = \"{}\", weight = {weight} }}", server(network, number, Family::V4))
    };
    let servers: Vec<String> = weights.iter().enumerate().map(entry).collect();
    format!(
        "[[service]]\nname = \"echo\"\nlisten = \"{}\"\nscheduler = \"{scheduler}\"\nservers = [{}]\n\
         check = {PATIENT}\n",
        service(Family::V4),
        servers.join(", ")
    )
}

fn all() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let daemon = ipvsd(&network, &config(&network, "rr", [1, 1, 1]));
    wait_for_weights(&network, Family::V4, &[1, 1, 1]);
    let write = |text: &str| fs::write(daemon.config_file(), text).expect("writing the config");
    let hangup = |said: &str| {
        let count = || daemon.lines().iter().filter(|line| line.contains(said)).count();
        let before = count();
        daemon.signal(Signal::SIGHUP);
        wait_until(LIMIT, said, || count() > before);
    };
    let traffic = Traffic::start(&network);
    traffic.calm();

    // E4: keepalived brings nothing back.
    let cleared = Instant::now();
    network.director.check("ipvsadm", &["-C"]);
    hangup("reloaded");
    wait_for_weights(&network, Family::V4, &[1, 1, 1]);
    let back = Instant::now();
    traffic.replies(300);
    // When each of its processes gets one, it deletes and adds everything.
    let (states, again) = (traffic.watch.states().len(), Instant::now());
    (0..3).for_each(|_| hangup("reloaded"));
    traffic.replies(300);
    assert_eq!(traffic.watch.states().len(), states, "{:?}", traffic.watch.states());

    // E7: edits, a file that is no TOML, and one whose VIP is no address.
    let edited = Instant::now();
    write(&config(&network, "wrr", [1, 1, 1]));
    hangup("reloaded");
    daemon.wait_for("scheduler rr → wrr (about 20 ms of loss)", LIMIT);
    traffic.replies(300);
    let weights = Instant::now();
    let may_be_lost = lost_by_schedulers(&network, 1);
    let good = config(&network, "wrr", [7, 3, 1]);
    write(&good);
    hangup("reloaded");
    wait_for_weights(&network, Family::V4, &[7, 3, 1]);
    for (bad, said) in [
        ("[[service]\n", "ipvsd.toml:1:"),
        (good.replace("192.0.2.53", "192.0.2.530").as_str(), "ipvsd.toml:3:"),
    ] {
        write(bad);
        hangup("reload refused");
        daemon.wait_for(said, LIMIT);
        traffic.replies(300);
    }
    let found = reading::services(&network.director);
    assert_eq!((found[0].scheduler.as_str(), found[0].ops), ("wrr", true));
    assert_eq!(traffic.watch.states().last(), Some(&vec![7, 3, 1]));

    // E9: the service stays as it is, and who is back is asked at once.
    let died = Instant::now();
    servers.iter_mut().for_each(Echo::kill);
    daemon.wait_for("all servers are down: the last healthy ones keep their weight", LIMIT);
    let states = traffic.watch.states();
    let last = states.last().expect("a state");
    assert!(last.len() == 3 && last.iter().any(|weight| *weight > 0), "{states:?}");
    for (number, netns) in network.servers.iter().enumerate() {
        let listen = [server(&network, number, Family::V4)];
        servers[number] = Echo::start(netns, &format!("s{number}"), &listen);
    }
    wait_for_weights(&network, Family::V4, &[7, 3, 1]);
    let alive = Instant::now();
    traffic.replies(500);

    let flow = traffic.stop("E4, E7 and E9 one after the other");
    let lost = |what: &str, since: Instant, until: Instant| {
        let lost = lost_between(&flow, since, until);
        println!("measured: {what}: {lost} lost");
        lost
    };
    // What was on its way when they died is of their death.
    let died = died - longest_way(&flow);
    assert!(lost("E4, ipvsadm -C and SIGHUP", cleared, back) > 0);
    assert_eq!(lost("E4, three SIGHUP", again, edited), 0);
    assert!(lost("E7, another scheduler", edited, weights) <= may_be_lost);
    assert_eq!(lost("E7, weights, two bad files", weights, died), 0);
    assert!(lost("E9, all servers dead", died, alive) > 0);
    assert_eq!(lost("after E9", alive, Instant::now()), 0);
}
