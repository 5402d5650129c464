//! Client traffic tells first: what a server refuses makes it be probed at once, and clients never see who refused.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, SystemTime};

use etherparse::{Icmpv4Header, Icmpv4Type, PacketBuilder, icmpv4::DestUnreachableHeader};
use lab::{Capture, Daemon, Echo, Family, Network, Packet, Side, Stream, case, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};

use crate::setup::{LIMIT, config, echoes, ipvsd, service};
use crate::watch::Watch;

pub fn tests() -> Vec<Trial> {
    vec![
        case("passive::a_dead_server_is_out_at_its_first_refusal", dead),
        case("passive::forged_refusals_are_a_probe_in_100_ms_and_no_verdict", forged),
        case("passive::off_is_as_if_it_were_not_there", off),
    ]
}

/// An emulated guest on a busy machine takes 60 ms for what takes 1 ms of virtual time. That it is less than 50 is asserted there: by
/// `benches/run killed`, in the median and at worst.
const BOUND: Duration = Duration::from_millis(500);

/// So often the server dies, in each family and at each rate.
const DEATHS: usize = 3;

/// By itself it finds a dead server after 3 to 4 seconds.
const SLOW: &str = r#"check = { type = "udp", send = "check", expect = "check", interval = "1s", retry_interval = "1s", timeout = "2s", rise = 1, fall = 4 }"#;

/// What is invalid to conntrack is dropped as soon as conntrack has said so.
const INVALID: &str = "table inet somebody { chain pre { type filter hook prerouting priority -150; ct state invalid drop; }; \
     chain through { type filter hook forward priority 0; ct state invalid drop; }; }";

const WHY: &str = "refused (ICMP port unreachable), as client traffic was";

fn dead() {
    let network = Network::new(3);
    network.director.nft(INVALID);
    let mut servers = echoes(&network, 5300);
    let listen = Family::BOTH.map(|family| SocketAddr::new(network.server_address(1, family), 5300));
    let mut took = [Vec::new(), Vec::new()];
    for family in Family::BOTH {
        let watch = Watch::start(&network.director);
        let daemon = ipvsd(&network, &config(&network, family, 5300, SLOW));
        watch.wait(&[1, 1, 1]);
        for (rate, took) in [100, 1000].into_iter().zip(&mut took) {
            let stream = Stream { rate, ..Stream::new(service(family)) }.start(network.client());
            wait_until(LIMIT, "replies", || stream.received() >= 50);
            let client = Capture::start(network.client());
            for _ in 0..DEATHS {
                let (said, wire) = (weights(&daemon).len(), Capture::start(&network.servers[1]));
                servers[1].kill();
                let down = watch.wait(&[1, 0, 1]);
                let first = refusal(&wire.stop(), network.client_address(0, family));
                took.push(down.duration_since(first).unwrap_or_default());
                wait_until(LIMIT, "a line", || weights(&daemon).len() > said);
                let line = weights(&daemon)[said].clone();
                assert!(line.contains("1 → 0") && line.contains(WHY), "{line}");
                servers[1] = Echo::start(&network.servers[1], "s1", &listen);
                watch.wait(&[1, 1, 1]);
                wait_until(LIMIT, "a line", || weights(&daemon).len() > said + 1);
            }
            let flow = stream.stop();
            assert!(flow.answered.sources().iter().eq([&service(family)]));
            assert_eq!(icmp_errors(&client.stop()), Vec::<IpAddr>::new(), "clients see no error");
        }
        drop(daemon);
        network.director.check("ipvsadm", &["-C"]);
    }
    for (rate, took) in [100, 1000].into_iter().zip(&mut took) {
        took.sort();
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        println!("measured: {rate} a second: weight 0 after the first refusal: {median:?}, worst {worst:?}");
        assert!(median <= BOUND, "{rate} a second: {took:?}");
    }
}

/// What the daemon said of weights: other things happen, too, and are said in between.
fn weights(daemon: &Daemon) -> Vec<String> {
    daemon.lines().into_iter().filter(|line| line.contains("weight changed")).collect()
}

/// When the server first refused something to this client.
fn refusal(wire: &[Packet], client: IpAddr) -> SystemTime {
    let mut refusals = wire.iter().filter(|packet| packet.outgoing && packet.destination.ip() == client);
    let first = refusals.find(|packet| matches!(packet.icmp, Some((3, 3) | (1, 4))));
    first.expect("a refusal on the wire").at
}

/// The sources of the ICMP errors that came in.
fn icmp_errors(packets: &[Packet]) -> Vec<IpAddr> {
    let errors =
        packets.iter().filter(|packet| !packet.outgoing && matches!(packet.icmp, Some((3, _) | (1, _))));
    errors.map(|packet| packet.source.ip()).collect()
}

fn forged() {
    let network = Network::new(2);
    let mut servers = echoes(&network, 5300);
    let watch = Watch::start(&network.director);
    let daemon = ipvsd(&network, &config(&network, Family::V4, 5300, SLOW));
    watch.wait(&[1, 1]);
    wait_until(LIMIT, "two lines", || {
        daemon.lines().iter().filter(|line| line.contains("0 → 1")).count() == 2
    });
    let said = daemon.lines();
    let director = network.director_address(Side::Back, Family::V4);
    let mut probes = || {
        servers[1]
            .received()
            .iter()
            .filter(|got| got.from.ip() == director)
            .map(|got| got.at())
            .collect::<Vec<_>>()
    };
    let before = probes().len();
    let capture = Capture::start(network.client());
    let begun = SystemTime::now();
    network.servers[1].run(|| {
        for _ in 0..150 {
            forge(network.server_address(1, Family::V4), network.client_address(0, Family::V4), 5300);
            thread::sleep(Duration::from_millis(5));
        }
    });
    let took = begun.elapsed().expect("a clock that goes forward");
    wait_until(LIMIT, "hinted probes", || probes().len() >= before + 3);
    let hinted = probes().len() - before;
    let most = took.as_millis() as usize / 100 + 2 + took.as_secs() as usize + 1;
    println!("measured: 150 forged refusals in {} ms made {hinted} probes", took.as_millis());
    assert!(hinted <= most, "{hinted} probes in {took:?}");
    assert_eq!(daemon.lines(), said, "no verdict");
    assert_eq!(watch.states().last(), Some(&vec![1, 1]));
    assert_eq!(icmp_errors(&capture.stop()), Vec::<IpAddr>::new());

    // About another port, or another server's, it is no hint, and it is on its way as any packet.
    let before = probes().len();
    let capture = Capture::start(network.client());
    network.servers[1].run(|| {
        forge(network.server_address(1, Family::V4), network.client_address(0, Family::V4), 5301);
        forge(network.server_address(0, Family::V4), network.client_address(0, Family::V4), 5300);
    });
    wait_until(LIMIT, "regular probes", || probes().len() >= before + 2);
    let seen = icmp_errors(&capture.stop());
    assert!(seen.contains(&network.server_address(1, Family::V4)), "{seen:?}");
}

/// From this namespace: `server` seems not to listen on `port` for a datagram of `client`.
fn forge(server: IpAddr, client: IpAddr, port: u16) {
    let (IpAddr::V4(server), IpAddr::V4(client)) = (server, client) else { panic!("IPv4 only") };
    let mut about = Vec::new();
    let builder = PacketBuilder::ipv4(client.octets(), server.octets(), 64).udp(40_000, port);
    builder.write(&mut about, b"check").expect("a packet");
    let kind = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);
    let header = Icmpv4Header::with_checksum(kind, &about).to_bytes();
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("a raw socket");
    let to = SocketAddr::new(client.into(), 0).into();
    socket.send_to(&[&header[..], &about[..]].concat(), &to).expect("a packet sent");
}

fn off() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let watch = Watch::start(&network.director);
    // The daemon rereads its config: the rules change under traffic, and the table stays.
    let slow = config(&network, Family::V4, 5300, SLOW);
    let daemon = ipvsd(&network, &slow);
    watch.wait(&[1, 1, 1]);
    let off = "[passive]\nhints = false\nhide_servers = false\n";
    std::fs::write(daemon.config_file(), format!("{off}{slow}")).expect("the config");
    daemon.signal(Signal::SIGHUP);
    wait_until(LIMIT, "rules without it", || !lab::reading::nft(&network.director).contains("log group"));
    let stream = Stream { rate: 100, ..Stream::new(service(Family::V4)) }.start(network.client());
    wait_until(LIMIT, "replies", || stream.received() >= 50);
    let (said, capture) = (daemon.lines().len(), Capture::start(network.client()));
    servers[1].kill();
    let killed = SystemTime::now();
    let down = watch.wait(&[1, 0, 1]);
    assert!(
        down.duration_since(killed).expect("death first") > Duration::from_secs(2),
        "by its own probes only"
    );
    wait_until(LIMIT, "a line", || daemon.lines().len() > said);
    assert!(!daemon.lines()[said..].iter().any(|line| line.contains(WHY)));
    drop(stream.stop());
    let seen = icmp_errors(&capture.stop());
    assert!(
        seen.contains(&network.server_address(1, Family::V4)),
        "undropped, they name the server: {seen:?}"
    );
}
