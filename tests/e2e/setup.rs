//! What most tests begin with: servers that echo, and ipvsd over them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Output;
use std::time::{Duration, Instant};

use lab::{Burst, Capture, Checksum, Daemon, Echo, Family, Netns, Network, Side, reading, vip, wait_until};

/// The daemon under test.
pub const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

/// Long enough for anything that is to happen on a slow guest.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A check that a healthy echo server passes on a slow guest, too.
pub const PATIENT: &str = r#"{ type = "udp", send = "check", expect = "check", interval = "300ms", timeout = "5s", retry_interval = "1s" }"#;

/// VIP:port of the service under test.
pub fn service(family: Family) -> SocketAddr {
    SocketAddr::new(vip(family), 53)
}

/// As `reading::weights` names it: `udp 192.0.2.53:53`.
pub fn key(family: Family) -> String {
    format!("udp {}", service(family))
}

/// `10.0.1.11:5300` for server 0.
pub fn server(network: &Network, number: usize, family: Family) -> SocketAddr {
    SocketAddr::new(network.server_address(number, family), 5300)
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

/// Runs `ipvsd ARGUMENTS` in the namespace to its end: exit status, standard output, standard error.
pub fn command(netns: &Netns, arguments: &[&str]) -> (i32, String, String) {
    let runtime = format!("RUNTIME_DIRECTORY={}", netns.runtime_directory().display());
    let state = format!("STATE_DIRECTORY={}", netns.state_directory().display());
    let Output { status, stdout, stderr } =
        netns.output("env", &[&[&runtime, &state, IPVSD], arguments].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code().expect("an exit status"), text(&stdout), text(&stderr))
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

/// A set of rules of somebody else that makes the director track connections.
pub const TRACKING: &str = "table inet somebody { chain seen { type filter hook prerouting priority 0; ct state established accept; }; }";

/// Waits until the kernel has this many services, each with every server of the network at a weight.
pub fn wait_until_all_up(network: &Network, services: usize) {
    wait_until(LIMIT, "all servers up", || {
        let found = reading::services(&network.director);
        let up = |service: &reading::Service| {
            service.servers.len() == network.servers.len()
                && service.servers.iter().all(|server| server.weight > 0)
        };
        found.len() == services && found.iter().all(up)
    });
}

/// Sends `burst` from the first client: each server answers its share of it and none is lost, every reply comes from
/// where the burst went, and the client's wire saw the same with checksums that are right (or zero, where there is none).
pub fn assert_spread(network: &Network, burst: &Burst, shares: &[u64]) {
    // One whole round before: to lose the whole burst one by one takes minutes.
    let round = Burst { count: 3, ..burst.clone() }.run(network.client());
    assert!(round.lost.is_empty(), "{}: {:?} of 3 lost", burst.to, round.lost);
    let capture = Capture::start(network.client());
    let answered = burst.run(network.client());
    let packets = capture.stop();
    let to = burst.to;
    assert!(answered.lost.is_empty(), "{to}: {:?} lost", answered.lost);
    assert_eq!(answered.spread(), shares, "{to}");
    assert_eq!(answered.sources(), [to].into());
    assert_eq!((answered.duplicates, answered.strange.len()), (0, 0), "{to}");
    let requests = packets.iter().filter(|packet| packet.outgoing && packet.destination == to);
    let ports: BTreeSet<u16> = requests.map(|packet| packet.source.port()).collect();
    assert_eq!(ports.len(), 1, "{to}: one client port: {ports:?}");
    let replies: Vec<_> = packets.iter().filter(|packet| !packet.outgoing && packet.protocol == 17).collect();
    assert_eq!(replies.len() as u64, burst.count, "{to}: one packet for each reply");
    let checksum = if burst.zero_checksum { Checksum::Zero } else { Checksum::Right };
    for reply in replies {
        assert_eq!((reply.source, reply.checksum), (to, checksum), "{reply:?}");
    }
}

/// The kernel keeps nothing of client traffic: no IPVS connection, and no conntrack entry but those of the director's own
/// probes, which are tracked.
pub fn assert_no_trace(network: &Network) {
    assert_eq!(reading::connections(&network.director), Vec::<String>::new());
    let entries = reading::conntrack(&network.director);
    let own = Family::BOTH.map(|family| format!("src={} ", network.director_address(Side::Back, family)));
    let probe = |entry: &String| entry.starts_with("udp") && own.iter().any(|own| entry.contains(own));
    let vips = Family::BOTH.map(|family| format!("={} ", vip(family)));
    let foreign: Vec<_> =
        entries.iter().filter(|entry| !probe(entry) || vips.iter().any(|vip| entry.contains(vip))).collect();
    assert!(foreign.is_empty(), "{foreign:#?}");
    assert!(!entries.is_empty(), "nothing is tracked here, so this proves nothing");
}

/// How many datagrams may be lost by this many changes of a scheduler: each takes the kernel one grace period of RCU, about
/// 20 ms, and much more on a busy emulated machine. Measured with a service that nobody uses.
pub fn lost_by_schedulers(network: &Network, changes: u64) -> usize {
    let vip = "192.0.2.53:98";
    network.director.check("ipvsadm", &["-A", "-u", vip, "-s", "rr"]);
    let start = Instant::now();
    network.director.check("ipvsadm", &["-E", "-u", vip, "-s", "wrr"]);
    let took = start.elapsed();
    network.director.check("ipvsadm", &["-D", "-u", vip]);
    println!("measured: {took:?} for a change of the scheduler of an idle service");
    usize::try_from((100 + 3 * took.as_millis() as u64) * changes).expect("a number of datagrams")
}
