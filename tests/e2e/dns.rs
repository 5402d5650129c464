//! A real DNS server behind the VIP, asked by real clients and by the `dns` check.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use lab::{Family, Netns, Network, Process, case, vip, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::setup::{LIMIT, ipvsd, servers, service};
use crate::watch::Watch;

pub fn tests() -> Vec<Trial> {
    vec![case("dns::knot_behind_the_vip_answers_dig_and_dnsperf_and_is_checked", knot)]
}

/// A running knotd.
struct Knot {
    _process: Process,
    _dir: TempDir,
}

impl Knot {
    /// An authority for `example.test` on port 53 whose zone tells which server it is.
    fn start(netns: &Netns, number: usize, listen: &[String], records: &str) -> Knot {
        let dir = TempDir::new().expect("a temporary directory");
        let write = |name: &str, text: String| fs::write(dir.path().join(name), text).expect(name);
        let path = dir.path().display();
        let zone = format!(
            "$ORIGIN example.test.\n$TTL 60\n@ SOA ns admin 1 3600 900 86400 60\n@ NS ns\nns A 192.0.2.53\n\
             who TXT \"s{number}\"\n{records}\n"
        );
        write("example.test.zone", zone);
        // A zone that cannot be loaded is answered with SERVFAIL, one that is unknown with REFUSED.
        let broken = if number < 2 { "  - domain: broken.test\n    file: missing.zone\n" } else { "" };
        let config = format!(
            "server:\n  rundir: \"{path}\"\n  listen: [{}]\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: \"{path}\"\nzone:\n  - domain: example.test\n    storage: \"{path}\"\n    \
             file: example.test.zone\n    zonefile-load: whole\n    journal-content: none\n{broken}",
            listen.join(", ")
        );
        write("knot.conf", config);
        let process =
            Process::start(netns, Command::new("knotd").arg("-c").arg(dir.path().join("knot.conf")));
        process.wait_for("server started", LIMIT);
        Knot { _process: process, _dir: dir }
    }
}

fn knot() {
    let network = Network::new(3);
    // Server 2 does not know `missing`, server 1 has another address for `differs`.
    let known = "missing A 192.0.2.80";
    let large: String = (0..9).map(|number| format!("\nlarge TXT \"{number}{}\"", "x".repeat(200))).collect();
    let records = [
        format!("{known}\ndiffers A 192.0.2.80{large}\nlarge TXT last"),
        format!("{known}\ndiffers A 192.0.2.81{large}"),
        format!("differs A 192.0.2.80{large}\nlarge TXT last"),
    ];
    let start = |(number, records): (usize, &String)| {
        let listen = Family::BOTH.map(|family| format!("\"{}@53\"", network.server_address(number, family)));
        Knot::start(&network.servers[number], number, &listen, records)
    };
    let _knots: Vec<Knot> = records.iter().enumerate().map(start).collect();
    let config = |check: &str| {
        format!(
            "[[service]]\nname = \"dns\"\nlisten = [\"{}\", \"{}\"]\nservers = [{}, {}]\n\
             check = {{ type = \"dns\", {check}, interval = \"300ms\", timeout = \"2s\" }}\n",
            service(Family::V4),
            service(Family::V6),
            servers(&network, Family::V4, 53),
            servers(&network, Family::V6, 53)
        )
    };
    let watch = Watch::start(&network.director);
    let daemon = ipvsd(&network, &config("query = \"who.example.test\", record = \"TXT\""));
    watch.wait(&[1; 6]);
    dig(&network);
    dnsperf(&network);

    let reload = |check: &str| {
        fs::write(daemon.config_file(), config(check)).expect("writing the config");
        daemon.signal(Signal::SIGHUP);
    };
    reload("query = \"missing.example.test\"");
    watch.wait(&[1, 1, 0, 1, 1, 0]);
    wait_until(LIMIT, "a line for each family", || {
        said(&daemon, "1 → 0", "wrong answer: NXDOMAIN, expected NOERROR")
            == ["10.0.1.13:53", "[fd00:1::13]:53"]
    });
    reload("query = \"missing.example.test\", rcode = \"NXDOMAIN\"");
    watch.wait(&[0, 0, 1, 0, 0, 1]);
    reload("query = \"differs.example.test\", answer = \"192.0.2.80\"");
    watch.wait(&[1, 0, 1, 1, 0, 1]);
    reload("query = \"broken.test\", rcode = [\"NOERROR\", \"SERVFAIL\"], edns = 1232");
    watch.wait(&[1, 1, 0, 1, 1, 0]);
    wait_until(LIMIT, "a line for each family", || {
        said(&daemon, "1 → 0", "wrong answer: REFUSED, expected NOERROR or SERVFAIL")
            == ["10.0.1.13:53", "[fd00:1::13]:53"]
    });
    // More than fits into a datagram.
    reload("query = \"large.example.test\", record = \"TXT\", answer = \"last\"");
    watch.wait(&[1, 0, 1, 1, 0, 1]);
    wait_until(LIMIT, "a line for each family", || {
        said(&daemon, "1 → 0", "wrong answer: truncated, and over TCP: ")
            == ["10.0.1.12:53", "[fd00:1::12]:53"]
    });
    assert_eq!(watch.connections(), Vec::<String>::new());
}

/// The servers named by the lines that hold both, sorted.
fn said(daemon: &Process, one: &str, other: &str) -> Vec<String> {
    let lines = daemon.lines();
    let both = lines.iter().filter(|line| line.contains(one) && line.contains(other));
    let server = |line: &String| Some(line.split_once("server=")?.1.split(' ').next()?.to_owned());
    let mut servers: Vec<String> = both.filter_map(server).collect();
    servers.sort();
    servers
}

fn dig(network: &Network) {
    for family in Family::BOTH {
        let dir = TempDir::new().expect("a temporary directory");
        let file = dir.path().join("queries");
        fs::write(&file, "who.example.test TXT\n".repeat(9)).expect("writing the queries");
        let server = format!("@{}", vip(family));
        let file = file.display().to_string();
        let answers = network
            .client()
            .check("dig", &["+short", "+tries=1", "+timeout=10", "+noedns", "-f", &file, &server]);
        let mut counts = BTreeMap::new();
        for answer in answers.lines() {
            *counts.entry(answer.to_owned()).or_insert(0) += 1;
        }
        let each = |number| (format!("\"s{number}\""), 3);
        assert_eq!(counts, BTreeMap::from([each(0), each(1), each(2)]), "{family:?}");
    }
}

fn dnsperf(network: &Network) {
    const QUERIES: u64 = 3000;
    let client = |family| network.client_address(0, family);
    for server in &network.servers {
        server.nft(&format!(
            "table inet count {{ chain in {{ type filter hook input priority 0\nip saddr {} udp dport 53 counter\n\
             ip6 saddr {} udp dport 53 counter\n}}\n}}",
            client(Family::V4),
            client(Family::V6)
        ));
    }
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("queries");
    fs::write(&file, "who.example.test TXT\nns.example.test A\n").expect("writing the queries");
    for family in Family::BOTH {
        let to: SocketAddr = service(family);
        let said = run_dnsperf(network.client(), to, &file, QUERIES);
        let figure = |name: &str| -> u64 {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            number.unwrap_or_else(|| panic!("no {name:?} in {said}"))
        };
        let counted = (figure("Queries sent:"), figure("Queries completed:"), figure("Queries lost:"));
        assert_eq!(counted, (QUERIES, QUERIES, 0), "{said}");
    }
    for server in &network.servers {
        let counters = server.check("nft", &["list", "table", "inet", "count"]);
        let packets = counters.lines().filter_map(|line| line.split_once("counter packets "));
        let packets: Vec<u64> =
            packets.filter_map(|(_, rest)| rest.split(' ').next()?.parse().ok()).collect();
        assert_eq!(packets.len(), 2, "{counters}");
        let share = QUERIES / 3;
        assert!(
            packets.iter().all(|packets| share.abs_diff(*packets) <= 1),
            "{packets:?}, a third is {share}"
        );
    }
}

/// Four clients, 500 queries a second.
fn run_dnsperf(client: &Netns, to: SocketAddr, file: &Path, queries: u64) -> String {
    let (server, file) = (to.ip().to_string(), file.display().to_string());
    // The file has two.
    let rounds = (queries / 2).to_string();
    client.check("dnsperf", &["-s", &server, "-d", &file, "-c", "4", "-Q", "500", "-t", "10", "-n", &rounds])
}
