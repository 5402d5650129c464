//! Checks that are no datagrams, each alone: nginx, and the host that it runs on.

use lab::{Family, Network, wait_until};

use super::web::{LOAD, authority, start};
use super::{Server, said};
use crate::setup::{LIMIT, ipvsd, servers, service};
use crate::watch::Watch;

/// A slow guest takes its time for a request.
const TIMES: &str = "interval = \"500ms\", timeout = \"3s\", retry_interval = \"500ms\", fall = 2, rise = 1";

/// Over two servers, of which number 1 is sick where that can be seen: number 0 is late, silent and gone.
fn lives_and_dies(check: &str, sick: u32, go: &dyn Fn(&Network, &mut Server), why: &str) {
    let network = Network::new(2);
    let ours = authority("ours");
    let mut right = start(&network, 0, &ours, LOAD);
    let _sick = start(&network, 1, &ours, "return 503;");
    let config = format!(
        "[[service]]\nname = \"alone\"\nlisten = \"{}\"\nservers = [{}]\nwhen_all_down = \"refuse\"\ncheck = {{ {check}, {TIMES} }}\n",
        service(Family::V4),
        servers(&network, Family::V4, 53)
    );
    let watch = Watch::start(&network.director);
    let daemon = ipvsd(&network, &config);
    let (alive, dead) = ([1, sick], [0, sick]);
    watch.wait(&alive);
    let (server, address) = (&network.servers[0], format!("{}:53", network.server_address(0, Family::V4)));
    let silences = || {
        let mine =
            |line: &&String| line.contains(&address) && line.contains("no answer within 3s, 2 in a row");
        daemon.lines().iter().filter(mine).count()
    };

    server.check("tc", &["qdisc", "add", "dev", "eth0", "root", "netem", "delay", "4s"]);
    watch.wait(&dead);
    wait_until(LIMIT, "an answer that is late is none", || silences() == 1);
    server.check("tc", &["qdisc", "del", "dev", "eth0", "root"]);
    watch.wait(&alive);

    server.nft("table ip silent { chain in { type filter hook input priority 0; ip protocol { tcp, icmp } drop\n}\n}");
    watch.wait(&dead);
    wait_until(LIMIT, "no answer at all", || silences() == 2);
    server.nft("delete table ip silent");
    watch.wait(&alive);

    go(&network, &mut right);
    watch.wait(&dead);
    wait_until(LIMIT, why, || said(&daemon, &address, why));
}

pub fn http() {
    let check = "type = \"http\", path = \"/health\", status = 200, body = \"^all is\"";
    lives_and_dies(check, 0, &|_, server| server.kill(), "connection refused, 2 in a row");
}

pub fn tcp() {
    lives_and_dies("type = \"tcp\"", 1, &|_, server| server.kill(), "connection refused, 2 in a row");
}

pub fn icmp() {
    let gone = |network: &Network, _: &mut Server| {
        network.servers[0].ip(&["link set eth0 down"]);
        // The lab's neighbours are known for ever.
        network.director.ip(&[format!("neigh del {} dev back", network.server_address(0, Family::V4))]);
    };
    lives_and_dies("type = \"icmp\"", 1, &gone, "host unreachable (ICMP)");
}
