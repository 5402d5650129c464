//! The `stun` judgement against the sample of RFC 5769 and its deviations.

use proptest::prelude::*;

use super::super::testing::{ask, damaged, hex};
use super::*;

/// RFC 5769, section 2.2: the sample IPv4 response (192.0.2.1 port 32853), without SOFTWARE, MESSAGE-INTEGRITY and FINGERPRINT.
const ADDRESS: &str = "0020 0008 0001 a147 e112a643";
/// The transaction of the samples in the upper 12 bytes.
const NONCE: u128 = 0xb7e7_a701_bc34_d686_fa87_dfae_0000_0000;

const STUN: Stun = Stun { translated: false };

fn sample() -> Ask {
    Ask { local: "192.0.2.1:32853".parse().expect("an address"), ..ask(NONCE) }
}

fn message(kind: u16, attributes: &str) -> Vec<u8> {
    let attributes = hex(attributes);
    let length = (attributes.len() as u16).to_be_bytes();
    [&kind.to_be_bytes(), &length[..], &hex("2112a442 b7e7a701bc34d686fa87dfae"), &attributes].concat()
}

fn right() -> Vec<u8> {
    let software = "8022 000b 7465737420766563746f7220";
    let mut message = message(SUCCESS, &format!("{software} {ADDRESS} 8028 0004 00000000"));
    let at = message.len() - 4;
    let fingerprint = fingerprint(&message[..at - 4]);
    message[at..].copy_from_slice(&fingerprint);
    message
}

fn judge(message: &[u8]) -> Judgement {
    STUN.judge(&sample(), message)
}

fn wrong(what: &str) -> Judgement {
    Judgement::Wrong(what.to_owned())
}

#[test]
fn the_request_is_a_header() {
    let mut request = Vec::new();
    STUN.request(&sample(), &mut request);
    assert_eq!(request, hex("0001 0000 2112a442 b7e7a701bc34d686fa87dfae"));
}

/// RFC 5769, section 2.1, whole: its fingerprint is right, and it is no response.
#[test]
fn the_fingerprint_of_the_sample_request_is_right() {
    let sample = hex(
        "00 01 00 58 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae 80 22 00 10 53 54 55 4e 20 74 65 73 74 20 63 6c \
         69 65 6e 74 00 24 00 04 6e 00 01 ff 80 29 00 08 93 2f f9 b1 51 26 3b 36 00 06 00 09 65 76 74 6a 3a 68 36 76 \
         59 20 20 20 00 08 00 14 9a ea a7 0c bf d8 cb 56 78 1e f2 b5 b2 d3 f2 49 c1 b5 71 a2 80 28 00 04 e5 7a 3b cf",
    );
    assert_eq!(judge(&sample), wrong("STUN message type 0x0001, expected a Binding success response"));
}

/// RFC 5769, section 2.3: the sample IPv6 response.
#[test]
fn an_ipv6_address_is_read() {
    let local = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address");
    let answer = message(SUCCESS, "0020 0014 0002 a147 0113a9faa5d3f179bc25f4b5bed2b9d9");
    assert_eq!(STUN.judge(&Ask { local, ..sample() }, &answer), Judgement::Right);
}

#[test]
fn each_deviation_is_named() {
    assert_eq!(judge(&right()), Judgement::Right);
    assert_eq!(judge(&message(SUCCESS, ADDRESS)), Judgement::Right, "a fingerprint need not be");
    assert_eq!(STUN.judge(&ask(1), &right()), Judgement::NotOurs);
    assert_eq!(judge(b"short"), wrong("5 bytes are no STUN message"));
    assert_eq!(judge(&message(SUCCESS, "")), wrong("no XOR-MAPPED-ADDRESS"));
    assert_eq!(judge(&message(SUCCESS, "0001 0008 0001 8055 c0000201")), wrong("no XOR-MAPPED-ADDRESS"));
    assert_eq!(judge(&message(SUCCESS, "0020 0004 0001a147")), wrong("malformed XOR-MAPPED-ADDRESS"));
    assert_eq!(
        judge(&message(SUCCESS, "0020 0009 0001a147")),
        wrong("malformed STUN message: an attribute is cut off")
    );
    let cut = &right()[..24];
    assert_eq!(judge(cut), wrong("malformed STUN message: 24 bytes say 36"));
    assert_eq!(judge(&message(ERROR, "0009 0008 00000401 6e6f2007")), wrong("error 401: no \\u{7}"));
    assert_eq!(judge(&message(ERROR, "")), wrong("an error response without a code"));
    assert_eq!(
        judge(&message(SUCCESS, &format!("{ADDRESS} 8028 0004 00000000"))),
        wrong("wrong fingerprint")
    );
}

#[test]
fn another_address_is_nat_on_the_way() {
    let elsewhere = ask(NONCE);
    let said = "it saw the probe come from 192.0.2.1:32853 instead of 192.0.2.1:40000 (`translated = true` if NAT is meant to \
                be there)";
    assert_eq!(STUN.judge(&elsewhere, &right()), wrong(said));
    assert_eq!(Stun { translated: true }.judge(&elsewhere, &right()), Judgement::Right);
}

proptest! {
    #[test]
    fn damage_is_survived_and_never_passes_where_it_matters(answer in damaged(right())) {
        // Header and address; all the rest counts only while the fingerprint is one.
        let address = hex(ADDRESS);
        let whole = answer.get(..20) == Some(&right()[..20]) && answer.windows(12).any(|bytes| bytes == address);
        if !whole {
            prop_assert_ne!(judge(&answer), Judgement::Right);
        }
    }
}
