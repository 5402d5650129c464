//! Clients of the service under test, at a thousand datagrams a second, and everything that watches them.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lab::{Capture, Family, Flow, Network, Packet, Reply, Running, Stream, wait_until};

use crate::setup::{LIMIT, service};
use crate::watch::Watch;

/// The running traffic of the first client: a thousand datagrams a second from eight ports, and a hundred from one.
pub struct Traffic {
    /// Those from eight ports.
    pub stream: Running,
    one_port: Running,
    service: SocketAddr,
    calm: Cell<Option<(Instant, Instant)>>,
    /// The counters of UDP of the client and the servers.
    counters: Vec<File>,
    /// What the kernel holds meanwhile.
    pub watch: Watch,
    capture: Capture,
}

impl Traffic {
    /// Starts sending to the VIP of IPv4, and watching.
    pub fn start(network: &Network) -> Traffic {
        Traffic::start_in(network, Family::V4)
    }

    /// Starts sending to the VIP of a family, and watching.
    pub fn start_in(network: &Network, family: Family) -> Traffic {
        let service = service(family);
        let open = |name: &str| File::open(format!("/proc/thread-self/net/{name}")).expect(name);
        let hosts = network.servers.iter().chain([network.client()]);
        let counters = hosts.flat_map(|host| host.run(|| ["snmp", "snmp6"].map(open))).collect();
        let watch = Watch::start(&network.director);
        let capture = Capture::start(network.client());
        let stream = Stream::new(service).start(network.client());
        let one_port = Stream { rate: 100, ports: 1, ..Stream::new(service) }.start(network.client());
        Traffic { stream, one_port, service, calm: Cell::new(None), counters, capture, watch }
    }

    /// Waits for so many more replies.
    pub fn replies(&self, count: u64) {
        let goal = self.stream.received() + count;
        wait_until(LIMIT, &format!("{count} more replies"), || self.stream.received() >= goal);
    }

    /// Waits for some replies before anything happens: of what is sent meanwhile [`Self::stop`] finds nothing lost, or
    /// what is lost later would prove nothing.
    pub fn calm(&self) {
        let since = Instant::now();
        self.replies(400);
        self.calm.set(Some((since, Instant::now())));
        // What was sent until then is answered before anything happens.
        for flow in [&self.stream, &self.one_port] {
            let sent = flow.sent();
            wait_until(LIMIT, "what is on its way", || flow.received() >= sent);
        }
    }

    /// Ends it, and prints what became of it as `what`. No connection entry was ever there, and every reply came from the
    /// VIP.
    pub fn stop(self, what: &str) -> Flow {
        let (flow, entries) = self.stop_pinned(what);
        assert_eq!(entries, Vec::<String>::new());
        flow
    }

    /// Every reply came from the VIP; every connection entry that was ever there.
    pub fn stop_pinned(self, what: &str) -> (Flow, Vec<String>) {
        let service = self.service;
        let (flow, replies, entries) = self.stop_astray(what);
        let strangers: Vec<_> = replies.iter().filter(|packet| packet.source != service).take(5).collect();
        assert!(strangers.is_empty(), "not from the VIP: {strangers:#?}");
        assert_eq!(replies.len(), flow.answered.replies.len(), "the capture saw them all");
        assert_eq!(flow.answered.sources(), [service].into());
        assert_eq!((flow.answered.duplicates, flow.answered.strange.len()), (0, 0));
        (flow, entries)
    }

    /// What came back, the packets that brought it, and every connection entry that was ever there.
    pub fn stop_astray(self, what: &str) -> (Flow, Vec<Packet>, Vec<String>) {
        let flow = both(self.stream.stop(), self.one_port.stop());
        measured(what, &flow);
        let dropped: u64 = self.counters.into_iter().map(dropped).sum();
        if dropped > 0 {
            println!(
                "measured: {dropped} of them dropped by sockets of the servers and the client, which were too slow"
            );
        }
        if let Some((since, until)) = self.calm.get() {
            assert_eq!(lost_between(&flow, since, until), 0, "lost before anything happened");
        }
        let entries = self.watch.connections();
        let packets = self.capture.stop().into_iter();
        (flow, packets.filter(|packet| !packet.outgoing && packet.protocol == 17).collect(), entries)
    }
}

/// Two flows as one; the numbers of the second follow those of the first.
fn both(mut flow: Flow, mut other: Flow) -> Flow {
    let offset = flow.sent.len() as u64;
    flow.sent.append(&mut other.sent);
    let (all, more) = (&mut flow.answered, &mut other.answered);
    more.replies.iter_mut().for_each(|reply| reply.number += offset);
    all.replies.append(&mut more.replies);
    all.replies.sort_by_key(|reply| reply.at);
    all.lost.extend(more.lost.iter().map(|number| number + offset));
    all.duplicates += more.duplicates;
    all.strange.append(&mut more.strange);
    flow
}

/// Prints what became of the datagrams of a flow.
pub fn measured(what: &str, flow: &Flow) {
    println!(
        "measured: {what}: {} sent, {} lost, longest gap {} ms",
        flow.sent.len(),
        flow.answered.lost.len(),
        flow.longest_gap.as_millis()
    );
}

/// How many of the datagrams that were sent in this time were lost.
pub fn lost_between(flow: &Flow, since: Instant, until: Instant) -> usize {
    let sent = |number: &&u64| (since..until).contains(&flow.sent[**number as usize]);
    flow.answered.lost.iter().filter(sent).count()
}

/// Datagrams that found no room in their socket: `RcvbufErrors` is the fifth number after `Udp:`, or has a line of its own.
fn dropped(mut counters: File) -> u64 {
    let mut text = String::new();
    counters.read_to_string(&mut text).expect("the counters of UDP");
    let fifth =
        |line: &str| line.strip_prefix("Udp: ").and_then(|rest| rest.split(' ').nth(4)?.parse::<u64>().ok());
    let named =
        |line: &str| line.strip_prefix("Udp6RcvbufErrors").and_then(|rest| rest.trim().parse::<u64>().ok());
    text.lines().filter_map(|line| fifth(line).or_else(|| named(line))).sum()
}

/// The longest time from a request to its reply: on a busy machine they wait in the servers' sockets.
pub fn longest_way(flow: &Flow) -> Duration {
    let way = |reply: &Reply| reply.at - flow.sent[reply.number as usize];
    flow.answered.replies.iter().map(way).max().unwrap_or_default()
}
