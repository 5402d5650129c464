//! The main job of ipvsd, shown: run by `examples/demo/run` on a kernel with IPVS.
//! Arguments: the program ipvsd, and the config.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lab::{Answered, Burst, Daemon, Echo, Family, Network, Stream, reading, vip, wait_until};
use nix::sys::signal::Signal;

const LIMIT: Duration = Duration::from_secs(30);

fn main() {
    lab::agent_main();
    let mut arguments = std::env::args().skip(1);
    let (Some(program), Some(config)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: demo IPVSD CONFIG");
        std::process::exit(2);
    };
    let config = std::fs::read_to_string(&config).unwrap_or_else(|error| panic!("{config}: {error}"));

    title("A client, a director and three servers, each a network namespace");
    let network = Network::new(3);
    println!(
        "client    {}, {}",
        network.client_address(0, Family::V4),
        network.client_address(0, Family::V6)
    );
    println!("director  VIPs {} and {}", vip(Family::V4), vip(Family::V6));
    let mut servers: Vec<Echo> = (0..3).map(|number| echo(&network, number)).collect();
    for number in 0..3 {
        let address = |family| network.server_address(number, family);
        println!(
            "s{number}        echoes on port 5300 of {} and {}",
            address(Family::V4),
            address(Family::V6)
        );
    }

    title("ipvsd run --config examples/demo/ipvsd.toml");
    let mut shown = 0;
    let mut daemon = Daemon::start(&network.director, &program, &config);
    wait_for_weights(&network, &[1, 1, 1]);
    log(&daemon, &mut shown);

    title("ipvsadm -Ln");
    print!("{}", network.director.check("ipvsadm", &["-Ln"]));

    for family in Family::BOTH {
        let service = SocketAddr::new(vip(family), 53);
        title(&format!("30 datagrams from ONE client port to {service}"));
        show(&Burst::new(service, 30).run(network.client()));
    }

    title("500 datagrams a second, and s1 is killed");
    let service = SocketAddr::new(vip(Family::V4), 53);
    let running = Stream { rate: 500, ..Stream::new(service) }.start(network.client());
    wait_until(LIMIT, "answers", || running.received() > 500);
    servers[1].kill();
    let killed = Instant::now();
    wait_for_weights(&network, &[1, 0, 1]);
    println!("s1 has weight 0 in the kernel {:.2} s after its death", killed.elapsed().as_secs_f64());
    let sent = running.sent();
    wait_until(LIMIT, "more answers", || running.sent() > sent + 500);
    let flow = running.stop();
    println!(
        "{} datagrams sent, {} went to s1 between its death and weight 0",
        flow.sent.len(),
        flow.answered.lost.len()
    );
    log(&daemon, &mut shown);
    show(&Burst::new(service, 30).run(network.client()));

    title("s1 lives again");
    servers[1] = echo(&network, 1);
    let born = Instant::now();
    wait_for_weights(&network, &[1, 1, 1]);
    println!("s1 has its weight back after {:.2} s", born.elapsed().as_secs_f64());
    log(&daemon, &mut shown);
    show(&Burst::new(service, 30).run(network.client()));

    title("ipvsd is ended, and the kernel goes on");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_exit(LIMIT);
    log(&daemon, &mut shown);
    show(&Burst::new(service, 30).run(network.client()));
    println!("connection entries in /proc/net/ip_vs_conn: {}", reading::connections(&network.director).len());
    print!("{}", network.director.check("ipvsadm", &["-Ln"]));
}

fn title(text: &str) {
    println!("\n== {text}");
}

fn echo(network: &Network, number: usize) -> Echo {
    let listen = Family::BOTH.map(|family| SocketAddr::new(network.server_address(number, family), 5300));
    Echo::start(&network.servers[number], &format!("s{number}"), &listen)
}

fn show(answered: &Answered) {
    let servers = answered.by_server();
    let counts: Vec<String> = servers.iter().map(|(server, count)| format!("{server} {count}")).collect();
    let sources: BTreeSet<String> = answered.sources().iter().map(ToString::to_string).collect();
    let sources: Vec<String> = sources.into_iter().collect();
    println!(
        "answered by {}; lost {}; replies come from {}",
        counts.join(", "),
        answered.lost.len(),
        sources.join(", ")
    );
}

/// The daemon's log since it was last shown.
fn log(daemon: &Daemon, shown: &mut usize) {
    for line in daemon.lines().iter().skip(*shown) {
        println!("  | {line}");
        *shown += 1;
    }
}

/// Waits until both services have these weights in the kernel.
fn wait_for_weights(network: &Network, weights: &[u32]) {
    wait_until(LIMIT, &format!("weights {weights:?} in the kernel"), || {
        let services = reading::services(&network.director);
        services.len() == 2
            && services.iter().all(|service| {
                let mut servers: Vec<(IpAddr, u32)> =
                    service.servers.iter().map(|server| (server.address.ip(), server.weight)).collect();
                servers.sort();
                servers.into_iter().map(|(_, weight)| weight).eq(weights.iter().copied())
            })
    });
}
