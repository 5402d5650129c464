//! A server that answers each request from a port of its own (TFTP).

use super::*;
use crate::core::model::TftpProbe;

fn tftp() -> Probe {
    Probe::Tftp(TftpProbe { file: Some("image".to_owned()) })
}

#[test]
fn an_answer_from_another_port_is_right_and_is_thanked_for() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let socket = bind(local);
        let (_checker, mut verdicts) = engine(vec![calm(target(1, address(&socket), false, tftp()))]);
        let mut ports = HashSet::new();
        for _ in 0..3 {
            let (from, request) = asked(&socket);
            assert_eq!(request, b"\0\x01image\0octet\0");
            assert!(ports.insert(from), "each probe has a port of its own");
            let transfer = bind(local);
            transfer.send_to(b"\0\x03\0\x01data", from).expect("a datagram");
            let (thanks_from, thanks) = asked(&transfer);
            assert_eq!(thanks_from, from);
            assert!(thanks.starts_with(b"\0\x05\0\0"), "{thanks:?}");
        }
        assert_eq!(next(&mut verdicts), verdict(1, true, "first answer"), "{local}");
    }
}

#[test]
fn an_answer_from_another_address_is_none() {
    let (socket, other) = (bind("127.0.0.1:0"), bind("127.0.0.2:0"));
    let place = address(&socket);
    let server = serve(socket, move |_, from, _| drop(other.send_to(b"\0\x03\0\x01data", from)));
    let (checker, mut verdicts) = engine(vec![hasty(target(1, place, true, tftp()))]);
    assert_eq!(next(&mut verdicts), verdict(1, false, "no answer within 40ms, 3 in a row"));
    drop(checker);
    stop(server, place);
}

#[test]
fn a_closed_port_refuses_it_too() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let place = address(&bind(local));
        let (_checker, mut verdicts) = engine(vec![target(1, place, true, tftp())]);
        assert_eq!(next(&mut verdicts), verdict(1, false, "refused (ICMP port unreachable), 3 in a row"));
    }
}
