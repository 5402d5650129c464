//! What health checks cost, whether they are late, and what they take of memory: `ipvsd run` over servers that all answer, each
//! asked once a second.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lab::{Daemon, wait_until};
use nix::sys::resource::{Resource, setrlimit};

use crate::fleet::{Asked, Fleet};
use crate::meter::{Meter, row};
use crate::table::{SERVERS, SERVICES, config, server};

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");
const CHECK: &str = r#"{ type = "udp", send = "check", expect = "check", interval = "1s" }"#;
const METRICS: &str = "127.0.0.1:9532";
const SECOND: Duration = Duration::from_secs(1);

/// How long probes are counted.
const WINDOW: Duration = Duration::from_secs(20);

/// 100 services with 10 servers each: what one check costs, with what the kernel does in the context of the prober.
pub fn cost_of_one() {
    let probed = Probed::start(100);
    let (health, meter) = (probed.health_thread(), Meter::of(probed.daemon.id()));
    let before = (on_cpu(&health), meter.read());
    let asked = probed.window();
    let (thread, whole) = (on_cpu(&health) - before.0, meter.read() - before.1);
    let probes = asked.values().map(Vec::len).sum::<usize>() as u64;
    let each = thread / probes;
    row("one UDP check, in the health thread", &format!("{each} instructions"), "≤ 20 000", each <= 20_000);
    println!("   {} instructions a check in the whole daemon, its looks among them", whole / probes);
    println!("   {probes} probes to {} servers in {} s", asked.len(), WINDOW.as_secs());
}

/// 1 000 services with 10 servers each: how late their probes are, and what the daemon takes.
pub fn ten_thousand() {
    let probed = Probed::start(SERVICES);
    let (health, before) = (probed.health_thread(), on_cpu(&probed.health_thread()));
    let asked = probed.window();
    let busy = (on_cpu(&health) - before) as f64 / WINDOW.as_nanos() as f64;
    let probes = asked.values().map(Vec::len).sum::<usize>();
    let (mut late, mut skipped) = (Vec::new(), 0);
    for times in asked.values() {
        let (lateness, missing) = lateness(times);
        late.extend(lateness);
        skipped += missing;
    }
    late.sort();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    let p999 = at(0.999);
    let bound = Duration::from_millis(10);
    row("10 000 servers a second: lateness, p99.9", &format!("{p999:.2?}"), "≤ 10 ms", p999 <= bound);
    println!("   median {:.2?}, p99 {:.2?}, worst {:.2?}", at(0.5), at(0.99), at(1.0));
    println!("   {probes} probes to {} servers in {} s, {skipped} left out", asked.len(), WINDOW.as_secs());
    println!("   the health thread has {:.0} % of the processor", busy * 100.0);
    let megabytes = |key| probed.status(key) as f64 / 1e3;
    let (resident, peak) = (megabytes("VmRSS"), megabytes("VmHWM"));
    row("10 000 servers: resident", &format!("{resident:.1} MB"), "≤ 24 MB", resident <= 24.0);
    println!("   {peak:.1} MB at the most");
    println!("   {:.1} MB of it are its own, the rest is the program", megabytes("RssAnon"));

    let meter = Meter::of(probed.daemon.id());
    for scrape in ["the first scrape", "the second"] {
        let (before, began) = (meter.read(), Instant::now());
        let bytes = probed.scrape();
        let (took, cost) = (began.elapsed(), meter.read() - before);
        assert!(bytes > 1_000_000, "{bytes} bytes are not the metrics of 10 000 servers");
        println!(
            "   {scrape}: {bytes} bytes in {took:.2?}, {:.0} M instructions, nft's and probes' among them",
            cost as f64 / 1e6
        );
    }
    let after = megabytes("VmHWM");
    println!("   resident at the most after that: {after:.1} MB");
}

/// A daemon whose servers are all up.
struct Probed {
    fleet: Fleet,
    daemon: Daemon,
}

impl Probed {
    fn start(services: u32) -> Probed {
        // The guest's own limit is 4 096; a unit of systemd has 524 288.
        setrlimit(Resource::RLIMIT_NOFILE, 1024, 524_288).expect("a limit of open files");
        let fleet = Fleet::start();
        let text = format!("[metrics]\nlisten = \"{METRICS}\"\n{}", config(services, CHECK));
        let daemon = Daemon::start(&fleet.director, IPVSD, &text);
        wait_until(Duration::from_secs(180), "all servers with weight", || {
            // To read the table is work that the daemon has to wait for.
            std::thread::sleep(2 * SECOND);
            let table = fleet.director.run(|| fs::read_to_string("/proc/thread-self/net/ip_vs"));
            let table = table.unwrap_or_default();
            table.lines().filter(|line| line.contains("Masq    1 ")).count() == (services * SERVERS) as usize
        });
        // The second probe of a server is at its own place in the second, and all after it.
        std::thread::sleep(5 * SECOND);
        let probed = Probed { fleet, daemon };
        let known = probed.fleet.asked();
        assert!((0..services).all(|service| {
            let IpAddr::V4(address) = server(service, 0).ip() else { return false };
            known.contains_key(&address)
        }));
        probed
    }

    /// Reads all metrics; how many bytes these are.
    fn scrape(&self) -> usize {
        self.fleet.director.run(|| {
            let mut stream = TcpStream::connect(METRICS).expect("the listener for metrics");
            let request = "GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text\r\n\r\n";
            stream.write_all(request.as_bytes()).expect("asking");
            std::io::copy(&mut stream, &mut std::io::sink()).expect("the metrics") as usize
        })
    }

    /// What is asked in the next [`WINDOW`].
    fn window(&self) -> Asked {
        self.fleet.asked();
        std::thread::sleep(WINDOW);
        self.fleet.asked()
    }

    /// The directory in /proc of the thread that probes.
    fn health_thread(&self) -> PathBuf {
        let threads = fs::read_dir(format!("/proc/{}/task", self.daemon.id())).expect("the daemon's threads");
        let mut threads = threads.map(|thread| thread.expect("a thread").path());
        let name = |path: &PathBuf| fs::read_to_string(path.join("comm")).unwrap_or_default();
        threads.find(|path| name(path) == "health\n").expect("a thread named health")
    }

    /// A value of the daemon's /proc/PID/status, in kB.
    fn status(&self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.daemon.id())).expect("the status");
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
        value.unwrap_or_else(|| panic!("no {key} in {text}"))
    }
}

/// How long a thread has been on the processor, in nanoseconds: the first number of its schedstat.
fn on_cpu(thread: &std::path::Path) -> u64 {
    let text = fs::read_to_string(thread.join("schedstat")).expect("schedstat");
    let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
    first.expect("a number in schedstat")
}

/// A server is asked each second at its own moment in it, of which nothing is known but that it is no later than the least late
/// probe: how much later than that each probe was, and how many there should have been besides.
fn lateness(times: &[Duration]) -> (Vec<Duration>, usize) {
    let offset = |time: &Duration| {
        let since = (*time - times[0]).as_nanos() as i64;
        let second = SECOND.as_nanos() as i64;
        let number = (since + second / 2).div_euclid(second);
        (number, since - number * second)
    };
    let offsets: Vec<(i64, i64)> = times.iter().map(offset).collect();
    let earliest = offsets.iter().map(|(_, offset)| *offset).min().unwrap_or_default();
    let expected = offsets.last().map_or(0, |(number, _)| *number as usize + 1);
    let late = offsets.iter().map(|(_, offset)| Duration::from_nanos((offset - earliest) as u64));
    (late.collect(), expected.saturating_sub(times.len()))
}
