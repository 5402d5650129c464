//! How long a dead server keeps its weight, with the default timings, for each way to die. In virtual time; the table of the kernel
//! is read every millisecond, packets have the time of the server's kernel.
//!
//! The first death of each kind is not counted: what is run for the first time has to be read from the host first, and while the
//! guest waits for that its clock runs on.

use std::fs::File;
use std::io::{Read, Seek};
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, SystemTime};

use lab::{Answer, Capture, Daemon, Echo, Family, Network, Packet, Stream, vip, wait_until};

use crate::meter::row;

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");
const DEATHS: u32 = 50;
const SERVERS: usize = 3;
const FAMILY: Family = Family::V4;
const LIMIT: Duration = Duration::from_secs(30);

/// A server whose packets are dropped, at 100 datagrams a second to the service.
pub fn silent() {
    let drop = "table inet dead { chain in { type filter hook input priority 0; udp dport 5300 drop\n}\n}";
    by_probes(
        "silent",
        &Death {
            rate: Some(100),
            mute: true,
            die: &|bed, number| bed.network.servers[number].nft(drop),
            revive: &|bed, number| bed.network.servers[number].nft("delete table inet dead"),
        },
    );
}

/// A server that answers something else, at 100 datagrams a second to the service.
pub fn wrong_answer() {
    by_probes(
        "wrong answer",
        &Death {
            rate: Some(100),
            mute: false,
            die: &|bed, number| bed.echoes[number].set_answer(Answer::Text("sorry".to_owned())),
            revive: &|bed, number| bed.echoes[number].set_answer(Answer::Echo),
        },
    );
}

/// A server whose process is killed while nobody asks it but the checks.
pub fn killed() {
    by_probes(
        "killed without traffic",
        &Death { rate: None, mute: true, die: &Bed::kill, revive: &Bed::restart },
    );
}

/// A server whose process is killed, at 100 datagrams a second to the service.
pub fn killed_under_100() {
    by_traffic(100);
}

/// A server whose process is killed, at 1 000 datagrams a second to the service.
pub fn killed_under_1000() {
    by_traffic(1000);
}

fn by_probes(name: &str, death: &Death<'_>) {
    let seen = Bed::start().deaths(death);
    took(&format!("{name}: from death to weight 0"), &seen, Duration::from_secs(2), |seen| {
        seen.gone.duration_since(seen.died)
    });
    after(name, &seen);
}

fn by_traffic(rate: u32) {
    let name = format!("killed at {rate}/s");
    let seen =
        Bed::start().deaths(&Death { rate: Some(rate), mute: true, die: &Bed::kill, revive: &Bed::restart });
    took(&format!("{name}: from first ICMP error to weight 0"), &seen, Duration::from_millis(50), |seen| {
        seen.gone.duration_since(seen.refused.expect("traffic was refused before it was gone"))
    });
    took(&format!("{name}: from death to weight 0"), &seen, Duration::from_secs(2), |seen| {
        seen.gone.duration_since(seen.died)
    });
    after(&name, &seen);
}

/// Prints the median and the worst of a time.
fn took(
    what: &str,
    seen: &[Seen],
    bound: Duration,
    time: impl Fn(&Seen) -> Result<Duration, std::time::SystemTimeError>,
) {
    let mut times: Vec<Duration> = seen.iter().map(|seen| time(seen).expect("in this order")).collect();
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let ms = |time: &Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    let figure = format!("{} / {} ms", ms(&median), ms(&worst));
    row(
        &format!("{what}, median / worst of {}", times.len()),
        &figure,
        &format!("≤ {bound:?}"),
        worst <= bound,
    );
    let worst: Vec<String> = times.iter().rev().take(3).map(ms).collect();
    println!("   the three worst: {} ms", worst.join(", "));
}

/// Prints how many datagrams of clients the server got before and after it had weight 0.
fn after(name: &str, seen: &[Seen]) {
    let after: usize = seen.iter().map(|seen| seen.after).sum();
    row(&format!("{name}: datagrams after weight 0, all deaths"), &after.to_string(), "0", after == 0);
    let wasted = |seen: &Seen| seen.wasted;
    let most = seen.iter().map(wasted).max().unwrap_or_default();
    println!(
        "   {} datagrams between death and weight 0, at most {most}",
        seen.iter().map(wasted).sum::<usize>()
    );
}

/// What to do with a server, given by its number.
type Act<'a> = &'a dyn Fn(&mut Bed, usize);

struct Death<'a> {
    /// Datagrams a second to the service, over all servers.
    rate: Option<u32>,
    /// It answers nothing after it.
    mute: bool,
    die: Act<'a>,
    revive: Act<'a>,
}

/// One death.
struct Seen {
    /// Before it was made to happen; its last answer, where one came after that: to load rules takes a while.
    died: SystemTime,
    /// The first ICMP error to the client on the server's wire.
    refused: Option<SystemTime>,
    /// When the kernel's table was seen with weight 0.
    gone: SystemTime,
    /// Datagrams of the client on the server's wire since its death, while it had weight.
    wasted: usize,
    /// And within the second after that.
    after: usize,
}

/// Three servers that are up, and the daemon with its defaults.
struct Bed {
    network: Network,
    echoes: Vec<Echo>,
    table: File,
    _daemon: Daemon,
}

impl Bed {
    fn start() -> Bed {
        let network = Network::new(SERVERS);
        let listen = |number| SocketAddr::new(network.server_address(number, FAMILY), 5300);
        let echo = |number| Echo::start(&network.servers[number], &format!("s{number}"), &[listen(number)]);
        let echoes = (0..SERVERS).map(echo).collect();
        let servers: Vec<String> = (0..SERVERS).map(|number| format!("\"{}\"", listen(number))).collect();
        let config = format!(
            "[[service]]\nname = \"echo\"\nlisten = \"{}:53\"\nservers = [{}]\n\
             check = {{ type = \"udp\", send = \"check\", expect = \"check\" }}\n",
            vip(FAMILY),
            servers.join(", ")
        );
        let daemon = Daemon::start(&network.director, IPVSD, &config);
        // A file of /proc stays in the namespace in which it was opened.
        let table = network.director.run(|| File::open("/proc/thread-self/net/ip_vs")).expect("the table");
        Bed { network, echoes, table, _daemon: daemon }
    }

    fn deaths(mut self, death: &Death<'_>) -> Vec<Seen> {
        (0..=DEATHS).map(|round| self.death(round, death)).skip(1).collect()
    }

    fn death(&mut self, round: u32, death: &Death<'_>) -> Seen {
        wait_until(LIMIT, "all servers with weight", || (0..SERVERS).all(|number| self.weight(number) == 1));
        let stream = death.rate.map(|rate| {
            let to = SocketAddr::new(vip(FAMILY), 53);
            Stream { rate, ..Stream::new(to) }.start(self.network.client())
        });
        // Each death at its own moment of the second in which a server is asked once.
        thread::sleep(Duration::from_millis(300 + u64::from(round) * 377 % 1000));
        let number = round as usize % SERVERS;
        let wire = Capture::start(&self.network.servers[number]);
        let died = SystemTime::now();
        (death.die)(self, number);
        while self.weight(number) != 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let gone = SystemTime::now();
        thread::sleep(Duration::from_secs(1));
        let wire = wire.stop();
        if let Some(stream) = stream {
            stream.stop();
        }
        (death.revive)(self, number);
        let client = self.network.client_address(0, FAMILY);
        let answer = |packet: &&Packet| packet.outgoing && packet.protocol == 17;
        let last = wire.iter().rev().find(answer).filter(|_| death.mute).map(|packet| packet.at);
        let died = died.max(last.unwrap_or(died));
        let requests = || wire.iter().filter(|packet| is_request(packet, client) && packet.at >= died);
        let refusal = |packet: &&Packet| {
            packet.outgoing && packet.destination.ip() == client && packet.icmp == Some((3, 3))
        };
        Seen {
            died,
            refused: wire.iter().find(refusal).map(|packet| packet.at),
            gone,
            wasted: requests().filter(|packet| packet.at <= gone).count(),
            after: requests().filter(|packet| packet.at > gone).count(),
        }
    }

    /// The weight of a server in the kernel: `  -> 0A00010B:14B4      Masq    1      0          0`; 0 before it is there.
    fn weight(&mut self, number: usize) -> u32 {
        let IpAddr::V4(address) = self.network.server_address(number, FAMILY) else { unreachable!("IPv4") };
        let start = format!("-> {:08X}:", u32::from(address));
        let mut text = String::new();
        self.table.rewind().and_then(|()| self.table.read_to_string(&mut text)).expect("reading /proc");
        let line = text.lines().find(|line| line.trim_start().starts_with(&start));
        line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0)
    }

    fn kill(&mut self, number: usize) {
        self.echoes[number].kill();
    }

    fn restart(&mut self, number: usize) {
        let listen = SocketAddr::new(self.network.server_address(number, FAMILY), 5300);
        self.echoes[number] = Echo::start(&self.network.servers[number], &format!("s{number}"), &[listen]);
    }
}

fn is_request(packet: &Packet, client: IpAddr) -> bool {
    !packet.outgoing && packet.protocol == 17 && packet.source.ip() == client
}
