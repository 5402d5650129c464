//! What is counted, and metrics in a real Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::{Burst, Family, Netns, Network, Process, case, case_in_vm, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::setup::{LIMIT, PATIENT, command, config, echoes, ipvsd, server, service, wait_for_weights};
use crate::traffic::Traffic;

const FAMILY: Family = Family::V4;
pub const METRICS: &str = "127.0.0.1:9532";
const PROMETHEUS: &str = "127.0.0.1:9090";
/// A Prometheus in an emulated machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn tests() -> Vec<Trial> {
    vec![
        case("metrics::every_datagram_is_counted_both_ways", counted),
        case("metrics::a_table_that_counts_nothing_is_brought_up_under_traffic", brought_up),
        case("metrics::a_reload_changes_where_they_are_served", moved),
        case_in_vm("metrics::prometheus_scrapes_and_alerts", prometheus),
    ]
}

/// What `GET target` is answered there: status and body.
pub fn get(netns: &Netns, address: &str, target: &str, accept: &str) -> Option<(u16, String)> {
    let address: SocketAddr = address.parse().expect("an address");
    let request = format!("GET {target} HTTP/1.0\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
    let raw = netns.run(|| {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut raw = String::new();
        stream.read_to_string(&mut raw).ok()?;
        Some(raw)
    })?;
    let (head, body) = raw.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

pub fn told(network: &Network) -> Value {
    let (status, out, said) = command(&network.director, &["status", "--json"]);
    assert_eq!(status, 0, "{said}");
    serde_json::from_str(&out).expect("JSON")
}

/// Packets or bytes in and out.
pub fn both(traffic: &Value, what: &str) -> (u64, u64) {
    let count =
        |way: &str| traffic[way][what].as_u64().unwrap_or_else(|| panic!("no {way} {what}: {traffic:#}"));
    (count("in"), count("out"))
}

fn counted() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let both_families = Family::BOTH.map(|family| {
        let name = format!("name = \"echo {family:?}\"");
        config(&network, family, 5300, &format!("check = {PATIENT}")).replace("name = \"echo\"", &name)
    });
    let _daemon = ipvsd(&network, &both_families.concat());
    Family::BOTH.iter().for_each(|family| wait_for_weights(&network, *family, &[1, 1, 1]));
    for family in Family::BOTH {
        assert!(Burst::new(service(family), 30).run(network.client()).lost.is_empty());
    }
    let mut shown = Value::Null;
    // The kernel takes its snapshots every 2 seconds.
    wait_until(LIMIT, "the kernel's snapshot", || {
        shown = told(&network);
        let services = shown["services"].as_array().expect("services");
        services.iter().all(|service| both(&service["traffic"], "packets") == (30, 30))
    });
    for service in shown["services"].as_array().expect("services") {
        let (bytes_in, bytes_out) = both(&service["traffic"], "bytes");
        assert_eq!(bytes_out, bytes_in + 30 * 3, "an echo begins with `s0 `: {service:#}");
        assert!(service["traffic"]["out"]["rate"]["packets"].is_number(), "{service:#}");
        for server in service["servers"].as_array().expect("servers") {
            assert_eq!(both(&server["traffic"], "packets"), (10, 10), "{server:#}");
            let last = &server["checks"][0]["last"];
            assert_eq!(last["ended"], "answered", "{server:#}");
            let latency = &last["latency"];
            let nanos = latency["secs"].as_u64().zip(latency["nanos"].as_u64());
            assert!(nanos.is_some_and(|(secs, nanos)| secs < 5 && nanos > 0), "{server:#}");
        }
    }
    let (_, plain, _) = command(&network.director, &["status"]);
    println!("{plain}");
    assert!(plain.contains("counters 0s ago"), "the age of the counters is shown: {plain}");
}

fn brought_up() {
    let network = Network::new(3);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let mut daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(LIMIT);
    let elements: Vec<String> = (0..3)
        .map(|number| {
            format!("{} . 5300 : goto to-192.0.2.53-port-53", network.server_address(number, FAMILY))
        })
        .collect();
    network.director.nft(&format!(
        "flush chain ip ipvsd postrouting\n\
         add map ip ipvsd rewrite {{ type ipv4_addr . inet_service : verdict; }}\n\
         add element ip ipvsd rewrite {{ {} }}\n\
         add rule ip ipvsd postrouting oif != \"lo\" ip saddr . udp sport vmap @rewrite\n\
         delete map ip ipvsd sources",
        elements.join(", ")
    ));

    let traffic = Traffic::start(&network);
    traffic.calm();
    let _daemon = ipvsd(&network, &text);
    wait_until(LIMIT, "the new map alone", || {
        let maps = network.director.check("nft", &["list", "maps", "ip"]);
        maps.contains("map sources") && !maps.contains("map rewrite")
    });
    traffic.replies(500);
    let flow = traffic.stop("a map that counts nothing is replaced");
    assert_eq!(flow.answered.lost, [0; 0]);
    let (_, out) = both(&told(&network)["services"][0]["traffic"], "packets");
    assert!(out >= 500, "{out}");
}

fn moved() {
    let network = Network::new(1);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let daemon = ipvsd(&network, &text);
    wait_for_weights(&network, FAMILY, &[1]);
    let at = |address: &str| get(&network.director, address, "/healthz", "*/*");
    assert_eq!(at(METRICS), None, "off by default");
    let works = Some((200, "works\n".to_owned()));
    for (listen, gone) in [(METRICS, "127.0.0.1:9533"), ("127.0.0.1:9533", METRICS)] {
        let text = format!("[metrics]\nlisten = \"{listen}\"\n{text}");
        fs::write(daemon.config_file(), text).expect("writing the config");
        assert_eq!(command(&network.director, &["reload"]).0, 0);
        wait_until(LIMIT, listen, || at(listen) == works);
        assert_eq!(at(gone), None);
    }
    wait_until(LIMIT, "ready", || {
        get(&network.director, "127.0.0.1:9533", "/readyz", "*/*") == Some((200, "ready\n".to_owned()))
    });
    // Not an address of this machine: said, and all else goes on.
    fs::write(daemon.config_file(), format!("[metrics]\nlisten = \"192.0.2.99:1\"\n{text}"))
        .expect("writing");
    assert_eq!(command(&network.director, &["reload"]).0, 0);
    daemon.wait_for("no metrics: cannot listen there", LIMIT);
    assert!(Burst::new(service(FAMILY), 5).run(network.client()).lost.is_empty());
    fs::write(daemon.config_file(), &text).expect("writing the config");
    assert_eq!(command(&network.director, &["reload"]).0, 0);
    assert_eq!(at("127.0.0.1:9533"), None);
}

/// A file of this checkout.
fn example(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)).expect(path)
}

/// What Prometheus answers, as soon as it answers.
fn api(netns: &Netns, target: &str) -> Value {
    let mut data = Value::Null;
    wait_until(PATIENCE, target, || {
        let Some((status, body)) = get(netns, PROMETHEUS, target, "application/json") else { return false };
        assert!(![400, 422].contains(&status), "{target}: {body}");
        if status != 200 {
            return false;
        }
        data = serde_json::from_str::<Value>(&body).expect("JSON")["data"].take();
        true
    });
    data
}

fn query(netns: &Netns, expression: &str) -> Vec<Value> {
    let target = serde_urlencoded::to_string([("query", expression)]).expect("a query");
    api(netns, &format!("/api/v1/query?{target}"))["result"].as_array().cloned().unwrap_or_default()
}

/// Every expression of the dashboard, with its variables filled in.
fn expressions(dashboard: &Value) -> BTreeSet<String> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let filled = targets.map(|target| {
        let expression = target["expr"].as_str().expect("an expression").replace("$service", ".*");
        let expression = expression.replace("$__rate_interval", "20s");
        assert!(!expression.contains('$'), "{expression}");
        expression
    });
    filled.collect()
}

fn prometheus() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}\nmin_healthy = 3\nquorum = 1"));
    let _daemon = ipvsd(&network, &format!("[metrics]\nlisten = \"{METRICS}\"\n{text}"));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    let director = &network.director;
    let (_, plain) = get(director, METRICS, "/metrics", "*/*").expect("metrics");
    director.feed("promtool", &["check", "metrics"], &plain);

    let folder = tempfile::tempdir().expect("a temporary directory");
    let rules = example("prometheus/ipvsd.rules.yml");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect(name);
        path.display().to_string()
    };
    director.check("promtool", &["check", "rules", &file("ipvsd.rules.yml", &rules)]);
    let at_once: Vec<&str> = rules.lines().filter(|line| !line.trim_start().starts_with("for: ")).collect();
    file("at_once.yml", &at_once.join("\n"));
    let scraped = file(
        "prometheus.yml",
        &format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: [at_once.yml]\n\
             scrape_configs:\n  - job_name: ipvsd\n    static_configs:\n      - targets: [\"{METRICS}\"]\n"
        ),
    );
    director.check("promtool", &["check", "config", &scraped]);
    let mut program = Command::new("prometheus");
    program.args([
        format!("--config.file={scraped}"),
        format!("--storage.tsdb.path={}", folder.path().join("data").display()),
        format!("--web.listen-address={PROMETHEUS}"),
    ]);
    let _prometheus = Process::start(director, &mut program);
    wait_until(PATIENCE, "a scrape", || query(director, "up == 1").len() == 1);

    assert!(Burst::new(service(FAMILY), 30).run(network.client()).lost.is_empty());
    let dashboard: Value = serde_json::from_str(&example("grafana/ipvsd.json")).expect("a dashboard");
    let expressions = expressions(&dashboard);
    assert!(expressions.len() > 15, "{expressions:#?}");
    for expression in &expressions {
        wait_until(PATIENCE, expression, || !query(director, expression).is_empty());
    }
    let out = r#"ipvsd_server_packets_total{direction="out"} == 10"#;
    wait_until(PATIENCE, "ten replies of each server", || query(director, out).len() == 3);
    let firing = || -> BTreeSet<(String, String)> {
        let alerts = api(director, "/api/v1/alerts")["alerts"].take();
        let alerts = alerts.as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
        firing.map(|alert| (label(alert, "alertname"), label(alert, "server"))).collect()
    };
    assert_eq!(firing(), BTreeSet::new(), "all is well");

    servers[2].kill();
    let dead = server(&network, 2, FAMILY).to_string();
    let expected = [("IpvsdServerDown", dead.as_str()), ("IpvsdServiceBelowMinimum", "")];
    let expected: BTreeSet<_> = expected.map(|(alert, server)| (alert.to_owned(), server.to_owned())).into();
    wait_until(PATIENCE, "its alert", || firing() == expected);
    let refused = r#"ipvsd_probe_results_total{check="udp", result="refused"} > 0"#;
    wait_until(PATIENCE, "why", || query(director, refused).len() == 1);
}
