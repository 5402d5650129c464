//! A daemon that has nothing to do but to look.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use lab::{Daemon, Netns, wait_until};

use crate::meter::{Meter, figure};
use crate::table::{SERVERS, SERVICES, server, vip};

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

/// 1 000 services with 10 servers each, no checks: what looking costs.
pub fn without_checks() {
    let director = Netns::new("director");
    director.set_sysctl("net.ipv4.ip_forward", "1");
    let daemon = Daemon::start(&director, IPVSD, &config("\"none\""));
    let converged = || {
        let table = director.run(|| fs::read_to_string("/proc/thread-self/net/ip_vs")).unwrap_or_default();
        let weighted = table.lines().filter(|line| line.contains("Masq    1 "));
        weighted.count() == (SERVICES * SERVERS) as usize
    };
    wait_until(Duration::from_secs(120), "all servers with weight", converged);
    let meter = Meter::of(daemon.id());
    std::thread::sleep(Duration::from_secs(10));
    figure(
        "idle daemon, 1 000 × 10, all looking: each second",
        meter.each_second(Duration::from_secs(60)),
        "target < 20.0 M",
    );
}

fn config(check: &str) -> String {
    let mut text = String::new();
    for service in 0..SERVICES {
        let servers: Vec<String> =
            (0..SERVERS).map(|number| format!("\"{}\"", server(service, number))).collect();
        let _ = writeln!(
            text,
            "[[service]]\nname = \"s{service}\"\nlisten = \"{}\"\nservers = [{}]\ncheck = {check}",
            vip(service),
            servers.join(", ")
        );
    }
    text
}
