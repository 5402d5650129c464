//! Sysctls, addresses, routes, interfaces, and a keepalived.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;

use lab::{Echo, Family, Network, Process, case, vip, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Ward, run_cures};
use crate::setup::{LIMIT, PATIENT, command};

pub fn tests() -> Vec<Trial> {
    vec![
        case("doctor::sysctls", sysctls),
        case("doctor::ways_and_addresses", ways),
        case("doctor::servers_beside_the_vip", shared_segment),
        case("doctor::a_keepalived_and_a_train_of_datagrams", neighbours),
        case("doctor::without_nft", without_nft),
    ]
}

fn sysctls() {
    let ward = Ward::new(2, "[kernel]\nsysctls = \"report\"");
    let keys = [
        ("net.ipv4.vs.nat_icmp_send", "1", "nat-icmp-send"),
        ("net.ipv4.vs.drop_packet", "3", "drop-packet"),
        ("net.ipv4.vs.backup_only", "1", "backup-only"),
        ("net.ipv4.vs.schedule_icmp", "1", "schedule-icmp"),
        ("net.ipv4.vs.conn_max", "0", "conn-max"),
        ("net.ipv4.vs.run_estimation", "0", "run-estimation"),
        ("net.ipv4.ip_forward", "0", "forwarding-off"),
        ("net.ipv6.conf.all.forwarding", "0", "forwarding-off"),
        ("net.ipv4.conf.back.rp_filter", "1", "rp-filter"),
    ];
    let mut tried = 0;
    for (key, value, id) in keys {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        if !ward.network.director.run(|| Path::new(&path).exists()) {
            println!("this kernel has no {key}");
            continue;
        }
        tried += 1;
        let set = |network: &Network| network.director.set_sysctl(key, value);
        ward.named(&[id], set, |network, found| {
            assert!(found[0]["seen"].as_str().is_some_and(|seen| seen.contains(key) || id == "rp-filter"));
            run_cures(network, found, "sysctl");
        });
    }
    assert!(tried >= 7, "only conn_max and run_estimation are not in every kernel");
}

fn ways() {
    let ward = Ward::new(2, "");
    let ip = |command: String| move |network: &Network| network.director.ip(&[command]);
    let undo = |command: String| move |network: &Network, _: &[_]| network.director.ip(&[command]);
    let [four, six] = Family::BOTH.map(vip);
    ward.named(
        &["vip-absent"],
        ip(format!("addr del {four}/32 dev lo")),
        undo(format!("addr add {four} dev lo")),
    );
    ward.named(
        &["vip-absent"],
        ip(format!("addr del {six}/128 dev lo")),
        undo(format!("addr add {six} dev lo")),
    );
    // As where a proxy or VRRP shares the machine: any address can be bound then.
    for (family, key) in [(four, "net.ipv4.ip_nonlocal_bind"), (six, "net.ipv6.ip_nonlocal_bind")] {
        ward.network.director.set_sysctl(key, "1");
        ward.named(
            &["vip-absent"],
            ip(format!("addr del {family} dev lo")),
            undo(format!("addr add {family} dev lo")),
        );
    }
    // The VIP is one of a whole network that is this machine's.
    ward.network
        .director
        .ip(&[format!("addr del {four} dev lo"), "route add local 192.0.2.0/24 dev lo".to_owned()]);
    assert!(ward.findings(&[]).is_empty());
    ward.network
        .director
        .ip(&["route del local 192.0.2.0/24 dev lo".to_owned(), format!("addr add {four} dev lo")]);
    for family in Family::BOTH {
        let server = ward.network.server_address(1, family);
        let add = ip(format!("route add unreachable {server}"));
        ward.named(&["no-route"], add, undo(format!("route del unreachable {server}")));
    }
    // The default route leaves by the servers' interface: clients are there, too.
    let add = ip("route add default via 10.0.1.254 dev back".to_owned());
    ward.named(&["send-redirects"], add, |network, found| run_cures(network, found, "sysctl"));
}

fn shared_segment() {
    let network = Network::new(1);
    let _echo = Echo::start(&network.servers[0], "s0", &["10.0.1.11:53".parse().expect("an address")]);
    network.director.ip(&["addr add 10.0.1.53/24 dev back"]);
    let config = |vip: &str| {
        format!(
            "[[service]]\nname = \"echo\"\nlisten = \"{vip}:53\"\nservers = [\"10.0.1.11:53\"]\ncheck = {PATIENT}\n"
        )
    };
    let daemon = crate::setup::ipvsd(&network, &config("10.0.1.53"));
    let echoes = Vec::new();
    let ward = Ward { network, echoes, daemon };
    let found = |ids: &[&str]| {
        wait_until(LIMIT, &format!("{ids:?}"), || super::names(&ward.findings(&[])) == ids);
    };
    found(&["shared-segment"]);
    fs::write(ward.daemon.config_file(), config("192.0.2.53")).expect("writing the config");
    let (status, out, err) = command(&ward.network.director, &["reload"]);
    assert_eq!(status, 0, "{out}{err}");
    found(&[]);
}

fn neighbours() {
    let ward = Ward::new(2, "");
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let file = directory.path().join("keepalived.conf");
    let nothing = "virtual_server 192.0.2.99 53 {\n lb_kind NAT\n protocol UDP\n}\n";
    fs::write(&file, nothing).expect("writing keepalived's config");
    let keepalived = RefCell::new(None);
    let start = |network: &Network| {
        let mut program = Command::new("keepalived");
        program.args(["--dont-fork", "--log-console", "--check", "--use-file"]).arg(&file);
        program.arg("--pid").arg(directory.path().join("pid"));
        program.arg("--checkers_pid").arg(directory.path().join("checkers"));
        keepalived.replace(Some(Process::start(&network.director, &mut program)));
        wait_until(LIMIT, "the checker", || directory.path().join("checkers").exists());
    };
    let cure = |_: &Network, _: &[_]| {
        // The parent cannot start the checker again, and neither can clean up.
        let checker = fs::read_to_string(directory.path().join("checkers")).expect("the checker's number");
        let checker = Pid::from_raw(checker.trim().parse().expect("a number"));
        keepalived.borrow().as_ref().expect("a keepalived").signal(Signal::SIGSTOP);
        kill(checker, Signal::SIGKILL).expect("killing the checker");
        drop(keepalived.take());
    };
    ward.named(&["keepalived"], start, cure);
    for feature in ["rx-udp-gro-forwarding", "rx-gro-list"] {
        let on = |network: &Network| _ = network.director.check("ethtool", &["-K", "client0", feature, "on"]);
        ward.named(&["gro-forwarding"], on, |network, found| run_cures(network, found, "ethtool"));
    }
}

/// A `PATH` that has all programs but `nft`.
fn without_nft() {
    let ward = Ward::new(1, "");
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    for program in ["ip", "ethtool"] {
        let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|dir| Path::new(dir).join(program));
        let found = found.iter().find(|path| path.exists()).expect("a program");
        std::os::unix::fs::symlink(found, directory.path().join(program)).expect("a link");
    }
    let path = format!("PATH={}", directory.path().display());
    let file = ward.daemon.config_file().display().to_string();
    let output = ward
        .network
        .director
        .output("env", &[&path, crate::setup::IPVSD, "doctor", "--json", "--config", &file]);
    let found: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(super::names(&found), ["no-nft"], "{found:#?}");
    assert_eq!(output.status.code(), Some(1));
    assert!(ward.findings(&[]).is_empty());
}
