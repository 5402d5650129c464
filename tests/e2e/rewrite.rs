//! Every datagram is scheduled on its own, and every reply comes from VIP:port.

use lab::{Burst, Capture, Family, Network, case, reading};
use libtest_mimic::Trial;

use crate::setup::{PATIENT, config, echoes, ipvsd, service, wait_for_weights};

pub fn tests() -> Vec<Trial> {
    vec![case("rewrite::one_client_port_is_spread_exactly", spread)]
}

fn spread() {
    for family in Family::BOTH {
        let network = Network::new(3);
        let _servers = echoes(&network, 5300);
        let _daemon = ipvsd(&network, &config(&network, family, 5300, &format!("check = {PATIENT}")));
        wait_for_weights(&network, family, &[1, 1, 1]);
        let capture = Capture::start(network.client());
        let answered = Burst::new(service(family), 300).run(network.client());
        assert_eq!(answered.spread(), [100, 100, 100]);
        assert_eq!(answered.sources(), [service(family)].into());
        let packets = capture.stop();
        let mut replies = packets.iter().filter(|packet| !packet.outgoing && packet.protocol == 17);
        assert!(replies.all(|packet| packet.source == service(family)));
        assert!(reading::connections(&network.director).is_empty());
    }
}
