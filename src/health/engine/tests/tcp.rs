//! Truncated answers: the query is made again over TCP.

use std::io::{Read, Write};
use std::net::TcpListener;

use hickory_proto::rr::{RData, Record, rdata};

use super::*;

fn dns() -> Probe {
    Probe::Dns(DnsProbe {
        query: "example.com".to_owned(),
        record: "A".to_owned(),
        rcodes: vec!["NOERROR".to_owned()],
        answers: vec!["192.0.2.80".to_owned()],
        edns: None,
    })
}

/// The answer to a query: whole, or nothing but truncated.
fn answer(query: &[u8], whole: bool) -> Vec<u8> {
    let mut message = Message::from_vec(query).expect("a query");
    message.metadata.message_type = MessageType::Response;
    message.metadata.truncation = !whole;
    if whole {
        let name = message.queries[0].name().clone();
        message.add_answer(Record::from_rdata(name, 60, RData::A(rdata::A::new(192, 0, 2, 80))));
    }
    message.to_vec().expect("a message")
}

/// A server whose answers over UDP are all truncated, and the same port of TCP.
fn server() -> (SocketAddr, std::thread::JoinHandle<UdpSocket>, TcpListener) {
    // Another test may have the same port of TCP.
    let (socket, place, listener) = std::iter::repeat_with(|| {
        let socket = bind("127.0.0.1:0");
        let place = address(&socket);
        TcpListener::bind(place).ok().map(|listener| (socket, place, listener))
    })
    .flatten()
    .next()
    .expect("a port that UDP and TCP have free");
    let server = serve(socket, |socket, from, query| drop(socket.send_to(&answer(query, false), from)));
    (place, server, listener)
}

/// Reads one query and gives it with its stream.
fn accept(listener: &TcpListener) -> (std::net::TcpStream, Vec<u8>) {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut query).expect("a query");
    (stream, query)
}

#[test]
fn the_whole_answer_is_fetched_over_tcp() {
    let (place, server, listener) = server();
    let (checker, mut verdicts) = engine(vec![calm(target(1, place, false, dns()))]);
    for _ in 0..2 {
        let (mut stream, query) = accept(&listener);
        let answer = answer(&query, true);
        let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
        // In pieces, as a network may bring it.
        for piece in framed.chunks(7) {
            stream.write_all(piece).expect("a piece");
            stream.flush().expect("a piece");
        }
    }
    assert_eq!(next(&mut verdicts), verdict(1, true, "first answer"));
    drop(checker);
    stop(server, place);
}

#[test]
fn what_goes_wrong_over_tcp_is_said() {
    let (place, server, listener) = server();
    let (checker, mut verdicts) = engine(vec![calm(target(1, place, false, dns()))]);
    drop(accept(&listener));
    let closed = "wrong answer: truncated, and over TCP: closed too early";
    assert_eq!(next(&mut verdicts), verdict(1, false, closed));
    drop((checker, listener));
    stop(server, place);

    // Another server: the first one's listener may hold a connection of the first checker's next probe.
    let (place, server, listener) = self::server();
    let (checker, mut verdicts) = engine(vec![calm(target(1, place, false, dns()))]);
    let (mut stream, query) = accept(&listener);
    let again = answer(&query, false);
    stream.write_all(&[&(again.len() as u16).to_be_bytes()[..], &again].concat()).expect("an answer");
    let again = "wrong answer: truncated, and over TCP: truncated again";
    assert_eq!(next(&mut verdicts), verdict(1, false, again));
    drop((checker, listener));

    let (checker, mut verdicts) = engine(vec![calm(target(1, place, false, dns()))]);
    let refused = "wrong answer: truncated, and over TCP: connection refused";
    assert_eq!(next(&mut verdicts), verdict(1, false, refused));
    drop(checker);
    stop(server, place);
}

#[test]
fn silence_over_tcp_is_silence() {
    let (place, server, listener) = server();
    let (checker, mut verdicts) = engine(vec![hasty(target(1, place, true, dns()))]);
    assert_eq!(next(&mut verdicts), verdict(1, false, "no answer within 40ms, 3 in a row"));
    drop((checker, listener));
    stop(server, place);
}
