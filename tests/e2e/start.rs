//! What would keep the service from working is said at start with its cure, and by the exit status.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lab::{Burst, Daemon, Family, Network, Process, case, case_in_vm, reading, vip, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::setup::{
    IPVSD, LIMIT, PATIENT, command, config, echoes, ipvsd, key, servers, service, wait_for_weights,
};

pub fn tests() -> Vec<Trial> {
    vec![
        case("start::harmful_sysctls_are_set_and_said", sysctls_set),
        case("start::harmful_sysctls_are_left_alone_where_others_may_depend_on_them", sysctls_left_alone),
        case("start::forwarding_that_is_off_is_refused_or_set", forwarding),
        case("start::what_may_break_the_way_of_a_packet_is_warned_of", warnings),
        case("start::without_nft_or_permission_it_does_not_start", without_nft_or_permission),
        case("start::a_bad_config_starts_nothing", bad_config),
        case("start::a_slow_nft_holds_up_neither_signals_nor_verdicts", slow_nft),
        case_in_vm("start::without_ip_vs_it_does_not_start", without_ip_vs),
    ]
}

/// Keys of `net.ipv4.vs` and the value that each had, and gets.
const HARMFUL: [(&str, &str, &str); 5] = [
    ("nat_icmp_send", "1", "0"),
    ("drop_packet", "3", "0"),
    ("backup_only", "1", "0"),
    ("schedule_icmp", "1", "0"),
    ("conn_max", "0", "1073741824"),
];

/// Those that this kernel has, all set to their harmful values.
fn harmful(network: &Network) -> Vec<(String, &'static str, &'static str)> {
    let exists =
        |key: &str| network.director.run(|| Path::new(&format!("/proc/sys/net/ipv4/vs/{key}")).exists());
    let found: Vec<_> = HARMFUL.into_iter().filter(|(key, ..)| exists(key)).collect();
    assert!(found.len() >= 4, "only conn_max is not in every kernel: {found:?}");
    let full = |(key, old, new)| (format!("net.ipv4.vs.{key}"), old, new);
    let found: Vec<_> = found.into_iter().map(full).collect();
    for (key, old, _) in &found {
        network.director.set_sysctl(key, old);
    }
    found
}

fn simple(network: &Network, more: &str) -> String {
    format!("{more}\n{}", config(network, Family::V4, 5300, &format!("check = {PATIENT}")))
}

/// A line that holds all of these.
fn line(process: &Process, words: &[&str]) -> String {
    let lines = process.lines();
    let found = lines.iter().find(|line| words.iter().all(|word| line.contains(word)));
    found.unwrap_or_else(|| panic!("no line with {words:?} in {lines:#?}")).clone()
}

/// Waits for its end and its exit status; nothing must be in the kernel then.
fn refused(network: &Network, process: &mut Process, status: i32) {
    assert_eq!(process.wait_exit(LIMIT).code(), Some(status));
    assert_eq!(reading::services(&network.director), []);
    assert_eq!(reading::nft(&network.director), "");
}

fn sysctls_set() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let found = harmful(&network);
    network.director.set_sysctl("net.ipv4.vs.conntrack", "1");
    let daemon = ipvsd(&network, &simple(&network, ""));
    wait_for_weights(&network, Family::V4, &[1, 1, 1]);
    for (key, old, new) in &found {
        line(
            &daemon,
            &[
                "WARN",
                &format!("key=\"{key}\""),
                &format!("old=\"{old}\""),
                &format!("new=\"{new}\""),
                "why=",
            ],
        );
        assert_eq!(network.director.sysctl(key), *new);
    }
    assert_eq!(network.director.sysctl("net.ipv4.vs.conntrack"), "1", "left alone");
    assert!(!daemon.lines().iter().any(|line| line.contains("vs.conntrack")));
    assert_eq!(Burst::new(service(Family::V4), 30).run(network.client()).spread(), [10, 10, 10]);
    drop(daemon);

    // Now nothing is wrong: then nothing is said.
    let mut daemon = ipvsd(&network, &simple(&network, "on_stop = \"remove\""));
    daemon.wait_for("started", LIMIT);
    let said = daemon.lines();
    assert!(!said.iter().any(|line| line.contains("WARN") || line.contains("ERROR")), "{said:#?}");
    // What the one that was killed had changed, its successor puts back.
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait_exit(LIMIT).success());
    for (key, old, _) in &found {
        assert_eq!(network.director.sysctl(key), *old, "{key}");
    }
}

fn sysctls_left_alone() {
    for (foreign, more, why) in [
        (true, "", "left alone, since 1 IPVS services that are not in the config may depend on it"),
        (false, "[kernel]\nsysctls = \"report\"", "left alone, as `sysctls = \"report\"` says"),
    ] {
        let network = Network::new(1);
        let found = harmful(&network);
        if foreign {
            network.director.check("ipvsadm", &["-A", "-t", "192.0.2.99:80", "-s", "rr"]);
        }
        let daemon = ipvsd(&network, &simple(&network, more));
        daemon.wait_for("started", LIMIT);
        for (key, old, new) in &found {
            line(
                &daemon,
                &["WARN", &format!("{key} is {old}: "), why, &format!("run `sysctl -w {key}={new}`")],
            );
            assert_eq!(network.director.sysctl(key), *old);
        }
    }
}

fn forwarding() {
    let network = Network::new(1);
    network.set_forwarding(false);
    let both = |more: &str| {
        format!(
            "{more}\n[[service]]\nname = \"dns\"\nlisten = [\"{}\", \"{}\"]\nservers = [{}, {}]\ncheck = \"none\"\n",
            service(Family::V4),
            service(Family::V6),
            servers(&network, Family::V4, 5300),
            servers(&network, Family::V6, 5300)
        )
    };
    let mut daemon = ipvsd(&network, &both(""));
    refused(&network, &mut daemon, 1);
    for (family, key) in [("IPv4", "net.ipv4.ip_forward"), ("IPv6", "net.ipv6.conf.all.forwarding")] {
        let what = format!("{family} is not forwarded, so no reply of service \"dns\" reaches a client");
        let said =
            line(&daemon, &["ERROR", &what, &format!("run `sysctl -w {key}=1`"), "forwarding = \"set\""]);
        assert_eq!(said.contains("accept_ra"), family == "IPv6", "{said}");
        assert_eq!(network.director.sysctl(key), "0", "never switched on silently");
    }

    let daemon = ipvsd(&network, &both("[kernel]\nforwarding = \"set\""));
    daemon.wait_for("started", LIMIT);
    for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
        daemon.wait_for(&format!("key=\"{key}\""), LIMIT);
        line(&daemon, &["WARN", "sysctl set", &format!("key=\"{key}\""), "old=\"0\"", "new=\"1\""]);
        assert_eq!(network.director.sysctl(key), "1");
    }
    drop(daemon);

    network.director.set_sysctl("net.ipv6.conf.all.forwarding", "0");
    let daemon = ipvsd(&network, &simple(&network, ""));
    daemon.wait_for("started", LIMIT);
    assert!(!daemon.lines().iter().any(|line| line.contains("IPv6")), "it has no IPv6 service");
}

fn warnings() {
    let network = Network::new(1);
    let vip = vip(Family::V4);
    network.director.set_sysctl("net.ipv4.conf.back.rp_filter", "1");
    // The default route leaves by the servers' interface: clients are there, too.
    network.director.ip(&["route add default via 10.0.1.254 dev back", &format!("addr del {vip}/32 dev lo")]);
    let daemon = ipvsd(&network, &simple(&network, ""));
    daemon.wait_for("started", LIMIT);
    line(&daemon, &["WARN", "rp_filter is strict on back", "run `sysctl -w net.ipv4.conf.back.rp_filter=2`"]);
    line(
        &daemon,
        &[
            "WARN",
            "servers and clients are both behind back",
            "sysctl -w net.ipv4.conf.back.send_redirects=0",
        ],
    );
    line(&daemon, &["WARN", &format!("the VIP {vip} is no address of this machine"), "backup director"]);
    wait_until(LIMIT, "the service", || !reading::services(&network.director).is_empty());
}

fn without_nft_or_permission() {
    let network = Network::new(1);
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("ipvsd.toml");
    fs::write(&file, simple(&network, "")).expect("writing the config");
    let run = |command: &mut Command| {
        let mut process = Process::start(&network.director, command.args(["run", "--config"]).arg(&file));
        refused(&network, &mut process, 1);
        process
    };
    // A directory without programs.
    let process = run(Command::new(IPVSD).env("PATH", dir.path()));
    line(&process, &["ERROR", "there is no `nft` in PATH; install the package nftables"]);
    let process = run(Command::new("setpriv").args(["--bounding-set=-all", "--inh-caps=-all", IPVSD]));
    line(&process, &["ERROR", "not permitted", "CAP_NET_ADMIN"]);
    let flush = [IPVSD, "flush", "--config"];
    let mut process = Process::start(
        &network.director,
        Command::new("setpriv").args(["--bounding-set=-all", "--inh-caps=-all"]).args(flush).arg(&file),
    );
    refused(&network, &mut process, 1);
    line(&process, &["ERROR", "not permitted", "CAP_NET_ADMIN"]);
}

/// Every `nft` waits for as long as the file `hold` is there, and says by the file `held` that it does.
fn slow_nft() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let dir = TempDir::new().expect("a temporary directory");
    let file = |name: &str| dir.path().join(name);
    let (hold, held) = (file("hold"), file("held"));
    let script = "#!/bin/sh\ncd \"${0%/*}\"\n[ ! -e hold ] || touch held\nwhile [ -e hold ]; do sleep 0.1; done\n\
                  PATH=${PATH#*:} exec nft \"$@\"\n";
    fs::write(file("nft"), script).expect("writing the script");
    fs::set_permissions(file("nft"), fs::Permissions::from_mode(0o755)).expect("making it a program");
    fs::write(file("ipvsd.toml"), simple(&network, "")).expect("writing the config");
    let path = format!("{}:{}", dir.path().display(), env::var("PATH").expect("PATH"));
    let start = || {
        let mut command = Command::new(IPVSD);
        command.env("PATH", &path).args(["run", "--config"]).arg(file("ipvsd.toml"));
        Process::start(&network.director, &mut command)
    };
    let begin = || {
        let _ = fs::remove_file(&held);
        fs::write(&hold, "").expect("writing a file");
    };
    let wait = || wait_until(LIMIT, "nft", || held.exists());
    let end = || fs::remove_file(&hold).expect("removing a file");

    begin();
    let mut daemon = start();
    wait();
    daemon.signal(Signal::SIGTERM);
    end();
    assert!(daemon.wait_exit(LIMIT).success());

    begin();
    let daemon = start();
    wait();
    daemon.signal(Signal::SIGHUP);
    end();
    let reloaded = || daemon.lines().iter().filter(|line| line.contains(" reloaded ")).count();
    wait_until(LIMIT, "the first reload", || reloaded() == 1);
    wait_for_weights(&network, Family::V4, &[1, 1, 1]);

    begin();
    daemon.signal(Signal::SIGHUP);
    wait();
    servers[1].kill();
    wait_for_weights(&network, Family::V4, &[1, 0, 1]);
    assert!(!daemon.lines().iter().any(|line| line.contains("reload refused")), "nft was not waited for");
    assert_eq!(reloaded(), 1);
    end();
    wait_until(LIMIT, "the second reload", || reloaded() == 2);
}

fn bad_config() {
    let network = Network::new(2);
    let good = simple(&network, "");
    let bad = good.replace("10.0.1.12:5300", "10.0.1.11:5300")
        + "interval = \"1s\"\n[[service]]\nname = \"echo\"\n";
    let mut daemon = ipvsd(&network, &bad);
    refused(&network, &mut daemon, 2);
    let said = daemon.lines();
    let mut validate = Process::start(
        &network.director,
        Command::new(IPVSD).args(["validate", "--config"]).arg(daemon.config_file()),
    );
    refused(&network, &mut validate, 2);
    assert_eq!(validate.lines(), said, "validate says the same");
    for (what, place) in [
        ("has the server 10.0.1.11:5300 twice", ":5:30"),
        ("unknown key `interval`", ":7:1"),
        ("has no VIP", ":8:1"),
        ("has no server", ":8:1"),
        ("has no check", ":8:1"),
        ("two services are named `echo`", ":9:8"),
    ] {
        let is = |pair: &&[String]| pair[0].contains(what) && pair[1].ends_with(place);
        assert!(said.windows(2).any(|pair| is(&pair)), "no {what} at {place} in {said:#?}");
    }

    let mut missing = Process::start(
        &network.director,
        Command::new(IPVSD).args(["run", "--config", "/there/is/no/such.toml"]),
    );
    refused(&network, &mut missing, 2);
    line(&missing, &["/there/is/no/such.toml", "No such file"]);

    let daemon: Daemon = ipvsd(&network, &good);
    wait_until(LIMIT, "the good one starts", || {
        reading::services(&network.director).iter().any(|service| service.key == key(Family::V4))
    });
    drop(daemon);
}

fn without_ip_vs() {
    const HIDE: &str = "/etc/modprobe.d/lab-no-ipvs.conf";
    struct Hidden;
    impl Drop for Hidden {
        fn drop(&mut self) {
            let back = fs::remove_file(HIDE).and_then(|()| Command::new("modprobe").arg("ip_vs").status());
            println!("ip_vs is back: {back:?}");
        }
    }
    let network = Network::new(1);
    let modules = || fs::read_to_string("/proc/modules").expect("/proc/modules");
    // Namespaces of earlier tests may still be on their way out, and hold schedulers.
    wait_until(LIMIT, "ip_vs out of the kernel", || {
        let loaded = modules();
        let names = loaded.lines().filter_map(|line| line.split(' ').next());
        let names: Vec<&str> = names.filter(|name| name.starts_with("ip_vs")).collect();
        let _ = Command::new("rmmod").args(names).output();
        !modules().contains("ip_vs")
    });
    let _hidden = Hidden;
    fs::create_dir_all("/etc/modprobe.d")
        .and_then(|()| fs::write(HIDE, "install ip_vs /bin/false\n"))
        .expect(HIDE);
    let mut daemon = ipvsd(&network, &simple(&network, ""));
    assert_eq!(daemon.wait_exit(LIMIT).code(), Some(1));
    line(&daemon, &["ERROR", "the kernel has no IPVS", "modprobe ip_vs"]);
    let file = daemon.config_file().display().to_string();
    let (status, out, err) = command(&network.director, &["doctor", "--json", "--config", &file]);
    assert_eq!((status, out.matches("\"id\"").count()), (1, 1), "{out}{err}");
    assert!(out.contains("\"id\": \"no-ipvs\"") && out.contains("modprobe ip_vs"), "{out}{err}");
    assert_eq!(reading::nft(&network.director), "");
}
