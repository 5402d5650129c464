//! What most tests begin with: servers that echo, and ipvsd over them.

use std::net::SocketAddr;
use std::time::Duration;

use lab::{Daemon, Echo, Family, Network, reading, vip, wait_until};

/// The daemon under test.
pub const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

/// Long enough for anything that is to happen on a slow guest.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A check that a healthy echo server passes on a slow guest, too.
pub const PATIENT: &str = r#"{ type = "udp", send = "check", expect = "check", interval = "300ms", timeout = "2s", retry_interval = "1s" }"#;

/// VIP:port of the service under test.
pub fn service(family: Family) -> SocketAddr {
    SocketAddr::new(vip(family), 53)
}

/// As `reading::weights` names it: `udp 192.0.2.53:53`.
pub fn key(family: Family) -> String {
    format!("udp {}", service(family))
}

/// An echo server on each server of the network, `s0`, `s1`, …, on both families.
pub fn echoes(network: &Network, port: u16) -> Vec<Echo> {
    let start = |(number, netns)| {
        let listen = Family::BOTH.map(|family| SocketAddr::new(network.server_address(number, family), port));
        Echo::start(netns, &format!("s{number}"), &listen)
    };
    network.servers.iter().enumerate().map(start).collect()
}

/// `"10.0.1.11:5300", …` for all servers of one family.
pub fn servers(network: &Network, family: Family, port: u16) -> String {
    let address = |number| format!("\"{}\"", SocketAddr::new(network.server_address(number, family), port));
    (0..network.servers.len()).map(address).collect::<Vec<_>>().join(", ")
}

/// One service at the VIP of `family`, over all servers on `port`, with more lines of its own (`check` among them).
pub fn config(network: &Network, family: Family, port: u16, more: &str) -> String {
    format!(
        "[[service]]\nname = \"echo\"\nlisten = \"{}\"\nservers = [{}]\n{more}\n",
        service(family),
        servers(network, family, port)
    )
}

/// Starts ipvsd in the director's namespace.
pub fn ipvsd(network: &Network, config: &str) -> Daemon {
    Daemon::start(&network.director, IPVSD, config)
}

/// Waits until the servers of the service have these weights in the kernel, in the order of their addresses.
pub fn wait_for_weights(network: &Network, family: Family, weights: &[u32]) {
    wait_until(LIMIT, &format!("weights {weights:?}"), || {
        let services = reading::services(&network.director);
        let Some(found) = services.iter().find(|found| found.key == key(family)) else { return false };
        let mut servers: Vec<_> =
            found.servers.iter().map(|server| (server.address, server.weight)).collect();
        servers.sort();
        servers.into_iter().map(|(_, weight)| weight).eq(weights.iter().copied())
    });
}
