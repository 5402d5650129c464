//! Real servers behind the VIP, each asked by the check of its protocol: one that lives has weight, one that is not right has none,
//! and neither has one whose answers come late or from another address, or whose process is gone.

mod connected;
mod peers;
mod web;

use std::any::Any;

use lab::{Daemon, Echo, Family, Netns, Network, Process, case, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::setup::{LIMIT, ipvsd, servers, service};
use crate::watch::Watch;

pub fn tests() -> Vec<Trial> {
    vec![
        case("real::unbound_is_checked_by_dns", peers::unbound),
        case("real::freeradius_is_checked_by_radius", peers::freeradius),
        case("real::freeradius_answers_for_accounting", peers::freeradius_accounting),
        case("real::kamailio_is_checked_by_sip", peers::kamailio),
        case("real::chrony_is_checked_by_ntp", peers::chrony),
        case("real::snmpd_is_checked_by_snmp", peers::snmpd),
        case("real::rsyslog_is_checked_by_syslog", peers::rsyslog),
        case("real::rsyslog_is_checked_by_syslog_and_tcp", peers::rsyslog_with_companion),
        case("real::coturn_is_checked_by_stun", peers::coturn),
        case("real::tftpd_is_checked_by_tftp", peers::tftpd),
        case("real::ngtcp2_is_checked_by_quic", peers::ngtcp2),
        case("real::nginx_is_checked_by_https_tcp_and_icmp", web::nginx),
        case("real::nginx_is_checked_by_http_alone", connected::http),
        case("real::nginx_is_checked_by_tcp_alone", connected::tcp),
        case("real::a_host_is_checked_by_icmp_alone", connected::icmp),
        case("real::files_and_commands_give_weights", web::weights),
        case("real::garbage_passes_no_check", garbage),
    ]
}

/// A running server and the folder with its files.
struct Server {
    process: Process,
    _dir: TempDir,
}

impl Server {
    /// Kills it and the processes that it has started: one of them may hold the socket.
    fn kill(&mut self) {
        let _ = killpg(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGKILL);
        self.process.wait_exit(LIMIT);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A check and two servers for it.
struct Plan<'a> {
    /// Without braces.
    check: &'a str,
    port: u16,
    /// Starts server 0, which is right, on the address of its namespace.
    right: &'a dyn Fn(&Network) -> Server,
    /// Starts server 1, which is not.
    wrong: &'a dyn Fn(&Network) -> Box<dyn Any>,
    /// What the log says about server 1.
    why: &'a str,
}

const TIMES: &str = "interval = \"200ms\", timeout = \"1s\", retry_interval = \"200ms\", fall = 2, rise = 1";

/// What is common to all protocols with answers.
fn lives_and_dies(plan: &Plan<'_>) {
    let network = Network::new(2);
    let (mut right, _wrong) = ((plan.right)(&network), (plan.wrong)(&network));
    let watch = Watch::start(&network.director);
    let daemon = start(&network, plan.check, plan.port);
    watch.wait(&[1, 0]);
    let wrong = network.server_address(1, Family::V4);
    wait_until(LIMIT, plan.why, || said(&daemon, &format!("{wrong}:{}", plan.port), plan.why));

    let server = &network.servers[0];
    let address = format!("{}:{}", network.server_address(0, Family::V4), plan.port);
    let silent = "no answer within 1s, 2 in a row";
    server.ip(&["addr add 10.0.1.99/24 dev eth0"]);
    server.nft("table ip other { chain out { type filter hook postrouting priority 0; meta l4proto udp ip saddr set 10.0.1.99\n}\n}");
    watch.wait(&[0, 0]);
    wait_until(LIMIT, "an answer from another address is none", || said(&daemon, &address, silent));
    server.nft("delete table ip other");
    watch.wait(&[1, 0]);

    server.check("tc", &["qdisc", "add", "dev", "eth0", "root", "netem", "delay", "2s"]);
    watch.wait(&[0, 0]);
    let silences = || daemon.lines().iter().filter(|line| line.contains(silent)).count();
    wait_until(LIMIT, "an answer that is late is none", || silences() == 2);
    server.check("tc", &["qdisc", "del", "dev", "eth0", "root"]);
    watch.wait(&[1, 0]);

    server.nft("table ip silent { chain in { type filter hook input priority 0; meta l4proto udp drop\n}\n}");
    watch.wait(&[0, 0]);
    wait_until(LIMIT, "no answer at all", || silences() == 3);
    server.nft("delete table ip silent");
    watch.wait(&[1, 0]);

    right.kill();
    watch.wait(&[0, 0]);
    let refused = "refused (ICMP port unreachable), 2 in a row";
    wait_until(LIMIT, refused, || said(&daemon, &address, refused));
    assert_eq!(watch.connections(), Vec::<String>::new());
}

/// ipvsd over both servers, which listen by then.
fn start(network: &Network, check: &str, port: u16) -> Daemon {
    wait_until(LIMIT, "both listen", || {
        let listens = |server: &Netns| server.check("ss", &["-Hlun"]).contains(&format!(":{port} "));
        network.servers.iter().all(listens)
    });
    let config = format!(
        "[[service]]\nname = \"real\"\nlisten = \"{}\"\nservers = [{}]\nwhen_all_down = \"refuse\"\n\
         check = {{ {check}, {TIMES} }}\n",
        service(Family::V4),
        servers(network, Family::V4, port)
    );
    ipvsd(network, &config)
}

/// Whether a line of the log is about this server and says this.
fn said(daemon: &Daemon, server: &str, why: &str) -> bool {
    daemon.lines().iter().any(|line| line.contains(&format!("server={server} ")) && line.contains(why))
}

/// One server that says the same to everyone, and every check.
fn garbage() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    let radius = format!("type = \"radius\", secret_file = \"{}\"", secret.path().display());
    std::fs::write(&secret, "testing123\n").expect("a secret");
    let checks = [
        // Its second byte is the identifier of one request in 256, to which it is a wrong answer, and no answer to all others.
        ("radius", radius.as_str(), "answer"),
        ("dns", "type = \"dns\"", "no answer within"),
        ("sip", "type = \"sip\"", "wrong answer: 24 bytes are no SIP message"),
        ("ntp", "type = \"ntp\"", "wrong answer: 24 bytes are no NTP message"),
        ("snmp", "type = \"snmp\"", "wrong answer: 24 bytes are no SNMP message"),
        ("stun", "type = \"stun\"", "wrong answer: 24 bytes are no STUN message"),
        ("tftp", "type = \"tftp\"", "wrong answer: 24 bytes are neither TFTP data nor an error"),
        ("quic", "type = \"quic\"", "wrong answer: not a QUIC packet with a long header"),
        ("udp", "type = \"udp\", send = \"x\", expect = \"^x\"", "does not match"),
    ];
    let network = Network::new(1);
    let address =
        |index: usize| std::net::SocketAddr::new(network.server_address(0, Family::V4), 5300 + index as u16);
    let listen: Vec<_> = (0..checks.len()).map(address).collect();
    let spec = lab::EchoSpec {
        name: "s0".to_owned(),
        listen,
        answer: lab::Answer::Text("a text of 24 bytes it is".to_owned()),
        zero_checksum: false,
    };
    let _server = Echo::with(&network.servers[0], &spec);
    let config: String = checks
        .iter()
        .enumerate()
        .map(|(index, (name, check, _))| {
            format!(
                "[[service]]\nname = \"{name}\"\nlisten = \"192.0.2.53:{}\"\nservers = [\"{}\"]\ncheck = {{ {check}, {TIMES} }}\n",
                5300 + index,
                address(index)
            )
        })
        .collect();
    let daemon = ipvsd(&network, &config);
    for (index, (_, _, why)) in checks.iter().enumerate() {
        let server = address(index).to_string();
        wait_until(LIMIT, why, || said(&daemon, &server, why));
    }
    assert!(daemon.lines().iter().all(|line| !line.contains("0 → 1")), "no server gets weight");
}
