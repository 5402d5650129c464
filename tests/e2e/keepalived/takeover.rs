//! From keepalived to ipvsd with the same file, and back again, under traffic.

use lab::{Daemon, Family, Network, reading, wait_until};
use nix::sys::signal::Signal;

use crate::setup::{IPVSD, LIMIT, echoes, wait_for_weights};
use crate::takeover::{Keepalived, rewrite_by_hand};
use crate::traffic::Traffic;

/// A keepalived.conf over all servers, with more lines for its virtual server.
fn file(network: &Network, family: Family, more: &str) -> String {
    let server = |number| {
        format!(
            "    real_server {} 5300 {{\n        weight 1\n        UDP_CHECK {{\n            payload 61\n            \
             require_reply 73\n            connect_timeout 3\n            retry 3\n        }}\n    }}\n",
            network.server_address(number, family)
        )
    };
    let servers: String = (0..network.servers.len()).map(server).collect();
    let vip = lab::vip(family);
    format!(
        "virtual_server {vip} 53 {{\n    delay_loop 1\n    lvs_sched rr\n    lvs_method NAT\n    protocol UDP\n    {more}\n{servers}}}\n"
    )
}

pub fn with_ops() {
    there_and_back("ops");
}

pub fn without_ops() {
    there_and_back("");
}

/// As docs/operations.md and docs/migration.md say: ipvsd beside it, keepalived killed; ipvsd stopped, keepalived started.
fn there_and_back(ops: &str) {
    let family = Family::V4;
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let text = file(&network, family, ops);
    if !ops.is_empty() {
        rewrite_by_hand(&network, family);
    }
    let keepalived = Keepalived::start(&network.director, &text);
    wait_for_weights(&network, family, &[1, 1, 1]);
    keepalived.parent.wait_for("Activating healthchecker for service", LIMIT);
    let before = network.director.check("ipvsadm", &["-Sn"]);
    let name = if ops.is_empty() { "without OPS" } else { "with OPS" };

    let traffic = Traffic::start_in(&network, family);
    traffic.calm();
    let mut daemon = Daemon::start_with(&network.director, IPVSD, "keepalived.conf", &text);
    daemon.wait_for("keepalived (process ", LIMIT);
    if !ops.is_empty() {
        let last = format!("{} . 5300 : goto to-", network.server_address(2, family));
        wait_until(LIMIT, "its rules", || reading::nft(&network.director).contains(&last));
    }
    traffic.replies(1000);
    keepalived.kill();
    traffic.replies(2000);
    assert_eq!(network.director.check("ipvsadm", &["-Sn"]), before, "nothing had to change");
    let states = traffic.watch.states();
    assert_eq!(states, [[1, 1, 1]]);
    let (flow, entries) = traffic.stop_pinned(&format!("takeover from keepalived {name}, with its own file"));
    assert_eq!(flow.answered.lost, [0; 0]);
    assert_eq!(entries.is_empty(), !ops.is_empty(), "{entries:?}");

    let traffic = Traffic::start_in(&network, family);
    traffic.calm();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait_exit(LIMIT).success());
    let keepalived = Keepalived::start(&network.director, &text);
    keepalived.parent.wait_for("Activating healthchecker for service", LIMIT);
    traffic.replies(2000);
    assert_eq!(network.director.check("ipvsadm", &["-Sn"]), before, "nothing had to change");
    let (flow, _) = traffic.stop_pinned(&format!("back again to keepalived {name}"));
    assert_eq!(flow.answered.lost, [0; 0]);
}
