//! What counts as a reply, byte by byte; the sockets are tried in the engine's tests.

use proptest::prelude::*;

use super::*;

const SERVER: &str = "192.0.2.1";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Pings with one request waiting, and the request.
fn waiting(family: Family, server: IpAddr) -> (Pings, Vec<u8>) {
    let mut pings = Pings::new();
    let nonce = rand::random();
    let request = pings.request(family, 7, nonce);
    pings.waiting.insert((server, 7), Waiting { target: TargetId(3), probe: 9, nonce });
    (pings, request)
}

/// The reply to a request as the socket gives it.
fn reply(family: Family, request: &[u8]) -> Vec<u8> {
    let mut reply = request.to_vec();
    reply[0] = family.reply();
    if family == Family::V6 {
        return reply;
    }
    // 8 less in the type is 8 more in the checksum (RFC 1624).
    let (sum, carry) = u16::from_be_bytes([reply[2], reply[3]]).overflowing_add(0x0800);
    reply[2..4].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    // An IPv4 header with one word of options.
    [[0x46].as_slice(), &[0; 23], &reply].concat()
}

#[test]
fn a_whole_reply_counts_once() {
    for (family, server) in [(Family::V4, ip(SERVER)), (Family::V6, ip("2001:db8::1"))] {
        let (mut pings, request) = waiting(family, server);
        let reply = reply(family, &request);
        assert!(pings.answered(family, ip("192.0.2.9"), &reply).is_none(), "from somebody else");
        let pinged = pings.answered(family, server, &reply).expect("the reply");
        assert_eq!((pinged.target, pinged.probe, pinged.outcome), (TargetId(3), 9, Ok(())));
        assert!(pings.answered(family, server, &reply).is_none(), "it was answered");
    }
}

#[test]
fn an_error_counts_for_the_request_that_it_quotes() {
    let (mut pings, request) = waiting(Family::V4, ip(SERVER));
    let mut failed = |to: &str, quoted: &[u8]| {
        let pinged = pings.failed(Family::V4, ip(to), quoted, Unreachable::Host)?;
        Some((pinged.target, pinged.probe, pinged.outcome))
    };
    assert_eq!(failed("192.0.2.9", &request[..8]), None, "about another server");
    assert_eq!(failed(SERVER, &request[..7]), None);
    let expected = Some((TargetId(3), 9, Err(Failure::Icmp(Unreachable::Host))));
    assert_eq!(failed(SERVER, &request[..8]), expected);
}

#[test]
fn what_nobody_waits_for_is_forgotten() {
    let (mut pings, request) = waiting(Family::V4, ip(SERVER));
    pings.keep(&HashSet::from([TargetId(3)]), &HashSet::new());
    assert_eq!(pings.waiting.len(), 1);
    pings.keep(&HashSet::new(), &HashSet::new());
    assert!(pings.answered(Family::V4, ip(SERVER), &reply(Family::V4, &request)).is_none());
    let (mut pings, request) = waiting(Family::V4, ip(SERVER));
    pings.forget(ip(SERVER), 7);
    assert!(pings.answered(Family::V4, ip(SERVER), &reply(Family::V4, &request)).is_none());
}

proptest! {
    #[test]
    fn no_change_of_a_reply_counts(at: prop::sample::Index, by in 1u8.., v6: bool) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let (mut pings, request) = waiting(family, ip(SERVER));
        let mut reply = reply(family, &request);
        let start = if v6 { 0 } else { 24 };
        let at = start + at.index(reply.len() - start);
        // The kernel has verified the checksum of ICMPv6.
        prop_assume!(!v6 || at != 2 && at != 3);
        reply[at] ^= by;
        prop_assert!(pings.answered(family, ip(SERVER), &reply).is_none());
    }

    #[test]
    fn no_bytes_count_or_panic(packet: Vec<u8>, v6: bool) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let (mut pings, request) = waiting(family, ip(SERVER));
        prop_assert!(pings.answered(family, ip(SERVER), &packet).is_none());
        prop_assert!(pings.failed(family, ip(SERVER), &packet, Unreachable::Host).is_none());
        let mut pieces = reply(family, &request);
        while pieces.pop().is_some() {
            prop_assert!(pings.answered(family, ip(SERVER), &pieces).is_none());
        }
    }
}
