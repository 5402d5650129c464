//! A daemon that has nothing to do but to look.

use std::fs;
use std::time::{Duration, Instant};

use lab::{Daemon, Netns, wait_until};

use crate::meter::{Meter, figure};
use crate::table::{SERVERS, SERVICES, config, server, vip};

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

/// 1 000 services with 10 servers each, no checks: what looking costs.
pub fn without_checks() {
    let director = Netns::new("director");
    director.set_sysctl("net.ipv4.ip_forward", "1");
    let daemon = Daemon::start(&director, IPVSD, &config(SERVICES, "\"none\""));
    let converged = || {
        let table = director.run(|| fs::read_to_string("/proc/thread-self/net/ip_vs")).unwrap_or_default();
        let weighted = table.lines().filter(|line| line.contains("Masq    1 "));
        weighted.count() == (SERVICES * SERVERS) as usize
    };
    wait_until(Duration::from_secs(120), "all servers with weight", converged);
    let meter = Meter::of(daemon.id());
    std::thread::sleep(Duration::from_secs(10));
    // Forty looks.
    let each_second = meter.each_second(Duration::from_secs(74));
    figure("idle, 1 000 × 10 without checks, each second", each_second, "target < 20.0 M");
    let worst = (0..5).map(|round| repair(&director, round)).max().unwrap_or_default();
    println!(
        "{:<60} {:>9.2} s  target < 2.00 s",
        "a weight changed by hand is back, the worst of 5",
        worst.as_secs_f64()
    );
}

/// How long it takes until a weight that somebody changes is as it was, in a round of its own place and moment.
fn repair(director: &Netns, round: u32) -> Duration {
    std::thread::sleep(Duration::from_millis(3000 + u64::from(round) * 377));
    let (vip, server) = (vip(round * 199).to_string(), server(round * 199, 3).to_string());
    director.check("ipvsadm", &["-e", "-u", &vip, "-r", &server, "-m", "-w", "7"]);
    let start = Instant::now();
    wait_until(Duration::from_secs(20), "the weight is back", || {
        !director.check("ipvsadm", &["-Ln", "-u", &vip]).contains("Masq    7 ")
    });
    start.elapsed()
}
