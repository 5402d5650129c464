//! The engine against real sockets on the loopback.

mod commands;
mod connections;
mod files;
mod network;
mod origins;
mod pings;
mod ports;
mod tcp;
mod web;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::core::model::{DnsProbe, FileNumber, FileProbe, Reply};
use crate::core::probes::Ended;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pong() -> Probe {
    Probe::Udp { send: b"ping".to_vec(), reply: Reply::Matches("^pong".to_owned()) }
}

/// Probed often, with a timeout that no answer misses however busy the machine is.
fn target(id: u32, address: SocketAddr, assumed_up: bool, probe: Probe) -> Target {
    let check = Check {
        probe,
        interval: ms(60),
        timeout: ms(5000),
        retry_interval: ms(10),
        rise: 2,
        fall: 3,
        address: None,
        port: None,
        origin: Default::default(),
    };
    Target { id: TargetId(id), address, check: Arc::new(check), assumed_up }
}

fn with(target: Target, change: impl FnOnce(&mut Check)) -> Target {
    let mut check = (*target.check).clone();
    change(&mut check);
    Target { check: Arc::new(check), ..target }
}

/// With a timeout that passes soon.
fn hasty(target: Target) -> Target {
    with(target, |check| check.timeout = ms(40))
}

/// With an interval in which the answer comes even on a busy machine.
fn calm(target: Target) -> Target {
    with(target, |check| (check.interval, check.retry_interval) = (ms(300), ms(300)))
}

fn bind(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a socket on the loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    socket
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("a bound socket")
}

/// Waits for the next probe; gives its sender and bytes.
fn asked(socket: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer).expect("a probe");
    (from, buffer[..length].to_vec())
}

/// A server that answers each datagram as `answer` says, until it is asked "stop".
fn serve(
    socket: UdpSocket,
    mut answer: impl FnMut(&UdpSocket, SocketAddr, &[u8]) + Send + 'static,
) -> std::thread::JoinHandle<UdpSocket> {
    std::thread::spawn(move || {
        loop {
            let (from, request) = asked(&socket);
            if request == b"stop" {
                return socket;
            }
            answer(&socket, from, &request);
        }
    })
}

fn stop(server: std::thread::JoinHandle<UdpSocket>, address: SocketAddr) -> UdpSocket {
    let local = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    bind(local).send_to(b"stop", address).expect("a datagram");
    server.join().expect("the server")
}

fn engine(targets: Vec<Target>) -> (Checker, UnboundedReceiver<Verdict>) {
    let (sender, receiver) = unbounded_channel();
    let checker = start(sender).expect("an engine");
    checker.set(targets);
    (checker, receiver)
}

fn next(verdicts: &mut UnboundedReceiver<Verdict>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let verdict = runtime.block_on(async { tokio::time::timeout(PATIENCE, verdicts.recv()).await });
    verdict.expect("a verdict in time").expect("a running engine")
}

fn verdict(target: u32, up: bool, reason: &str) -> Verdict {
    Verdict { target: TargetId(target), up, factor: Factor::FULL, reason: reason.to_owned().into() }
}

#[test]
fn a_server_that_answers_is_up_and_one_socket_does_all_its_probes() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let socket = bind(local);
        let (_checker, mut verdicts) = engine(vec![calm(target(1, address(&socket), false, pong()))]);
        let mut ports = HashSet::new();
        for _ in 0..5 {
            let (from, request) = asked(&socket);
            assert_eq!(request, b"ping");
            ports.insert(from);
            socket.send_to(b"pong", from).expect("a datagram");
        }
        assert_eq!(next(&mut verdicts), verdict(1, true, "first answer"), "{local}");
        assert_eq!(ports.len(), 1, "{local}: {ports:?}");
    }
}

#[test]
fn what_became_of_probes_is_told_and_answers_are_timed() {
    const SLOW: Duration = ms(30);
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let closed = address(&bind(local));
        let socket = bind(local);
        let open = address(&socket);
        let server = serve(socket, |socket, from, _| {
            std::thread::sleep(SLOW);
            drop(socket.send_to(b"pong", from));
        });
        let began = Instant::now();
        let (checker, mut verdicts) = engine(vec![
            target(1, open, false, pong()),
            target(2, closed, false, pong()),
            target(
                3,
                open,
                false,
                Probe::File(FileProbe { path: "/nowhere".into(), number: FileNumber::UpUnlessZero }),
            ),
        ]);
        (0..3).for_each(|_| drop(next(&mut verdicts)));
        let probes = checker.report().blocking_recv().expect("a running engine");
        let took = probes.last[&TargetId(1)].latency.expect("the first answer is timed");
        assert!((SLOW..began.elapsed()).contains(&took), "{local}: {took:?}");
        let ended = |target: u32| probes.last[&TargetId(target)].ended;
        assert_eq!([1, 2, 3].map(ended), [Ended::Answered, Ended::Refused, Ended::WrongAnswer], "{local}");
        let kinds: Vec<&str> = probes.checks.iter().map(|(check, _)| *check).collect();
        assert_eq!(kinds, ["udp", "file"]);
        let udp = &probes.checks[0].1;
        assert!(udp.ended[Ended::Answered as usize] > 0 && udp.ended[Ended::Refused as usize] > 0, "{udp:?}");
        assert!(udp.micros >= took.as_micros() as u64, "{udp:?}");
        stop(server, open);
    }
}

#[test]
fn a_closed_port_is_down_by_its_refusals_and_up_again_when_it_opens() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let place = address(&bind(local));
        let (_checker, mut verdicts) = engine(vec![target(1, place, true, pong())]);
        assert_eq!(next(&mut verdicts), verdict(1, false, "refused (ICMP port unreachable), 3 in a row"));
        let server = serve(bind(&place.to_string()), |socket, from, _| drop(socket.send_to(b"pong", from)));
        assert_eq!(next(&mut verdicts), verdict(1, true, "answered, 2 in a row"));
        drop(stop(server, place));
        assert_eq!(next(&mut verdicts), verdict(1, false, "refused (ICMP port unreachable), 3 in a row"));
    }
}

#[test]
fn a_silent_server_is_down_and_each_probe_had_its_own_port() {
    let socket = bind("127.0.0.1:0");
    let (checker, mut verdicts) = engine(vec![hasty(target(1, address(&socket), true, pong()))]);
    assert_eq!(next(&mut verdicts), verdict(1, false, "no answer within 40ms, 3 in a row"));
    drop(checker);
    socket.set_nonblocking(true).expect("a socket option");
    let mut ports = Vec::new();
    while let Ok((_, from)) = socket.recv_from(&mut [0; 16]) {
        ports.push(from);
    }
    assert!(ports.len() >= 3, "{ports:?}");
    assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len(), "{ports:?}");
}

#[test]
fn a_wrong_answer_is_a_failure() {
    let socket = bind("127.0.0.1:0");
    let place = address(&socket);
    let server = serve(socket, |socket, from, _| drop(socket.send_to(b"pang", from)));
    let (checker, mut verdicts) = engine(vec![target(1, place, true, pong())]);
    let why = "wrong answer: \"pang\" does not match \"^pong\", 3 in a row";
    assert_eq!(next(&mut verdicts), verdict(1, false, why));
    drop(checker);
    stop(server, place);
}

#[test]
fn a_late_answer_is_not_taken_for_a_new_one() {
    let socket = bind("127.0.0.1:0");
    let (checker, mut verdicts) = engine(vec![hasty(target(1, address(&socket), false, pong()))]);
    // Each probe is answered an interval too late, when the next but one is out and waits.
    let mut before = VecDeque::new();
    for _ in 0..20 {
        before.push_back(asked(&socket).0);
        if before.len() > 2 {
            socket.send_to(b"pong", before[0]).expect("a datagram");
            before.pop_front();
        }
    }
    drop(checker);
    assert_eq!(next(&mut verdicts), verdict(1, false, "no answer within 40ms"));
    assert!(verdicts.try_recv().is_err(), "it never became up");
}

#[test]
fn an_answer_from_another_address_is_none() {
    let socket = bind("127.0.0.1:0");
    let place = address(&socket);
    let other = bind("127.0.0.1:0");
    let server = serve(socket, move |_, from, _| drop(other.send_to(b"pong", from)));
    let (checker, mut verdicts) = engine(vec![hasty(target(1, place, false, pong()))]);
    assert_eq!(next(&mut verdicts), verdict(1, false, "no answer within 40ms"));
    drop(checker);
    stop(server, place);
}

#[test]
fn a_set_keeps_what_it_knows_and_stops_what_is_missing() {
    let (sender, probes) = channel();
    let serve_and_tell = |id: u32| {
        let (socket, sender) = (bind("127.0.0.1:0"), sender.clone());
        let target = calm(target(id, address(&socket), false, pong()));
        let server = serve(socket, move |socket, from, request| {
            let _ = sender.send((id, from, request.to_vec()));
            let _ = socket.send_to(b"pong", from);
        });
        (target, server)
    };
    let ((kept, kept_server), (stopped, stopped_server)) = (serve_and_tell(1), serve_and_tell(2));
    let (checker, mut verdicts) = engine(vec![kept.clone(), stopped.clone()]);
    assert!(next(&mut verdicts).up && next(&mut verdicts).up);
    let (_, port, _) = probes.iter().find(|(id, ..)| *id == 1).expect("a probe");

    // What is known goes on as it was, whatever the new set says about it.
    let changed = with(kept.clone(), |check| {
        check.probe = Probe::Udp { send: b"other".to_vec(), reply: Reply::Any };
    });
    let (new, new_server) = serve_and_tell(3);
    checker.set(vec![changed, new.clone()]);
    assert_eq!(next(&mut verdicts), verdict(3, true, "first answer"));
    while probes.try_recv().is_ok() {}
    for (id, from, request) in probes.iter().take(12) {
        assert_ne!(id, 2, "still probed");
        assert_eq!(request, b"ping");
        assert!(id != 1 || from == port, "another socket: {from}, {port} before");
    }
    assert!(verdicts.try_recv().is_err(), "no verdict changed");
    drop(checker);
    assert!(verdicts.blocking_recv().is_none(), "the engine has ended");
    stop(kept_server, kept.address);
    stop(stopped_server, stopped.address);
    stop(new_server, new.address);
}

#[test]
fn a_target_set_after_a_long_idle_time_has_its_whole_timeout() {
    let socket = bind("127.0.0.1:0");
    let target = with(target(1, address(&socket), false, pong()), |check| check.timeout = ms(900));
    let (checker, mut verdicts) = engine(Vec::new());
    std::thread::sleep(ms(1200));
    checker.set(vec![target]);
    socket.send_to(b"pong", asked(&socket).0).expect("a datagram");
    assert_eq!(next(&mut verdicts), verdict(1, true, "first answer"));
}

#[test]
fn a_dns_server_is_asked_and_judged() {
    let probe = |rcode: &str, answer: Option<&str>| {
        let (query, record) = ("example.com".to_owned(), "A".to_owned());
        let (rcodes, answers) = (vec![rcode.to_owned()], answer.map(str::to_owned).into_iter().collect());
        Probe::Dns(DnsProbe { query, record, rcodes, answers, edns: None })
    };
    let socket = bind("127.0.0.1:0");
    let place = address(&socket);
    let server = serve(socket, |socket, from, request| {
        let mut message = Message::from_vec(request).expect("a query");
        message.metadata.message_type = MessageType::Response;
        message.metadata.response_code = ResponseCode::NXDomain;
        let bytes = message.to_vec().expect("a message");
        // A forged answer with another id comes first.
        let _ = socket.send_to(&[&[!bytes[0]], &bytes[1..]].concat(), from);
        let _ = socket.send_to(&bytes, from);
    });
    let targets = vec![
        target(1, place, false, probe("NXDOMAIN", None)),
        target(2, place, false, probe("NOERROR", None)),
    ];
    let (checker, mut verdicts) = engine(targets);
    let mut seen = [next(&mut verdicts), next(&mut verdicts)];
    seen.sort_by_key(|verdict| verdict.target);
    let wrong = verdict(2, false, "wrong answer: NXDOMAIN, expected NOERROR");
    assert_eq!(seen, [verdict(1, true, "first answer"), wrong]);
    drop(checker);
    stop(server, place);
}

#[test]
fn a_probe_that_cannot_be_asked_is_a_verdict() {
    let probe = Probe::Udp { send: Vec::new(), reply: Reply::Matches("(".to_owned()) };
    let (_checker, mut verdicts) = engine(vec![target(1, address(&bind("127.0.0.1:0")), true, probe)]);
    let verdict = next(&mut verdicts);
    assert!(!verdict.up && verdict.reason.starts_with("expect: "), "{verdict:?}");
}

#[test]
fn a_server_that_never_answers_keeps_its_socket_and_is_down_when_it_refuses() {
    let socket = bind("127.0.0.1:0");
    let place = address(&socket);
    let probe = Probe::Udp { send: b"log".to_vec(), reply: Reply::Optional };
    let (_checker, mut verdicts) = engine(vec![hasty(target(1, place, false, probe))]);
    assert_eq!(next(&mut verdicts), verdict(1, true, "silent as expected"));
    let ports: HashSet<_> = (0..5).map(|_| asked(&socket).0).collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    drop(socket);
    assert_eq!(next(&mut verdicts), verdict(1, false, "refused (ICMP port unreachable), 3 in a row"));
    let _socket = bind(&place.to_string());
    assert_eq!(next(&mut verdicts), verdict(1, true, "silent as expected, 2 in a row"));
}

#[test]
fn many_first_probes_are_no_burst() {
    let check = with(target(0, "192.0.2.1:53".parse().expect("an address"), false, pong()), |check| {
        (check.interval, check.timeout) = (ms(1000), ms(400));
    })
    .check;
    assert_eq!(first_probe(0, 1, &check), Duration::ZERO);
    assert!(first_probe(9, 10, &check) < ms(1), "a few wait for nothing");
    let mut at: Vec<_> = (0..10_000).map(|number| first_probe(number, 10_000, &check)).collect();
    at.dedup();
    assert!(at.is_sorted() && at.len() == 10_000, "evenly");
    assert!(at[9999] > ms(190) && at[9999] < ms(200), "{:?} of half a timeout", at[9999]);
}

#[test]
fn two_thousand_targets_are_probed_in_time() {
    const TARGETS: u32 = 2000;
    let socket = bind("127.0.0.1:0");
    let place = address(&socket);
    let (sender, gaps) = channel();
    let mut last: HashMap<SocketAddr, Instant> = HashMap::new();
    let server = serve(socket, move |socket, from, _| {
        let now = Instant::now();
        let _ = socket.send_to(b"pong", from);
        if let Some(last) = last.insert(from, now) {
            let _ = sender.send(now - last);
        }
    });
    let one = with(target(0, place, false, pong()), |check| {
        (check.interval, check.retry_interval) = (ms(500), ms(500));
    });
    let all = (0..TARGETS).map(|id| Target { id: TargetId(id), ..one.clone() });
    let (checker, mut verdicts) = engine(all.collect());
    for _ in 0..TARGETS {
        let verdict = next(&mut verdicts);
        assert_eq!((verdict.up, &*verdict.reason), (true, "first answer"));
    }
    // The gap before the second probe is the phase; the three after it are intervals.
    let mut seen: Vec<Duration> = gaps.iter().take(4 * TARGETS as usize).skip(TARGETS as usize).collect();
    drop(checker);
    stop(server, place);
    assert!(verdicts.try_recv().is_err(), "none went down");
    seen.sort();
    let at = |share: f64| seen[((seen.len() - 1) as f64 * share) as usize];
    println!("from probe to probe at 500ms: median {:?}, p99 {:?}, worst {:?}", at(0.5), at(0.99), at(1.0));
    assert!(at(0.5) >= ms(490) && at(0.5) <= ms(600), "{:?}", at(0.5));
}

#[test]
fn a_hint_makes_a_refusal_enough_and_says_nothing_to_other_targets() {
    let slow = |check: &mut Check| {
        (check.interval, check.retry_interval, check.fall) = (ms(3_600_000), ms(3_600_000), 5);
    };
    let optional = || Probe::Udp { send: b"log".to_vec(), reply: Reply::Optional };
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let (dead, living) = (address(&bind(local)), bind(local));
        let place = address(&living);
        let (sender, probes) = channel();
        let server = serve(living, move |socket, from, asked| {
            let _ = sender.send(asked.to_vec());
            let _ = socket.send_to(b"pong", from);
        });
        let another = || Probe::Udp { send: b"another".to_vec(), reply: Reply::Any };
        let targets = [(1, dead, pong()), (2, dead, optional()), (3, place, pong()), (4, place, another())];
        let (checker, mut verdicts) =
            engine(targets.map(|(id, address, probe)| with(target(id, address, true, probe), slow)).into());
        let mut ups = [next(&mut verdicts), next(&mut verdicts)];
        ups.sort_by_key(|verdict| verdict.target);
        assert_eq!(ups, [verdict(3, true, "first answer"), verdict(4, true, "first answer")]);
        // The second regular probe comes after a random part of the interval: within it nothing happens by itself.
        let hints = checker.hints();
        hints.refused(dead);
        let mut downs = [next(&mut verdicts), next(&mut verdicts)];
        downs.sort_by_key(|verdict| verdict.target);
        let why = "refused (ICMP port unreachable), as client traffic was";
        assert_eq!(downs, [verdict(1, false, why), verdict(2, false, why)], "{local}");
        for _ in 0..2 {
            probes.recv_timeout(PATIENCE).expect("a first probe");
        }
        (0..20).for_each(|_| hints.refused(place));
        probes.recv_timeout(PATIENCE).expect("a hinted probe");
        drop(checker);
        stop(server, place);
        let more: Vec<_> = probes.iter().collect();
        assert!(more.len() <= 1, "{more:?} for hints at the same time");
        assert!(!more.contains(&b"another".to_vec()), "one check is enough to learn that it lives");
        assert!(verdicts.try_recv().is_err(), "it answers");
    }
}
