//! What is served against docs/metrics.md, in both formats, and the listener over a real socket.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::unbounded_channel;

use super::text::{Format, write};
use super::*;
use crate::admin::{Health as OfDaemon, Request};
use crate::core::model::{Factor, TargetId, WhenAllDown};
use crate::core::pool::{Health, Standing};
use crate::core::probes::{Ended, Tally};
use crate::core::status::{CheckStatus, LastProbe, ServerStatus, ServiceStatus};
use crate::core::traffic::{Flow, Traffic};

/// So many services with so many servers each, with everything that can be known.
fn observed(services: u16, servers: u16) -> Observed {
    let flow = |packets| Flow { packets, bytes: packets * 100, rate: None };
    let traffic = Some(Traffic { incoming: flow(7), outgoing: flow(6) });
    let last = LastProbe {
        at: Duration::from_secs(90),
        ended: Ended::Answered,
        latency: Some(Duration::from_micros(700)),
    };
    let check = |address| CheckStatus {
        target: TargetId(0),
        check: "dns".to_owned(),
        address,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 1,
        fall: 1,
        up: Some(true),
        reason: String::new(),
        factor: Factor::FULL,
        last: Some(last),
    };
    let server = |service: u16, number: u16| {
        let address = SocketAddr::from(([10, number as u8, (service >> 8) as u8, service as u8], 53));
        ServerStatus {
            address,
            configured: Some(1),
            weight: Some(1),
            due: Some(1),
            why: String::new(),
            fallback: false,
            verdict: Standing::Up,
            since: None,
            operator: None,
            traffic,
            checks: vec![check(address)],
        }
    };
    let service = |number: u16| ServiceStatus {
        name: format!("dns \"{number}\""),
        vip: SocketAddr::from(([192, 0, (number >> 8) as u8, number as u8], 53)).into(),
        ops: true,
        scheduler: "rr".to_owned(),
        forward: "nat".to_owned(),
        present: true,
        suspended: false,
        up: 1,
        minimum: 1,
        when_all_down: WhenAllDown::Keep,
        slow_start: Duration::ZERO,
        health: Health::Enough,
        quorum: Some(true),
        drift: None,
        traffic,
        servers: (0..servers).map(|it| server(number, it)).collect(),
    };
    let status = Status {
        now: Duration::from_secs(100),
        read: Some(Duration::from_secs(99)),
        ready: true,
        failing: Vec::new(),
        services: (0..services).map(service).collect(),
        overrides: Vec::new(),
        counted: Some(Duration::from_millis(99_500)),
    };
    let mut tally = Tally::default();
    tally.count(Ended::Answered, Some(Duration::from_micros(700)));
    let probes = Probes { checks: vec![("dns", tally)], ..Probes::default() };
    Observed { status, probes, happened: Happened::default() }
}

fn written(observed: Observed, format: Format) -> String {
    let mut text = String::new();
    write(observed, format, |chunk| {
        text += std::str::from_utf8(&chunk).unwrap();
        Ok(())
    })
    .unwrap();
    text
}

/// Name, type and labels of each family, `le` apart.
fn families(text: &str) -> BTreeSet<(String, String, String)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let of = |(name, kind): (&str, &str)| {
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
        let is = |line: &&str| line.strip_prefix(&sample).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let line = text.lines().find(is).unwrap_or_else(|| panic!("no sample of {name} in {text}"));
        let labels = line.split(['{', ',']).filter_map(|label| Some(label.split_once("=\"")?.0));
        (name.to_owned(), kind.to_owned(), labels.collect::<Vec<_>>().join(", "))
    };
    types.map(of).collect()
}

#[test]
fn the_docs_have_what_is_served() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `ipvsd_")).map(|line| {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        (cells[1].clone(), cells[2].clone(), cells[3].clone())
    });
    assert_eq!(rows.collect::<BTreeSet<_>>(), families(&written(observed(1, 1), Format::Plain)));
    for ended in Ended::ALL {
        assert!(page.contains(&format!("`{}`", ended.word())), "{ended:?}");
    }
}

#[test]
fn openmetrics_and_plain_text_differ_in_names_of_types_and_the_end() {
    let open = written(observed(1, 2), Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n"), "{open}");
    assert!(open.contains("# TYPE ipvsd_service_packets counter\n"), "{open}");
    assert!(open.contains("# TYPE ipvsd_build info\n"), "{open}");
    let plain = written(observed(1, 2), Format::Plain);
    let samples = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(samples(&open), samples(&plain));
    for expected in [
        r#"ipvsd_service_packets_total{service="dns \"0\"",vip="192.0.0.0:53",direction="in"} 7"#,
        r#"ipvsd_server_bytes_total{service="dns \"0\"",vip="192.0.0.0:53",server="10.1.0.0:53",direction="out"} 600"#,
        r#"ipvsd_probe_duration_seconds_bucket{le="0.001",check="dns"} 1"#,
        r#"ipvsd_probe_duration_seconds_bucket{le="+Inf",check="dns"} 1"#,
        r#"ipvsd_probe_results_total{check="dns",result="answered"} 1"#,
        "ipvsd_observation_age_seconds 1.0",
    ] {
        assert!(plain.lines().any(|line| line == expected), "no {expected} in {plain}");
    }
}

#[test]
fn a_scrape_of_ten_thousand_servers_is_written_in_small_chunks() {
    let (observed, begin) = (observed(1_000, 10), Instant::now());
    let (mut bytes, mut largest) = (0, 0);
    write(observed, Format::OpenMetrics, |chunk| {
        (bytes, largest) = (bytes + chunk.len(), largest.max(chunk.len()));
        Ok(())
    })
    .unwrap();
    println!("{bytes} bytes in {:?}", begin.elapsed());
    assert!(largest < 64 * 1024, "{largest}");
    assert!((1_000_000..20_000_000).contains(&bytes), "{bytes}");
}

#[test]
fn nothing_more_is_written_when_nobody_wants_more() {
    let mut chunks = 0;
    let written = write(observed(100, 10), Format::OpenMetrics, |_| {
        chunks += 1;
        if chunks == 3 { Err(std::fmt::Error) } else { Ok(()) }
    });
    assert_eq!((written, chunks), (Err(std::fmt::Error), 3));
}

/// A listener before a loop that is well or not.
fn serve(health: OfDaemon) -> Exporter {
    let (requests, mut asked) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(request) = asked.recv().await {
            match request {
                Request::Health(answer) => drop(answer.send(health.clone())),
                Request::Metrics(answer) => drop(answer.send(observed(50, 10))),
                other => panic!("it asks for {other:?}"),
            }
        }
    });
    start(([127, 0, 0, 1], 0).into(), requests).unwrap()
}

/// Head and body of what comes back for these bytes.
async fn exchange(address: SocketAddr, request: &str) -> (String, String) {
    let request = request.to_owned();
    let raw = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut raw = Vec::new();
        // The end of a connection that was refused may be a reset.
        let _ = stream.read_to_end(&mut raw);
        String::from_utf8(raw).unwrap()
    });
    let raw = raw.await.unwrap();
    let (head, body) = raw.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {raw:?}"));
    (head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn each_path_has_its_answer_and_nothing_can_be_done() {
    let well = OfDaemon { hangs: None, unready: None };
    let exporter = serve(well);
    for (request, status, body) in [
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "works\n"),
        ("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200, ""),
        ("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "ready\n"),
        ("GET /status HTTP/1.1\r\nHost: x\r\n\r\n", 404, "there is only /metrics, /healthz and /readyz\n"),
        ("POST /reload HTTP/1.1\r\nHost: x\r\n\r\n", 404, "there is only /metrics, /healthz and /readyz\n"),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 405, "GET it\n"),
        ("DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET it\n"),
        ("rubbish\r\n\r\n", 400, ""),
        (&format!("GET /metrics HTTP/1.1\r\nLong: {}", "x".repeat(100_000)), 431, ""),
    ] {
        let (head, said) = exchange(exporter.address, request).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{request:.60}: {head}");
        assert_eq!(said, body, "{request:.60}");
    }
    let (head, body) = exchange(exporter.address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("ipvsd_server_up{"), "{body}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{accept}\r\n\r\n");
    let (head, body) = exchange(exporter.address, &request).await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.contains("# EOF"), "{body}");
}

#[tokio::test]
async fn a_daemon_that_is_not_ready_hangs_or_ends_says_so() {
    let ill = OfDaemon { hangs: Some("the task for IPVS"), unready: Some("no verdicts yet".to_owned()) };
    let exporter = serve(ill);
    for (path, said) in [("/healthz", "the task for IPVS hangs\n"), ("/readyz", "no verdicts yet\n")] {
        let (head, body) =
            exchange(exporter.address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert!(head.starts_with("http/1.1 503 "), "{path}: {head}");
        assert_eq!(body, said, "{path}");
    }
    let (requests, _) = unbounded_channel();
    let exporter = start(([127, 0, 0, 1], 0).into(), requests).unwrap();
    for path in ["/healthz", "/metrics"] {
        let (head, body) =
            exchange(exporter.address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert!(head.starts_with("http/1.1 503 "), "{path}: {head}");
        assert_eq!(body, "ipvsd is ending\n", "{path}");
    }
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_for_long() {
    let exporter = serve(OfDaemon { hangs: None, unready: None });
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(exporter.address).unwrap()).collect();
    let (head, _) = exchange(exporter.address, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    drop(silent);
}

#[tokio::test]
async fn a_port_is_free_when_its_listener_is_closed() {
    let exporter = serve(OfDaemon { hangs: None, unready: None });
    let everywhere = SocketAddr::from(([0, 0, 0, 0], exporter.address.port()));
    let requests = || unbounded_channel().0;
    assert!(start(everywhere, requests()).is_err(), "it is taken");
    exporter.close().await;
    start(everywhere, requests()).unwrap();
}
