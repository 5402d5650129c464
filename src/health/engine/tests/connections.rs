//! `tcp` checks against real servers on the loopback and in a network of their own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::network::namespace;
use super::*;
use crate::core::model::{Pattern, TcpProbe};

fn connect() -> Probe {
    Probe::Tcp(TcpProbe { send: Vec::new(), expect: None })
}

fn ping() -> Probe {
    Probe::Tcp(TcpProbe { send: b"ping\n".to_vec(), expect: Some(Pattern::Matches("^pong".to_owned())) })
}

/// A server that does `serve` with each connection, until the process ends.
fn listen(address: &str, serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(address).expect("a socket on the loopback");
    let place = listener.local_addr().expect("a bound socket");
    std::thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.expect("a connection"))));
    place
}

/// Reads one line and says this.
fn says(answer: &'static [u8]) -> impl Fn(TcpStream) {
    move |mut stream| {
        let _ = stream.read(&mut [0; 16]);
        for piece in answer.chunks(3) {
            let _ = stream.write_all(piece);
        }
    }
}

#[test]
fn a_connection_is_enough_and_its_refusal_is_down() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(local).expect("a socket on the loopback");
        let place = listener.local_addr().expect("a bound socket");
        let (_checker, mut verdicts) = engine(vec![target(1, place, false, connect())]);
        assert_eq!(next(&mut verdicts), verdict(1, true, "first answer"), "{local}");
        let (mut stream, _) = listener.accept().expect("a connection");
        let error = stream.read(&mut [0; 16]).expect_err("it was ended by a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        drop(listener);
        assert_eq!(next(&mut verdicts), verdict(1, false, "connection refused, 3 in a row"), "{local}");
        let _listener = TcpListener::bind(place).expect("the port is free: nothing is in TIME_WAIT");
        assert_eq!(next(&mut verdicts), verdict(1, true, "answered, 2 in a row"), "{local}");
    }
}

#[test]
fn what_is_said_is_judged() {
    let servers: [(SocketAddr, Probe, &str); 6] = [
        (listen("127.0.0.1:0", says(b"pong")), ping(), "first answer"),
        (
            listen("127.0.0.1:0", says(b"pang")),
            ping(),
            "wrong answer: closed: \"pang\" does not match \"^pong\"",
        ),
        (listen("127.0.0.1:0", says(b"")), ping(), "wrong answer: closed without a word"),
        (
            listen("127.0.0.1:0", says(&[b'\xff'; 70_000])),
            Probe::Tcp(TcpProbe {
                send: b"x".to_vec(),
                expect: Some(Pattern::StartsWith(b"\xff\xff\xff\xfe".to_vec())),
            }),
            "wrong answer: 0x",
        ),
        (listen("127.0.0.1:0", says(&[b'\xff'; 200_000])), ping(), "wrong answer: \"\\xff\\xff"),
        (
            listen("127.0.0.1:0", |stream| {
                let socket = socket2::SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).expect("a socket option");
            }),
            ping(),
            "connection reset",
        ),
    ];
    let targets = (0..).zip(&servers).map(|(id, (place, probe, _))| target(id, *place, false, probe.clone()));
    let (_checker, mut verdicts) = engine(targets.collect());
    for _ in 0..servers.len() {
        let verdict = next(&mut verdicts);
        let expected = servers[verdict.target.0 as usize].2;
        assert!(verdict.reason.starts_with(expected), "{verdict:?} instead of {expected}");
        assert_eq!(verdict.up, expected == "first answer");
    }
    assert!(verdicts.try_recv().is_err(), "one each");
}

#[test]
fn a_late_answer_is_none() {
    let late = listen("127.0.0.1:0", |stream| {
        std::thread::spawn(move || {
            std::thread::sleep(ms(120));
            says(b"pong")(stream);
        });
    });
    let (checker, mut verdicts) = engine(vec![hasty(target(1, late, true, ping()))]);
    assert_eq!(next(&mut verdicts), verdict(1, false, "no answer within 40ms, 3 in a row"));
    std::thread::sleep(ms(300));
    drop(checker);
    assert!(verdicts.try_recv().is_err(), "it never became up");
}

#[test]
fn errors_of_the_network_are_told_apart() {
    if !namespace(
        "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; ip link set lo up
         ip address add 192.0.2.1/24 dev v0
         nft 'table inet t { chain i {
             type filter hook input priority 0
             tcp dport 7 drop
             tcp dport 8 reject with icmpx admin-prohibited
             tcp dport 9 reject with icmpx no-route
         }; chain o {
             type filter hook output priority 0
             tcp dport 10 drop
         }; }'",
    ) {
        return;
    }
    let place = |text: &str| text.parse().expect("an address");
    let targets = vec![
        hasty(target(0, place("127.0.0.1:7"), true, connect())),
        target(1, place("127.0.0.1:8"), true, connect()),
        target(2, place("127.0.0.1:9"), true, connect()),
        target(3, place("100.64.0.1:53"), true, connect()),
        target(4, place("192.0.2.2:53"), true, connect()),
        hasty(target(5, place("127.0.0.1:10"), true, connect())),
    ];
    let expected = [
        "no answer within 40ms, 3 in a row",
        "host unreachable, 3 in a row",
        "network unreachable, 3 in a row",
        "the probe cannot be sent: Network is unreachable, 3 in a row",
        "host unreachable, 3 in a row",
        "no answer within 40ms, 3 in a row",
    ];
    let (_checker, mut verdicts) = engine(targets);
    for _ in 0..expected.len() {
        let verdict = next(&mut verdicts);
        assert_eq!((verdict.up, &*verdict.reason), (false, expected[verdict.target.0 as usize]));
    }
}
