//! Two directors with one file each: `keepalived -P` takes its VRRP half, ipvsd the other. The backup becomes master, and the
//! service goes on.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use lab::{Daemon, Echo, Netns, Process, Running, Stream, reading, wait_until};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::setup::{IPVSD, LIMIT};
use crate::traffic::measured;

const FILE: &str = include_str!("../../../examples/keepalived/keepalived.conf");
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// A client, two directors and two servers at one switch; the servers answer clients themselves.
struct Segment {
    switch: Netns,
    client: Netns,
    directors: Vec<Director>,
    _servers: Vec<(Netns, Echo)>,
}

/// `keepalived -P` and ipvsd on the same file.
struct Director {
    vrrp: Process,
    ipvsd: Daemon,
    _dir: TempDir,
    netns: Netns,
}

impl Director {
    fn start(netns: Netns, text: &str) -> Director {
        let ipvsd = Daemon::start_with(&netns, IPVSD, "keepalived.conf", text);
        wait_until(LIMIT, "both servers up", || reading::weights(&netns, &format!("udp {VIP}:53")) == [1, 1]);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("keepalived.conf");
        fs::write(&file, text).expect("writing keepalived's config");
        let mut command = Command::new("keepalived");
        command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]).arg(file);
        command.arg("--pid").arg(dir.path().join("parent.pid"));
        command.arg("--vrrp_pid").arg(dir.path().join("vrrp.pid"));
        Director { vrrp: Process::start(&netns, &mut command), ipvsd, _dir: dir, netns }
    }

    fn is_master(&self) -> bool {
        self.netns.check("ip", &["-4", "-o", "addr", "show", "dev", "eth0"]).contains(&VIP.to_string())
    }
}

fn plug(switch: &Netns, role: &str, number: u8) -> Netns {
    let netns = Netns::new(role);
    switch.ip(&[
        format!("link add {role} type veth peer name eth0 netns {}", netns.name()),
        format!("link set {role} master bridge"),
        format!("link set {role} up"),
    ]);
    netns.ip(&["link set eth0 up".to_owned(), format!("addr add 10.0.0.{number}/24 dev eth0")]);
    netns
}

impl Segment {
    fn new() -> Segment {
        let switch = Netns::new("switch");
        switch.ip(&["link add bridge type bridge mcast_snooping 0", "link set bridge up"]);
        let client = plug(&switch, "client", 2);
        let server = |number: u8| {
            let netns = plug(&switch, &format!("server{number}"), 20 + number);
            netns.set_sysctl("net.ipv4.conf.all.arp_ignore", "1");
            netns.set_sysctl("net.ipv4.conf.all.arp_announce", "2");
            netns.ip(&[format!("addr add {VIP}/32 dev lo")]);
            let listen = [Ipv4Addr::new(10, 0, 0, 20 + number), VIP].map(|it| SocketAddr::new(it.into(), 53));
            let echo = Echo::start(&netns, &format!("s{number}"), &listen);
            (netns, echo)
        };
        let servers = vec![server(1), server(2)];
        let director = |(number, priority): (u8, &str)| {
            let netns = plug(&switch, &format!("director{number}"), 10 + number);
            Director::start(netns, &FILE.replace("priority 150", priority))
        };
        let directors: Vec<Director> = [(1, "priority 150"), (2, "priority 100")].map(director).into();
        wait_until(LIMIT, "the first director master", || {
            directors[0].is_master() && !directors[1].is_master()
        });
        Segment { switch, client, directors, _servers: servers }
    }

    fn traffic(&self) -> Running {
        let running =
            Stream { rate: 200, ..Stream::new(SocketAddr::new(VIP.into(), 53)) }.start(&self.client);
        replies(&running, 200);
        running
    }

    /// The second director has the VIP, and so many seconds later nothing is missing any more.
    fn taken_over(&self, running: Running, what: &str) {
        wait_until(LIMIT, "the backup master", || self.directors[1].is_master());
        replies(&running, 400);
        let flow = running.stop();
        measured(what, &flow);
        assert_eq!(flow.answered.spread().len(), 2, "both servers answer");
        let last = flow.sent.len() as u64 - 200;
        let late: Vec<_> = flow.answered.lost.iter().filter(|number| **number >= last).collect();
        assert!(late.is_empty(), "the last second: {late:?} lost");
        // VRRP: three advertisements and the skew, and at most a second until they are told.
        let lost = flow.answered.lost.len();
        assert!(lost <= 200 * 8, "{lost} lost");
    }
}

fn replies(running: &Running, count: u64) {
    let goal = running.received() + count;
    wait_until(LIMIT, &format!("{count} more replies"), || running.received() >= goal);
}

/// Its children end in order, and take the VIP along; ipvsd goes on.
pub fn the_masters_keepalived_is_killed() {
    let mut segment = Segment::new();
    let traffic = segment.traffic();
    segment.directors[0].vrrp.signal(Signal::SIGKILL);
    segment.directors[0].vrrp.wait_exit(LIMIT);
    segment.taken_over(traffic, "VRRP beside ipvsd, the master's keepalived killed");
    let key = format!("udp {VIP}:53");
    assert!(segment.directors.iter().all(|director| reading::weights(&director.netns, &key) == [1, 1]));
}

/// The kernel goes on forwarding, and keepalived keeps the VIP.
pub fn the_masters_ipvsd_is_killed() {
    let mut segment = Segment::new();
    let traffic = segment.traffic();
    segment.directors[0].ipvsd.signal(Signal::SIGKILL);
    segment.directors[0].ipvsd.wait_exit(LIMIT);
    replies(&traffic, 800);
    assert!(segment.directors[0].is_master() && !segment.directors[1].is_master());
    let flow = traffic.stop();
    measured("VRRP beside ipvsd, the master's ipvsd killed", &flow);
    assert!(flow.answered.lost.is_empty(), "{:?} lost", flow.answered.lost);
    assert_eq!(flow.answered.spread().len(), 2, "both servers answer");
}

pub fn the_masters_link_goes() {
    let segment = Segment::new();
    let traffic = segment.traffic();
    segment.switch.ip(&["link set director1 down"]);
    segment.taken_over(traffic, "VRRP beside ipvsd, the master's link down");
}
