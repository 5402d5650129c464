//! Real packets through the rewrite: a server's reply passes a router with our tables and a stateful firewall, and its
//! client sees it come from VIP:port. No IPVS is needed for that half of the way.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use socket2::{Domain, Protocol, Socket, Type};

use super::Nft;
use super::kernel_tests::{in_namespace, nft, wait};
use crate::core::model::{Refusals, Rules};

type Job = Box<dyn FnOnce() + Send>;

/// A thread with a network namespace of its own.
pub struct Host(mpsc::Sender<Job>);

impl Host {
    fn new() -> Host {
        let (jobs, todo) = mpsc::channel::<Job>();
        thread::spawn(move || todo.into_iter().for_each(|job| job()));
        let host = Host(jobs);
        host.run(|| unshare(CloneFlags::CLONE_NEWNET).unwrap());
        host
    }

    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.0.send(Box::new(move || _ = done.send(job()))).unwrap();
        result.recv().expect("the job does not panic")
    }

    /// Joins it to this thread's namespace by a link named `name` with these addresses here and there; there it is the
    /// way to everywhere.
    fn link(&self, name: &str, here: [&'static str; 2], there: [&'static str; 2]) {
        let thread = self.run(|| gettid().to_string());
        ip(&format!("link add {name} type veth peer name router netns {thread}"));
        ip(&format!("link set {name} up"));
        here.iter().for_each(|address| ip(&format!("addr add {address} dev {name} nodad")));
        self.run(move || {
            ip("link set router up");
            there.iter().for_each(|address| ip(&format!("addr add {address} dev router nodad")));
            here.iter()
                .for_each(|via| ip(&format!("route add default via {}", via.split('/').next().unwrap())));
        });
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Checksum {
    Right,
    Zero,
    Wrong,
}

/// Sends a datagram with a checksum of our own, which the receiving kernel then has to verify: on one from an ordinary
/// socket a veth link leaves it open.
fn send(from: SocketAddr, to: SocketAddr, payload: &[u8], checksum: Checksum) -> io::Result<()> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let ports = [from.port(), to.port(), length, 0];
    let mut datagram: Vec<u8> =
        ports.iter().flat_map(|field| field.to_be_bytes()).chain(payload.iter().copied()).collect();
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let pseudo_header =
        [octets(from.ip()), octets(to.ip()), vec![0, 17], length.to_be_bytes().to_vec()].concat();
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)]))).sum()
    };
    let sum = words(&pseudo_header) + words(&datagram);
    let sum = (sum & 0xffff) + (sum >> 16);
    let right = !(((sum & 0xffff) + (sum >> 16)) as u16);
    let written = match checksum {
        Checksum::Right => right,
        Checksum::Zero => 0,
        Checksum::Wrong => right ^ 0x0100,
    };
    datagram[6..8].copy_from_slice(&written.to_be_bytes());
    let raw = Socket::new(Domain::for_address(from), Type::RAW, Some(Protocol::UDP))?;
    raw.bind(&SocketAddr::new(from.ip(), 0).into())?;
    raw.send_to(&datagram, &SocketAddr::new(to.ip(), 0).into()).map(|_| ())
}

/// How many entries connection tracking has in this thread's namespace.
fn tracked() -> u32 {
    std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap().trim().parse().unwrap()
}

/// Client 198.51.100.9, router (this thread), server 10.0.1.11; the tables for these servers, and a firewall that lets
/// only established packets in, and through also untracked ones.
pub fn lab(replies: &[(&str, &str)], refusals: Refusals) -> (Host, Host) {
    let (client, server) = (Host::new(), Host::new());
    ip("link set lo up");
    client.link("client", ["198.51.100.1/24", "2001:db8:9::1/64"], ["198.51.100.9/24", "2001:db8:9::9/64"]);
    server.link("server", ["10.0.1.1/24", "2001:db8:1::1/64"], ["10.0.1.11/24", "2001:db8:1::11/64"]);
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    ip("addr add 192.0.2.53/32 dev lo");
    ip("addr add 2001:db8::53/128 dev lo");
    for (hook, rules) in [
        ("input", "ct state established,related accept; meta l4proto ipv6-icmp accept; iif lo accept"),
        (
            "forward",
            "ct state established,related accept; ct state untracked accept; meta l4proto ipv6-icmp accept",
        ),
    ] {
        let base = format!("type filter hook {hook} priority 0; policy drop;");
        nft(&format!("add table inet fw; add chain inet fw {hook} {{ {base} }}"));
        rules.split("; ").for_each(|rule| nft(&format!("add rule inet fw {hook} {rule}")));
    }
    let replies = replies.iter().map(|(server, vip)| (socket(server), socket(vip))).collect();
    let mut rules = Rules { replies, ..Rules::default() };
    rules.refuse(refusals);
    wait(Nft::new().apply(&rules));
    (client, server)
}

/// What a client's socket gets next: the source and the payload.
fn receive(socket: &UdpSocket, limit: Duration) -> io::Result<(SocketAddr, Vec<u8>)> {
    let mut buffer = vec![0; 65536];
    socket.set_read_timeout(Some(limit))?;
    let (length, from) = socket.recv_from(&mut buffer)?;
    buffer.truncate(length);
    Ok((from, buffer))
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn replies_come_from_the_vip() {
    in_namespace(|| {
        let servers = [
            ("10.0.1.11:53", "192.0.2.53:53"),
            ("10.0.1.11:5300", "192.0.2.53:53"),
            ("[2001:db8:1::11]:53", "[2001:db8::53]:53"),
            ("[2001:db8:1::11]:5300", "[2001:db8::53]:53"),
        ];
        let (client, server) = lab(&servers, Refusals::default());
        for (from, vip) in servers.map(|(server, vip)| (socket(server), socket(vip))) {
            let address = if from.is_ipv4() { "198.51.100.9:0" } else { "[2001:db8:9::9]:0" };
            let listening = client.run(move || UdpSocket::bind(address).unwrap());
            let to = listening.local_addr().unwrap();
            for (size, checksum) in [
                (0, Checksum::Right),
                (1, Checksum::Right),
                (100, Checksum::Right),
                (4000, Checksum::Right),
                (101, Checksum::Zero),
                (4000, Checksum::Zero),
            ] {
                if from.is_ipv6() && checksum == Checksum::Zero {
                    continue;
                }
                let payload: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
                let sent = payload.clone();
                server.run(move || {
                    // The receiver drops this one, or the next line would prove nothing.
                    send(from, to, b"wrong", Checksum::Wrong).unwrap();
                    send(from, to, &sent, checksum).unwrap();
                });
                let (source, received) = receive(&listening, SOON).unwrap_or_else(|error| {
                    panic!("no reply of {from} with {size} bytes and checksum {checksum:?}: {error}")
                });
                assert_eq!(
                    (source, received == payload),
                    (vip, true),
                    "{from}, {size} bytes, checksum {checksum:?}"
                );
            }
        }
        assert_eq!(tracked(), 0);
    });
}

#[test]
fn what_is_no_reply_is_tracked_and_left_alone() {
    in_namespace(|| {
        let (client, server) = lab(&[("10.0.1.11:53", "192.0.2.53:53")], Refusals::default());
        nft("add rule inet fw forward accept");
        let listening = client.run(|| UdpSocket::bind("198.51.100.9:0").unwrap());
        let to = listening.local_addr().unwrap();
        server.run(move || send(socket("10.0.1.11:54"), to, b"other", Checksum::Right).unwrap());
        assert_eq!(receive(&listening, SOON).unwrap(), (socket("10.0.1.11:54"), b"other".to_vec()));
        assert_eq!(tracked(), 1);
    });
}

/// Answers one datagram with itself.
fn echo(socket: &UdpSocket) {
    let (from, payload) = receive(socket, SOON).unwrap();
    socket.send_to(&payload, from).unwrap();
}

#[test]
fn the_directors_own_probes_pass_its_firewall() {
    in_namespace(|| {
        let (_client, server) = lab(&[("10.0.1.11:53", "192.0.2.53:53")], Refusals::default());
        let answering = server.run(|| UdpSocket::bind("10.0.1.11:53").unwrap());
        let answered = thread::spawn(move || echo(&answering));
        let probe = UdpSocket::bind("10.0.1.1:0").unwrap();
        probe.send_to(b"alive?", "10.0.1.11:53").unwrap();
        assert_eq!(receive(&probe, SOON).unwrap(), (socket("10.0.1.11:53"), b"alive?".to_vec()));
        answered.join().unwrap();
    });
}

/// A server on the director: its replies to clients come from the VIP, its answers to probes from itself.
#[test]
fn a_server_on_the_director() {
    in_namespace(|| {
        let (client, _server) = lab(&[("10.0.1.1:5300", "192.0.2.53:53")], Refusals::default());
        let local = UdpSocket::bind("10.0.1.1:5300").unwrap();
        let listening = client.run(|| UdpSocket::bind("198.51.100.9:0").unwrap());
        local.send_to(b"reply", listening.local_addr().unwrap()).unwrap();
        assert_eq!(receive(&listening, SOON).unwrap(), (socket("192.0.2.53:53"), b"reply".to_vec()));
        assert_eq!(tracked(), 0);

        let probe = UdpSocket::bind("10.0.1.1:0").unwrap();
        probe.send_to(b"alive?", "10.0.1.1:5300").unwrap();
        echo(&local);
        assert_eq!(receive(&probe, SOON).unwrap(), (socket("10.0.1.1:5300"), b"alive?".to_vec()));
    });
}
