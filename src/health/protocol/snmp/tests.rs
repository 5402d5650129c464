//! The `snmp` judgement against messages as net-snmp 5.9 writes them.

use proptest::prelude::*;

use super::super::testing::{ask, damaged, hex};
use super::*;

const NONCE: u128 = 0x1234_5678;

fn snmp(oid: Option<&[u32]>) -> Snmp {
    let community = Secret::new(b"public".to_vec());
    Snmp::new(&SnmpProbe { community, oid: oid.map(<[u32]>::to_vec) }).expect("a valid probe")
}

/// A response of these parts: PDU, error-status, variables.
fn response(pdu: u8, status: &str, variables: &str) -> Vec<u8> {
    let body =
        [hex("0204 52345678"), hex(status), hex("020101"), write(ber::SEQUENCE, &[&hex(variables)])].concat();
    write(ber::SEQUENCE, &[&hex("020101 0406 7075626c6963"), &write(pdu, &[&body])])
}

const NO_ERROR: &str = "020100";
const UP_TIME: &str = "300e 06082b06010201010300 43020102";

fn right() -> Vec<u8> {
    response(RESPONSE, NO_ERROR, UP_TIME)
}

fn judge(message: &[u8]) -> Judgement {
    snmp(None).judge(&ask(NONCE), message)
}

fn wrong(what: &str) -> Judgement {
    Judgement::Wrong(what.to_owned())
}

#[test]
fn the_request_gets_one_object() {
    let mut request = Vec::new();
    snmp(None).request(&ask(NONCE), &mut request);
    let expected =
        "3029 020101 0406 7075626c6963 a01c 0204 52345678 020100 020100 300e 300c 06082b06010201010300 0500";
    assert_eq!(request, hex(expected));
}

#[test]
fn each_deviation_is_named() {
    assert_eq!(judge(&right()), Judgement::Right);
    assert_eq!(snmp(None).judge(&ask(NONCE + 1), &right()), Judgement::NotOurs);
    let respond = |status: &str, variables: &str| judge(&response(RESPONSE, status, variables));
    assert_eq!(
        judge(&response(GET_REQUEST, NO_ERROR, UP_TIME)),
        wrong("not a v2c response of our community")
    );
    let mut other = right();
    other[7] = b'P';
    assert_eq!(judge(&other), wrong("not a v2c response of our community"));
    assert_eq!(respond("020105", UP_TIME), wrong("genErr (object 1)"));
    assert_eq!(respond("020110", UP_TIME), wrong("authorizationError (object 1)"));
    assert_eq!(respond("0202 1234", UP_TIME), wrong("error-status 4660 (object 1)"));
    let one = "a response with other than one variable";
    assert_eq!(respond(NO_ERROR, ""), wrong(one));
    assert_eq!(respond(NO_ERROR, &[UP_TIME, UP_TIME].concat()), wrong(one));
    assert_eq!(respond(NO_ERROR, "300c 06082b06010201010500 4300"), wrong("a response about another object"));
    let value = |value: &str| respond(NO_ERROR, &format!("300c 06082b06010201010300 {value}"));
    assert_eq!(value("0500"), wrong("no value"));
    let missing = "the server does not have the object, or not for this community";
    assert_eq!(value("8000"), wrong(&format!("noSuchObject: {missing}")));
    assert_eq!(value("8100"), wrong(&format!("noSuchInstance: {missing}")));
    assert_eq!(value("8200"), wrong("endOfMibView"));
    assert_eq!(value("0400"), wrong("a value of type 0x04, sysUpTime has 0x43"));
    let longer = [right(), vec![0]].concat();
    assert_eq!(judge(&longer), wrong(&format!("{} bytes are no SNMP message", longer.len())));
    assert_eq!(judge(b"\x30\x80"), wrong("2 bytes are no SNMP message"));
}

#[test]
fn another_object_may_have_any_value() {
    let snmp = snmp(Some(&[1, 3, 6, 1, 2, 1, 1, 5, 0]));
    let answer = response(RESPONSE, NO_ERROR, "300e 06082b06010201010500 04026131");
    assert_eq!(snmp.judge(&ask(NONCE), &answer), Judgement::Right);
}

proptest! {
    #[test]
    fn damage_is_survived_and_never_passes(answer in damaged(right())) {
        // Of all bytes only those of error-index and of the value itself may differ.
        let (index, value) = (26, right().len() - 2..right().len());
        let mut same = answer.clone();
        if answer.len() == right().len() {
            same[index] = right()[index];
            same[value.clone()].copy_from_slice(&right()[value]);
        }
        if same != right() {
            prop_assert_ne!(judge(&answer), Judgement::Right);
        }
    }
}
