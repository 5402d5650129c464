//! What the kernel holds and is told while a test runs: every state of `/proc/net/ip_vs`, every connection entry,
//! and every IPVS command by which a program changes it.

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

/// Reads the kernel's tables every few milliseconds.
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
                thread::sleep(Duration::from_millis(2));
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
            .args(["-Z", "root", "-B", "16384", "-U", "-i", "nlmon0", "-w"])
            .arg(dir.path().join("netlink"));
        let tcpdump = Process::start(netns, &mut command);
        tcpdump.wait_for("listening on", LIMIT);
        Messages { tcpdump, dir }
    }

    /// Every IPVS command that changes something, in the order in which they were sent: the IPVS_CMD_ of linux/ip_vs.h.
    pub fn stop(mut self) -> Vec<u8> {
        self.tcpdump.signal(Signal::SIGINT);
        self.tcpdump.wait_exit(LIMIT);
        commands(&fs::read(self.dir.path().join("netlink")).expect("what tcpdump wrote"))
    }
}

/// IPVS_CMD_NEW_SERVICE.
pub const NEW_SERVICE: u8 = 1;
/// IPVS_CMD_NEW_DEST.
pub const NEW_DEST: u8 = 5;
/// IPVS_CMD_SET_DEST.
pub const SET_DEST: u8 = 6;
/// IPVS_CMD_GET_DEST, and before it all that change services or servers.
const GET_DEST: u8 = 8;

/// Reads a pcap file of LINKTYPE_NETLINK: 16 bytes of heading that end with the netlink protocol, then messages.
fn commands(pcap: &[u8]) -> Vec<u8> {
    const NETLINK_GENERIC: [u8; 2] = [0, 16];
    const FIRST_FAMILY: u16 = 17;
    let word =
        |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize;
    let half = |bytes: &[u8], at: usize| u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("2 bytes"));
    let mut commands = Vec::new();
    let mut rest = &pcap[24..];
    while !rest.is_empty() {
        let length = word(rest, 8);
        let (packet, after) = rest[16..].split_at(length);
        rest = after;
        let mut messages = &packet[16..];
        while packet[14..16] == NETLINK_GENERIC && messages.len() >= 20 {
            let (kind, is_request, command) = (half(messages, 4), half(messages, 6) & 1 == 1, messages[16]);
            if kind >= FIRST_FAMILY && is_request && command < GET_DEST && command != 4 {
                commands.push(command);
            }
            messages = messages.get(word(messages, 0).next_multiple_of(4)..).unwrap_or_default();
        }
    }
    commands
}
