//! What the kernel holds and is told while a test runs: every state of `/proc/net/ip_vs`, every connection entry,
//! and every netlink message by which a program changes it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use lab::{Netns, Process, wait_until};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::setup::LIMIT;

/// The weight of every server of all services.
pub type Weights = BTreeMap<SocketAddr, u32>;

/// Reads the kernel's tables every ten milliseconds.
pub struct Watch {
    stop: Arc<AtomicBool>,
    states: Arc<Mutex<Vec<(SystemTime, Weights)>>>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    /// Starts watching this namespace.
    pub fn start(netns: &Netns) -> Watch {
        // A file of /proc stays in the namespace in which it was opened.
        let open = |name: &str| File::open(format!("/proc/thread-self/net/{name}")).expect(name);
        let (mut services, mut connections) = netns.run(|| (open("ip_vs"), open("ip_vs_conn")));
        let stop = Arc::new(AtomicBool::new(false));
        let states = Arc::new(Mutex::new(vec![(SystemTime::now(), read_weights(&mut services))]));
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&states));
        let thread = thread::spawn(move || {
            let mut entries: Vec<String> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let weights = read_weights(&mut services);
                let mut states = seen.lock().expect("the states");
                if states.last().is_none_or(|(_, last)| *last != weights) {
                    states.push((SystemTime::now(), weights));
                }
                drop(states);
                entries.extend(read(&mut connections).lines().skip(1).map(str::to_owned));
                thread::sleep(Duration::from_millis(10));
            }
            entries
        });
        Watch { stop, states, thread }
    }

    /// Waits until the weights of all servers are these, in the order of their addresses; when this began.
    pub fn wait(&self, weights: &[u32]) -> SystemTime {
        let mut since = SystemTime::UNIX_EPOCH;
        wait_until(LIMIT, &format!("weights {weights:?}"), || {
            let states = self.states.lock().expect("the states");
            let (at, last) = states.last().expect("the first state");
            since = *at;
            last.values().eq(weights)
        });
        since
    }

    /// Every state that was seen so far, without the time.
    pub fn states(&self) -> Vec<Vec<u32>> {
        let states = self.states.lock().expect("the states");
        states.iter().map(|(_, weights)| weights.values().copied().collect()).collect()
    }

    /// Ends it; every line of `/proc/net/ip_vs_conn` that was ever seen.
    pub fn connections(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watching thread")
    }
}

fn read(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).expect("reading /proc");
    text
}

/// A line of a server: `  -> 0A00010B:14B4 Masq 1 0 0`, or `  -> [fd00:0001:…:0011]:14B4 …`.
fn read_weights(services: &mut File) -> Weights {
    let text = read(services);
    let servers = text.lines().filter_map(|line| line.trim_start().strip_prefix("-> "));
    let server = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (host, port) = words[0].rsplit_once(':')?;
        let address = match host.strip_prefix('[') {
            Some(v6) => IpAddr::V6(v6.trim_end_matches(']').parse().ok()?),
            None => IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(host, 16).ok()?)),
        };
        Some((SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?), words[2].parse().ok()?))
    };
    // The heading is such a line, too.
    servers.filter_map(server).collect()
}

/// Records the netlink messages of a namespace.
pub struct Messages {
    tcpdump: Process,
    dir: TempDir,
}

impl Messages {
    /// Starts recording.
    pub fn start(netns: &Netns) -> Messages {
        netns.ip(&["link add nlmon0 type nlmon", "link set nlmon0 up"]);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("tcpdump");
        command
            .args(["-Z", "root", "-B", "16384", "-U", "--immediate-mode", "-i", "nlmon0", "-w"])
            .arg(dir.path().join("netlink"));
        let tcpdump = Process::start(netns, &mut command);
        tcpdump.wait_for("listening on", LIMIT);
        Messages { tcpdump, dir }
    }

    /// Everything that was asked of IPVS and of the sets of nftables, in this order: `add service`, `set server`, …;
    /// elements that follow each other count as one.
    pub fn stop(mut self) -> Vec<&'static str> {
        self.tcpdump.signal(Signal::SIGINT);
        self.tcpdump.wait_exit(LIMIT);
        let mut asked = read_pcap(&fs::read(self.dir.path().join("netlink")).expect("what tcpdump wrote"));
        asked.dedup_by(|one, other| one == other && one.ends_with("elements"));
        asked
    }
}

/// Reads a pcap file of LINKTYPE_NETLINK: 16 bytes of heading that end with the netlink protocol, then messages.
fn read_pcap(pcap: &[u8]) -> Vec<&'static str> {
    let word =
        |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize;
    let half = |bytes: &[u8], at: usize| u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("2 bytes"));
    let mut asked = Vec::new();
    let mut rest = &pcap[24..];
    while !rest.is_empty() {
        let (packet, after) = rest[16..].split_at(word(rest, 8));
        rest = after;
        let protocol = packet[15];
        let mut messages = &packet[16..];
        while messages.len() >= 20 {
            let (kind, flags, command) = (half(messages, 4), half(messages, 6), messages[16]);
            // NLM_F_REQUEST
            if flags & 1 == 1 {
                asked.extend(meaning(protocol, kind, command));
            }
            messages = messages.get(word(messages, 0).next_multiple_of(4)..).unwrap_or_default();
        }
    }
    asked
}

/// The numbers are those of linux/netlink.h, linux/ip_vs.h and linux/netfilter/nf_tables.h.
fn meaning(protocol: u8, kind: u16, command: u8) -> Option<&'static str> {
    const NETLINK_NETFILTER: u8 = 12;
    const NETLINK_GENERIC: u8 = 16;
    const GENL_ID_CTRL: u16 = 16;
    match (protocol, kind, command) {
        (NETLINK_NETFILTER, 0x0a0c, _) => Some("add elements"),
        (NETLINK_NETFILTER, 0x0a0e, _) => Some("delete elements"),
        (NETLINK_GENERIC, GENL_ID_CTRL, _) => None,
        (NETLINK_GENERIC, _, 1) => Some("add service"),
        (NETLINK_GENERIC, _, 2) => Some("set service"),
        (NETLINK_GENERIC, _, 3) => Some("delete service"),
        (NETLINK_GENERIC, _, 5) => Some("add server"),
        (NETLINK_GENERIC, _, 6) => Some("set server"),
        (NETLINK_GENERIC, _, 7) => Some("delete server"),
        _ => None,
    }
}
