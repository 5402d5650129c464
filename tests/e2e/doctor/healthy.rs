//! Where it all works nothing is found, also by datagrams; and what may not be looked at is said.

use lab::{Echo, Family, Network, case, vip};
use libtest_mimic::Trial;
use std::net::SocketAddr;

use super::{Ward, config, findings};
use crate::setup::{IPVSD, PATIENT, ipvsd, servers, wait_until_all_up};

pub fn tests() -> Vec<Trial> {
    vec![
        case("doctor::a_healthy_director_has_no_findings", nat),
        case("doctor::healthy_ways_past_the_director_have_no_findings", past_the_director),
        case("doctor::without_privilege_it_says_what_it_could_not_look_at", without_privilege),
        case("doctor::usage_and_config_errors_are_status_2", errors),
    ]
}

fn nat() {
    let ward = Ward::new(3, "");
    assert_eq!(ward.findings(&[]), Vec::<serde_json::Value>::new());
    assert_eq!(ward.findings(&["echo", "--probe"]), Vec::<serde_json::Value>::new());
    let file = ward.daemon.config_file().display().to_string();
    let (status, out, err) =
        crate::setup::command(&ward.network.director, &["doctor", "--probe", "--config", &file]);
    println!("{out}");
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.starts_with("Linux ") && out.contains(", IPVS 1.2.1\n"), "{out}");
    assert!(out.ends_with("nothing found\n"), "{out}");
    assert!(!out.contains('\x1b'), "no colours where there is no terminal: {out:?}");
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("6 replies came back, 6 got to the client from the VIP"), "{out}");
}

/// Direct and both kinds of tunnel whose outer packets look different; nothing is forwarded here.
fn past_the_director() {
    let network = Network::new(2);
    network.direct_return();
    network.director.check("modprobe", &["-a", "fou", "fou6"]);
    network.set_forwarding(false);
    let ways =
        [("direct", "\"direct\""), ("ipip", "\"tunnel\""), ("gue", "{ tunnel = \"gue\", port = 6080 }")];
    let ports: Vec<u16> = (53..).take(ways.len()).collect();
    let start = |(number, netns)| {
        let own = Family::BOTH.map(|family| network.server_address(number, family));
        let addresses = own.into_iter().chain(Family::BOTH.map(vip));
        let sockets = |address| ports.iter().map(move |port| SocketAddr::new(address, *port));
        Echo::start(netns, &format!("s{number}"), &addresses.flat_map(sockets).collect::<Vec<_>>())
    };
    let _echoes: Vec<Echo> = network.servers.iter().enumerate().map(start).collect();
    let mut config = format!("[defaults]\ncheck = {PATIENT}\n");
    for ((name, forward), port) in ways.iter().zip(&ports) {
        let [four, six] = Family::BOTH.map(|family| SocketAddr::new(vip(family), *port));
        let [servers4, servers6] = Family::BOTH.map(|family| servers(&network, family, *port));
        config += &format!(
            "[[service]]\nname = \"{name}\"\nlisten = [\"{four}\", \"{six}\"]\nservers = [{servers4}, {servers6}]\nforward = {forward}\n"
        );
    }
    let daemon = ipvsd(&network, &config);
    wait_until_all_up(&network, 2 * ways.len());
    let file = daemon.config_file().display().to_string();
    for more in [&[][..], &["--probe"]] {
        let arguments = [&["doctor", "--config", file.as_str()], more].concat();
        let (status, out, err) = crate::setup::command(&network.director, &arguments);
        println!("{out}");
        assert_eq!((status, out.ends_with("nothing found\n")), (0, true), "{out}{err}");
        if !more.is_empty() {
            let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words.matches("4 came to IPVS, 4 left for servers").count(), 2 * ways.len(), "{out}");
        }
    }
}

fn without_privilege() {
    let ward = Ward::new(1, "");
    let file = ward.daemon.config_file().display().to_string();
    ward.network.director.set_sysctl("net.ipv4.vs.nat_icmp_send", "0");
    let arguments = ["--bounding-set=-all", "--inh-caps=-all", IPVSD, "doctor", "--config", &file];
    let output = ward.network.director.output("setpriv", &arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}");
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    for what in
        ["skipped IPVS services and servers: ", "skipped reply rules: ", "skipped rules of nftables: "]
    {
        assert!(out.contains(what), "{what}: {out}");
    }
    assert!(out.ends_with("nothing found in what could be looked at\n"), "{out}");
    let output = ward.network.director.output("setpriv", &[&arguments[..], &["--probe"]].concat());
    assert_eq!(
        output.status.code(),
        Some(1),
        "a probe that is not made finds nothing, and does not say that all is well"
    );
    // What needs no privilege is still looked for.
    ward.network.director.set_sysctl("net.ipv4.conf.back.rp_filter", "1");
    let output = ward.network.director.output("setpriv", &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("warning rp-filter\n"));
}

fn errors() {
    let network = Network::new(1);
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let file = dir.path().join("ipvsd.toml");
    let run = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).expect("writing the config");
        let file = file.display().to_string();
        crate::setup::command(&network.director, &[&["doctor", "--config", file.as_str()], more].concat())
    };
    let good = config(&network, "");
    let (status, _, err) = run(&good, &["nothing"]);
    assert_eq!((status, err.contains("no service \"nothing\"; it has: echo")), (2, true), "{err}");
    assert_eq!(run(&good.replace("servers", "severs"), &[]).0, 2);
    assert_eq!(run(&good, &["--probe=yes"]).0, 2);
    std::fs::write(&file, &good).expect("writing the config");
    assert_eq!(
        super::names(&findings(&network, &file, &[])),
        ["service-missing"],
        "no daemon, and no service"
    );
}
