//! The lab sees what it must see: set-ups made by hand, without ipvsd, behave as they are known to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use lab::{
    Answer, Burst, Capture, Checksum, Echo, EchoSpec, Family, Network, Packet, Process, Stream, case,
    reading, vip, wait_until,
};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

pub fn tests() -> Vec<Trial> {
    vec![
        case("lab::ops_without_a_reply_rule_answers_from_the_servers", ops_without_a_reply_rule),
        case("lab::without_ops_one_server_gets_everything", without_ops),
        case("lab::a_stateless_rewrite_answers_from_the_vip", stateless_rewrite),
        case("lab::a_zero_checksum_is_zero_on_the_wire", zero_checksum),
        case("lab::port_rewrite_breaks_zero_checksums_without_their_rule", zero_checksum_port_changed),
        case("lab::a_stream_keeps_its_rate_and_shows_a_gap", stream_and_gap),
        case("lab::a_killed_server_is_silent_and_icmp_is_seen", killed_server),
        case("lab::a_process_is_read_signalled_and_waited_for", process),
        case("lab::direct_and_tunnel_answer_past_the_director", direct_return),
    ]
}

/// An echo server on each server of the network, `s0`, `s1`, …
fn echoes(network: &Network, family: Family, port: u16) -> Vec<Echo> {
    let start = |(number, netns)| {
        let address = SocketAddr::new(network.server_address(number, family), port);
        Echo::start(netns, &format!("s{number}"), &[address])
    };
    network.servers.iter().enumerate().map(start).collect()
}

/// Programs a service of the VIP, port 53, with every server on `port`, by ipvsadm.
fn program(network: &Network, family: Family, options: &[&str], method: &str, port: u16) -> SocketAddr {
    let service = SocketAddr::new(vip(family), 53);
    let name = service.to_string();
    network.director.check("ipvsadm", &[&["-A", "-u", &name, "-s", "rr"], options].concat());
    for number in 0..network.servers.len() {
        let server = SocketAddr::new(network.server_address(number, family), port).to_string();
        network.director.check("ipvsadm", &["-a", "-u", &name, "-r", &server, method]);
    }
    service
}

/// The rewrite of the design in its simplest form, without notrack.
fn rewrite(network: &Network, family: Family, rule: &str) {
    let (ip, l3) = if family == Family::V4 { ("ip", "ipv4_addr") } else { ("ip6", "ipv6_addr") };
    let elements: Vec<String> = (0..network.servers.len())
        .map(|number| format!("{} . 5300 : goto dns", network.server_address(number, family)))
        .collect();
    network.director.nft(&format!(
        "table {ip} hand {{
            chain dns {{
{rule}
}}
            map replies {{ type {l3} . inet_service : verdict; elements = {{ {} }} }}
            chain out {{ type filter hook postrouting priority srcnat; {ip} saddr . udp sport vmap @replies; }}
        }}",
        elements.join(", ")
    ));
}

fn to_client(packets: &[Packet]) -> Vec<&Packet> {
    packets.iter().filter(|packet| !packet.outgoing && packet.protocol == 17).collect()
}

fn ops_without_a_reply_rule() {
    let network = Network::new(3);
    let mut servers = echoes(&network, Family::V4, 5300);
    let service = program(&network, Family::V4, &["-o"], "-m", 5300);
    let capture = Capture::start(network.client());
    let answered = Burst::new(service, 30).run(network.client());
    assert_eq!(answered.spread(), [10, 10, 10]);
    assert!(answered.lost.is_empty());
    let own: BTreeSet<SocketAddr> =
        (0..3).map(|number| SocketAddr::new(network.server_address(number, Family::V4), 5300)).collect();
    assert_eq!(answered.sources(), own);
    let packets = capture.stop();
    let seen: BTreeSet<SocketAddr> = to_client(&packets).iter().map(|packet| packet.source).collect();
    assert_eq!(seen, own, "the capture sees the same");
    assert!(to_client(&packets).iter().all(|packet| packet.checksum == Checksum::Right));
    let client = network.client_address(0, Family::V4);
    for server in &mut servers {
        let received = server.received();
        assert_eq!(received.len(), 10);
        assert!(received.iter().all(|datagram| datagram.from.ip() == client));
    }
    assert!(reading::connections(&network.director).is_empty());
    let services = reading::services(&network.director);
    assert!(services.len() == 1 && services[0].ops, "{services:?}");
    assert_eq!(reading::weights(&network.director, "udp 192.0.2.53:53"), [1, 1, 1]);
}

fn without_ops() {
    let network = Network::new(3);
    let _servers = echoes(&network, Family::V4, 5300);
    let service = program(&network, Family::V4, &[], "-m", 5300);
    let answered = Burst::new(service, 30).run(network.client());
    assert_eq!(answered.spread(), [30]);
    assert_eq!(answered.sources(), [service].into());
    let entries = reading::connections(&network.director);
    assert_eq!(entries.len(), 1, "{entries:?}");
}

fn stateless_rewrite() {
    for family in Family::BOTH {
        let network = Network::new(3);
        let _servers = echoes(&network, family, 5300);
        let service = program(&network, family, &["-o"], "-m", 5300);
        let ip = if family == Family::V4 { "ip" } else { "ip6" };
        rewrite(&network, family, &format!("{ip} saddr set {} udp sport set 53", vip(family)));
        let capture = Capture::start(network.client());
        let answered = Burst::new(service, 30).run(network.client());
        assert_eq!(answered.spread(), [10, 10, 10], "{family:?}");
        assert_eq!(answered.sources(), [service].into());
        let packets = capture.stop();
        let replies = to_client(&packets);
        assert_eq!(replies.len(), 30);
        assert!(replies.iter().all(|packet| packet.source == service && packet.checksum == Checksum::Right));
        assert!(reading::nft(&network.director).contains("replies"));
    }
}

/// Echo servers that reply without a checksum.
fn zero_checksum_echoes(network: &Network) -> Vec<Echo> {
    let start = |(number, netns)| {
        let listen = vec![SocketAddr::new(network.server_address(number, Family::V4), 5300)];
        let spec = EchoSpec { name: format!("s{number}"), listen, answer: Answer::Echo, zero_checksum: true };
        Echo::with(netns, &spec)
    };
    network.servers.iter().enumerate().map(start).collect()
}

fn zero_checksum() {
    let network = Network::new(1);
    let _servers = zero_checksum_echoes(&network);
    let to = SocketAddr::new(network.server_address(0, Family::V4), 5300);
    let at_director = Capture::start(&network.director);
    let answered = Burst { zero_checksum: true, ..Burst::new(to, 3) }.run(network.client());
    assert_eq!(answered.spread(), [3]);
    let packets = at_director.stop();
    let udp: Vec<&Packet> = packets.iter().filter(|packet| packet.protocol == 17).collect();
    assert!(
        udp.iter().any(|packet| packet.destination == to) && udp.iter().any(|packet| packet.source == to)
    );
    assert!(udp.iter().all(|packet| packet.checksum == Checksum::Zero), "{udp:#?}");
}

fn zero_checksum_port_changed() {
    let network = Network::new(3);
    let _servers = zero_checksum_echoes(&network);
    let service = program(&network, Family::V4, &["-o"], "-m", 5300);
    let set = format!("ip saddr set {} udp sport set 53", service.ip());
    let burst = Burst { patience: Duration::from_millis(300), ..Burst::new(service, 6) };
    rewrite(&network, Family::V4, &set);
    let capture = Capture::start(network.client());
    assert_eq!(burst.run(network.client()).lost.len(), 6);
    let packets = capture.stop();
    assert!(to_client(&packets).iter().all(|packet| packet.checksum == Checksum::Wrong), "{packets:#?}");
    network.director.nft("delete table ip hand");
    rewrite(&network, Family::V4, &format!("udp checksum 0 {set} udp checksum set 0 return; {set}"));
    let answered = burst.run(network.client());
    assert_eq!(answered.spread(), [2, 2, 2]);
    assert_eq!(answered.sources(), [service].into());
}

fn stream_and_gap() {
    let network = Network::new(3);
    let _servers = echoes(&network, Family::V4, 5300);
    let service = program(&network, Family::V4, &["-o"], "-m", 5300);
    // A rate that is no load: where datagrams queue, a gap has no edges.
    let running = Stream { rate: 200, ..Stream::new(service) }.start(network.client());
    wait_until(Duration::from_secs(20), "400 replies", || running.received() >= 400);
    // One transaction: every packet is before it or after it.
    network
        .director
        .nft("table inet gap { chain forward {\ntype filter hook forward priority 0; policy drop;\n}; }");
    wait_until(Duration::from_secs(20), "losses", || running.sent() > running.received() + 100);
    network.director.nft("delete table inet gap");
    let before = running.received();
    wait_until(Duration::from_secs(20), "replies again", || running.received() > before + 100);
    let flow = running.stop();
    let time = flow.sent[flow.sent.len() - 1] - flow.sent[0];
    let rate = flow.sent.len() as f64 / time.as_secs_f64();
    assert!((190.0..210.0).contains(&rate), "{rate} a second");
    let lost = flow.answered.lost.len() as u64;
    assert!(lost >= 80, "{lost} lost");
    // All losses lie in the gap: nothing before and nothing after it. At its edges datagrams pass each other.
    let hole = flow.answered.lost[flow.answered.lost.len() - 1] - flow.answered.lost[0] + 1;
    assert!(hole <= lost + 10, "{:?}", flow.answered.lost);
    assert!(flow.longest_gap > Duration::from_millis(400), "{:?}", flow.longest_gap);
    assert_eq!(flow.answered.duplicates, 0);
    let spread = flow.answered.spread();
    assert_eq!(spread.len(), 3);
}

fn killed_server() {
    let network = Network::new(1);
    let mut servers = echoes(&network, Family::V4, 5300);
    let to = SocketAddr::new(network.server_address(0, Family::V4), 5300);
    let burst = Burst { patience: Duration::from_millis(300), ..Burst::new(to, 2) };
    assert_eq!(burst.run(network.client()).spread(), [2]);
    servers[0].set_answer(Answer::Silent);
    assert_eq!(burst.run(network.client()).lost, [0, 1]);
    assert_eq!(servers[0].received().len(), 4);
    servers[0].set_answer(Answer::Padded(4000));
    assert!(burst.run(network.client()).replies.iter().all(|reply| reply.length == 4000));
    servers[0].kill();
    let capture = Capture::start(network.client());
    assert_eq!(burst.run(network.client()).lost, [0, 1]);
    let packets = capture.stop();
    assert!(packets.iter().any(|packet| packet.icmp == Some((3, 3)) && packet.source.ip() == to.ip()));
    drop(servers);
    assert_eq!(echoes(&network, Family::V4, 5300).len(), 1, "the port is free again");
}

fn process() {
    let network = Network::new(1);
    let mut tcpdump =
        Process::start(&network.director, Command::new("tcpdump").args(["-lni", "back", "udp"]));
    tcpdump.wait_for("listening on back", Duration::from_secs(10));
    let _servers = echoes(&network, Family::V4, 5300);
    let to = SocketAddr::new(network.server_address(0, Family::V4), 5300);
    assert_eq!(Burst::new(to, 1).run(network.client()).spread(), [1]);
    tcpdump.wait_for("10.0.0.2", Duration::from_secs(10));
    tcpdump.signal(Signal::SIGINT);
    assert!(tcpdump.wait_exit(Duration::from_secs(10)).success(), "{:?}", tcpdump.lines());
    tcpdump.wait_for("captured", Duration::ZERO);
}

fn direct_return() {
    let network = Network::new(3);
    network.direct_return();
    for family in Family::BOTH {
        let service = SocketAddr::new(vip(family), 53);
        let start = |(number, netns)| Echo::start(netns, &format!("s{number}"), &[service]);
        let _servers: Vec<Echo> = network.servers.iter().enumerate().map(start).collect();
        for method in ["-g", "-i"] {
            program(&network, family, &["-o"], method, 53);
            let answered = Burst::new(service, 30).run(network.client());
            assert_eq!(answered.spread(), [10, 10, 10], "{method} {family:?}");
            assert_eq!(answered.sources(), [service].into());
            network.director.check("ipvsadm", &["-C"]);
        }
    }
}
