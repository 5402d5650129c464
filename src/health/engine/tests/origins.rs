//! Where probes come from, in a network of their own.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::network::namespace;
use super::*;
use crate::core::model::{HttpProbe, Origin, StatusRange, TcpProbe};

fn tcp() -> Probe {
    Probe::Tcp(TcpProbe { send: Vec::new(), expect: None })
}

fn http() -> Probe {
    Probe::Http(HttpProbe {
        path: "/".to_owned(),
        host: None,
        method: "GET".to_owned(),
        headers: Vec::new(),
        status: vec![StatusRange { first: 200, last: 399 }],
        body: None,
        body_absent: None,
        digest: None,
        weight: None,
        tls: None,
    })
}

fn from(source: &str) -> Origin {
    let address = source.parse().map(|address| SocketAddr::new(address, 0)).or_else(|_| source.parse());
    Origin { source: Some(address.expect("a source")), ..Origin::default() }
}

/// A server of TCP that tells who connects, and answers as one of HTTP.
fn listen(address: &str) -> (SocketAddr, std::sync::mpsc::Receiver<SocketAddr>) {
    let listener = TcpListener::bind(address).expect("a listener");
    let place = listener.local_addr().expect("an address");
    let (told, tells) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let _ = told.send(from);
            // One that only connects says nothing.
            if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    (place, tells)
}

#[test]
fn datagrams_and_connections_come_from_the_source() {
    if !namespace("ip link set lo up; ip address add 2001:db8::7/128 dev lo nodad") {
        return;
    }
    for (server, source) in [("127.0.0.1:0", "127.0.0.7"), ("[::1]:0", "2001:db8::7")] {
        let socket = bind(server);
        let listeners = [listen(server), listen(server)];
        let origin = |target| with(target, |check| check.origin = from(source));
        let targets = vec![
            origin(calm(target(0, address(&socket), false, pong()))),
            origin(target(1, listeners[0].0, false, tcp())),
            origin(target(2, listeners[1].0, false, http())),
            origin(target(3, address(&socket), false, Probe::Icmp)),
        ];
        let (_checker, mut verdicts) = engine(targets);
        let (asked_from, _) = asked(&socket);
        assert_eq!(asked_from.ip().to_string(), source);
        socket.send_to(b"pong", asked_from).expect("a datagram");
        for (_, tells) in &listeners {
            assert_eq!(tells.recv_timeout(PATIENCE).expect("a connection").ip().to_string(), source);
        }
        let mut up: Vec<_> = (0..4).map(|_| next(&mut verdicts)).collect();
        up.sort_by_key(|verdict| verdict.target);
        assert_eq!(up, (0..4).map(|id| verdict(id, true, "first answer")).collect::<Vec<_>>());
    }
}

#[test]
fn probes_of_many_servers_come_from_one_port() {
    if !namespace("ip link set lo up") {
        return;
    }
    let origin = |target| with(target, |check| check.origin = from("127.0.0.7:5000"));
    let port = "127.0.0.7:5000".parse().expect("an address");
    let (one, other) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let (place, tells) = listen("127.0.0.1:0");
    let (_checker, mut verdicts) = engine(vec![
        origin(calm(target(0, address(&one), false, pong()))),
        origin(calm(target(1, address(&other), false, pong()))),
        origin(target(2, place, false, tcp())),
    ]);
    for _ in 0..2 {
        for socket in [&one, &other] {
            let (from, _) = asked(socket);
            assert_eq!(from, port);
            socket.send_to(b"pong", from).expect("a datagram");
        }
        assert_eq!(tells.recv_timeout(PATIENCE), Ok(port));
    }
    let mut up: Vec<_> = (0..3).map(|_| next(&mut verdicts)).collect();
    up.sort_by_key(|verdict| verdict.target);
    assert_eq!(up, (0..3).map(|id| verdict(id, true, "first answer")).collect::<Vec<_>>());
}

/// Each answer comes when the confirming probes, which have the same port, are already out.
#[test]
fn an_answer_to_an_earlier_probe_from_the_same_port_is_known_for_what_it_is() {
    if !namespace("ip link set lo up") {
        return;
    }
    let socket = bind("127.0.0.1:0");
    let place = address(&socket);
    let dns = Probe::Dns(DnsProbe {
        query: ".".to_owned(),
        record: "SOA".to_owned(),
        rcodes: vec!["NOERROR".to_owned()],
        answers: Vec::new(),
        edns: None,
    });
    let slow = with(target(0, place, true, dns), |check| {
        (check.interval, check.timeout, check.retry_interval) = (ms(400), ms(350), ms(50));
        check.origin = from("127.0.0.7:5000");
    });
    let (_checker, mut verdicts) = engine(vec![slow]);
    let mut late = std::collections::VecDeque::new();
    for _ in 0..30 {
        late.push_back(asked(&socket));
        if late.len() > 2 {
            let (from, query) = late.pop_front().expect("a query");
            let mut message = Message::from_vec(&query).expect("a query");
            message.metadata.message_type = MessageType::Response;
            socket.send_to(&message.to_vec().expect("a message"), from).expect("a datagram");
        }
    }
    assert_eq!(next(&mut verdicts), verdict(0, true, "first answer"));
    assert!(verdicts.try_recv().is_err(), "it never went down");
}

/// Packets that the rule with this comment has counted.
fn counted(comment: &str) -> u64 {
    let listing = std::process::Command::new("nft").args(["list", "ruleset"]).output().expect("nft");
    let listing = String::from_utf8(listing.stdout).expect("text");
    let rule = listing.lines().find(|line| line.contains(&format!("\"{comment}\""))).expect("the rule");
    let packets = rule.split_once("packets ").expect("a counter").1;
    packets.split(' ').next().expect("a number").parse().expect("a number")
}

#[test]
fn probes_leave_by_the_interface_and_with_the_mark() {
    if !namespace(
        "ip link add d0 type veth peer name p0; ip link set d0 up; ip link set p0 up
         ip link add d1 type veth peer name p1; ip link set d1 up; ip link set p1 up
         ip address add 192.0.2.1/24 dev d0; ip address add 192.0.2.2/24 dev d1
         ip route add default dev d0
         nft 'table inet t { chain o {
             type filter hook output priority 0
             meta nfproto ipv4 oifname d0 counter comment \"elsewhere\"
             meta nfproto ipv4 meta mark != 4294967295 counter comment \"unmarked\"
             oifname d1 meta l4proto udp counter comment \"udp\"
             oifname d1 meta l4proto icmp counter comment \"icmp\"
             oifname d1 tcp dport 25 counter comment \"tcp\"
             oifname d1 tcp dport 80 counter comment \"http\"
         }; }'",
    ) {
        return;
    }
    let place = |port: u16| SocketAddr::from(([198, 51, 100, 9], port));
    let asks = [(53, pong()), (25, tcp()), (80, http()), (0, Probe::Icmp)];
    let targets = (0..).zip(asks).map(|(id, (port, probe))| {
        with(target(id, place(port), false, probe), |check| {
            check.origin = Origin { source: None, interface: Some("d1".to_owned()), mark: Some(u32::MAX) };
        })
    });
    let (_checker, _verdicts) = engine(targets.collect());
    let limit = Instant::now() + PATIENCE;
    while ["udp", "icmp", "tcp", "http"].iter().any(|comment| counted(comment) == 0) {
        assert!(Instant::now() < limit, "not all of them are sent");
        std::thread::sleep(ms(20));
    }
    assert_eq!((counted("elsewhere"), counted("unmarked")), (0, 0));
}

/// While they are gone, probes are left out; after that, all is as before.
#[test]
fn an_address_and_an_interface_may_go_and_come_back() {
    let there = "ip link add d0 type veth peer name p0; ip link set d0 up; ip link set p0 up
         ip address add 192.0.2.1/24 dev d0; ip address add 2001:db8::1/64 dev d0 nodad
         ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:01 dev d0 nud permanent";
    if !namespace(&format!("ip link set lo up; {there}")) {
        return;
    }
    let run = |commands: &str| {
        let status = std::process::Command::new("sh").args(["-ec", commands]).status();
        assert!(status.expect("a shell").success(), "{commands}");
    };
    let lasting = |target| with(target, |check| check.fall = 1000);
    let place = "192.0.2.2:53".parse().expect("an address");
    let sourced = |target| lasting(with(hasty(target), |check| check.origin = from("192.0.2.1")));
    let bound = |target| lasting(with(hasty(target), |check| check.origin.interface = Some("d0".to_owned())));
    let (checker, _verdicts) = engine(vec![
        sourced(target(0, place, true, pong())),
        sourced(target(1, place, true, Probe::Icmp)),
        bound(target(2, place, true, pong())),
        bound(target(3, place, true, Probe::Icmp)),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let all = |ended: Ended| {
        let limit = Instant::now() + PATIENCE;
        loop {
            let report = runtime.block_on(checker.report()).expect("a report");
            if report.last.values().filter(|last| last.ended == ended).count() == 4 {
                return;
            }
            assert!(Instant::now() < limit, "{ended:?}: {report:?}");
            std::thread::sleep(ms(20));
        }
    };
    all(Ended::NoAnswer);
    run("ip link del d0");
    all(Ended::LeftOut);
    run(there);
    all(Ended::NoAnswer);
}

/// That is the director's own fault: no verdict.
#[test]
fn an_origin_that_is_not_there_says_nothing_about_the_server() {
    if !namespace("ip link set lo up") {
        return;
    }
    let socket = bind("127.0.0.1:0");
    let server = address(&socket);
    let (place, _tells) = listen("127.0.0.1:0");
    let elsewhere = |target| with(target, |check| check.origin = from("192.0.2.77"));
    let nowhere = |target| with(target, |check| check.origin.interface = Some("eth77".to_owned()));
    let (checker, mut verdicts) = engine(vec![
        elsewhere(target(0, server, true, pong())),
        elsewhere(target(1, place, true, tcp())),
        elsewhere(target(2, place, true, http())),
        elsewhere(target(3, server, true, Probe::Icmp)),
        nowhere(target(4, server, true, pong())),
        nowhere(target(5, place, true, http())),
        nowhere(target(6, server, true, Probe::Icmp)),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let limit = Instant::now() + PATIENCE;
    loop {
        let report = runtime.block_on(checker.report()).expect("a report");
        let left_out = report.last.values().filter(|last| last.ended == Ended::LeftOut).count();
        assert_eq!(left_out, report.last.len(), "{report:?}");
        if left_out == 7 {
            break;
        }
        assert!(Instant::now() < limit, "{report:?}");
        std::thread::sleep(ms(20));
    }
    assert!(verdicts.try_recv().is_err());
}
