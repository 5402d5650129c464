//! Every datagram is scheduled on its own, and every reply comes from VIP:port.

use std::net::SocketAddr;

use lab::{Answer, Burst, Capture, Echo, EchoSpec, Family, Network, Packet, case, reading, vip};
use libtest_mimic::Trial;

use crate::setup::{
    PATIENT, TRACKING, assert_no_trace, assert_spread, config, echoes, ipvsd, key, servers, service,
    wait_for_weights, wait_until_all_up,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("rewrite::one_client_port_is_spread_exactly", spread),
        case("rewrite::nothing_of_client_traffic_is_tracked", beside_conntrack),
        case("rewrite::zero_checksums_stay_zero", zero_checksum),
        case("rewrite::fragmented_replies_are_whole_and_from_the_vip", fragmented),
        case("rewrite::wrr_spreads_by_weight_exactly", weighted),
        case("rewrite::without_ops_it_is_plain_ipvs", plain),
    ]
}

/// The port of the VIPs behind which servers answer on port 5300; behind port 53 they answer on 53.
const CHANGED: u16 = 5353;

/// Two services, each at both VIPs: one whose servers have the VIP's port, and one whose servers have another.
fn kept_and_changed(network: &Network) -> String {
    let one = |name, port, server_port| {
        let [four, six] = Family::BOTH.map(|family| SocketAddr::new(vip(family), port));
        let [servers4, servers6] = Family::BOTH.map(|family| servers(network, family, server_port));
        format!(
            "[[service]]\nname = \"{name}\"\nlisten = [\"{four}\", \"{six}\"]\nservers = [{servers4}, {servers6}]\n"
        )
    };
    format!("[defaults]\ncheck = {PATIENT}\n{}{}", one("kept", 53, 53), one("changed", CHANGED, 5300))
}

/// Echo servers for [`kept_and_changed`].
fn both_ports(network: &Network) -> [Vec<Echo>; 2] {
    [53, 5300].map(|port| echoes(network, port))
}

/// Both VIPs with both ports.
fn all_four() -> impl Iterator<Item = SocketAddr> {
    let ports = |family| [53, CHANGED].map(|port| SocketAddr::new(vip(family), port));
    Family::BOTH.into_iter().flat_map(ports)
}

fn spread() {
    let network = Network::new(3);
    let _servers = both_ports(&network);
    let _daemon = ipvsd(&network, &kept_and_changed(&network));
    wait_until_all_up(&network, 4);
    for to in all_four() {
        assert_spread(&network, &Burst::new(to, 300), &[100, 100, 100]);
    }
    assert_eq!(reading::connections(&network.director), Vec::<String>::new());
}

fn beside_conntrack() {
    let network = Network::new(3);
    network.director.set_sysctl("net.ipv4.vs.conntrack", "1");
    network.director.nft(TRACKING);
    let _servers = both_ports(&network);
    let _daemon = ipvsd(&network, &kept_and_changed(&network));
    wait_until_all_up(&network, 4);
    for to in all_four() {
        assert_spread(&network, &Burst::new(to, 300), &[100, 100, 100]);
    }
    assert_no_trace(&network);
    assert_eq!(network.director.sysctl("net.ipv4.vs.conntrack"), "1", "it is not ipvsd's to change");
}

fn zero_checksum() {
    let network = Network::new(3);
    let start = |(number, netns)| {
        let listen = [53, 5300].map(|port| SocketAddr::new(network.server_address(number, Family::V4), port));
        let (name, listen) = (format!("s{number}"), listen.to_vec());
        Echo::with(netns, &EchoSpec { name, listen, answer: Answer::Echo, zero_checksum: true })
    };
    let _servers: Vec<Echo> = network.servers.iter().enumerate().map(start).collect();
    let only_v4 = |port, server_port| {
        let listen = SocketAddr::new(vip(Family::V4), port);
        let servers = servers(&network, Family::V4, server_port);
        format!(
            "[[service]]\nname = \"to-{server_port}\"\nlisten = \"{listen}\"\nservers = [{servers}]\ncheck = {PATIENT}\n"
        )
    };
    let _daemon = ipvsd(&network, &(only_v4(53, 53) + &only_v4(CHANGED, 5300)));
    wait_until_all_up(&network, 2);
    for port in [53, CHANGED] {
        let to = SocketAddr::new(vip(Family::V4), port);
        assert_spread(&network, &Burst { zero_checksum: true, ..Burst::new(to, 300) }, &[100, 100, 100]);
    }
}

fn fragmented() {
    let network = Network::new(3);
    let mut servers = both_ports(&network);
    let _daemon = ipvsd(&network, &kept_and_changed(&network));
    wait_until_all_up(&network, 4);
    servers.iter_mut().flatten().for_each(|server| server.set_answer(Answer::Padded(4000)));
    for tracking in [false, true] {
        if tracking {
            network.director.nft(TRACKING);
        }
        for to in all_four() {
            let capture = Capture::start(network.client());
            let answered = Burst { size: 3500, ..Burst::new(to, 300) }.run(network.client());
            assert_eq!(answered.spread(), [100, 100, 100], "{to}, {} lost", answered.lost.len());
            assert_eq!(answered.sources(), [to].into());
            assert!(answered.replies.iter().all(|reply| reply.length == 4000));
            let packets = capture.stop();
            let replies: Vec<&Packet> =
                packets.iter().filter(|packet| !packet.outgoing && packet.protocol == 17).collect();
            assert_eq!(replies.len(), 900, "4000 bytes are three fragments");
            assert!(replies.iter().all(|packet| packet.fragment && packet.source.ip() == to.ip()));
        }
    }
    assert_eq!(reading::connections(&network.director), Vec::<String>::new());
}

fn weighted() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let [one, two] = [0, 1].map(|number| SocketAddr::new(network.server_address(number, Family::V4), 5300));
    let config = format!(
        r#"
[[service]]
name = "weighted"
listen = "{}"
servers = ["{one}", {{ address = "{two}", weight = 2 }}]
scheduler = "wrr"
check = {{ type = "udp", send = "the default times" }}
"#,
        service(Family::V4)
    );
    let _daemon = ipvsd(&network, &config);
    wait_for_weights(&network, Family::V4, &[1, 2]);
    assert_spread(&network, &Burst::new(service(Family::V4), 300), &[100, 200]);
}

fn plain() {
    for family in Family::BOTH {
        let network = Network::new(3);
        let _servers = echoes(&network, 5300);
        let _daemon =
            ipvsd(&network, &config(&network, family, 5300, &format!("ops = false\ncheck = {PATIENT}")));
        wait_for_weights(&network, family, &[1, 1, 1]);
        assert_spread(&network, &Burst::new(service(family), 30), &[30]);
        assert_eq!(reading::connections(&network.director).len(), 2, "one for each client port");
        let services = reading::services(&network.director);
        assert!(services.len() == 1 && services[0].key == key(family) && !services[0].ops, "{services:?}");
        assert!(!reading::nft(&network.director).contains("ipvsd"));
    }
}
