//! The `quic` probe: a first packet of a version that no server speaks; the answer must be Version Negotiation (RFC 9000,
//! sections 6 and 17.2.1; the parts that hold for every version are in RFC 8999).

use super::{Ask, Judgement, Protocol};

/// Servers answer only datagrams of at least this size (RFC 9000, section 14.1).
const SIZE: usize = 1200;
/// A long header with the fixed bit.
const LONG: u8 = 0xc0;

/// A `quic` probe.
#[derive(Debug)]
pub struct Quic;

/// A version of the form 0x?a?a?a?a, reserved for this purpose (RFC 9000, section 15).
fn reserved(ask: &Ask) -> u32 {
    ask.nonce as u32 & 0xf0f0_f0f0 | 0x0a0a_0a0a
}

/// The destination's and our own connection id.
fn ids(ask: &Ask) -> ([u8; 8], [u8; 8]) {
    ((!(ask.nonce >> 64) as u64).to_be_bytes(), ((ask.nonce >> 64) as u64).to_be_bytes())
}

impl Protocol for Quic {
    fn request(&self, ask: &Ask, datagram: &mut Vec<u8>) {
        let (server, ours) = ids(ask);
        datagram.push(LONG);
        datagram.extend_from_slice(&reserved(ask).to_be_bytes());
        for id in [server, ours] {
            datagram.push(id.len() as u8);
            datagram.extend_from_slice(&id);
        }
        datagram.resize(SIZE, 0);
    }

    fn judge(&self, ask: &Ask, answer: &[u8]) -> Judgement {
        let wrong = |what: &str| Judgement::Wrong(what.to_owned());
        let Some(([first, version @ ..], ids_and_versions)) = answer.split_first_chunk::<5>() else {
            return wrong("not a QUIC packet with a long header");
        };
        if first & 0x80 == 0 {
            return wrong("not a QUIC packet with a long header");
        }
        let (server, ours) = ids(ask);
        let swapped = [&[8], &ours[..], &[8], &server].concat();
        let Some(versions) = ids_and_versions.strip_prefix(swapped.as_slice()) else {
            return Judgement::NotOurs;
        };
        if *version != [0; 4] {
            return wrong("a QUIC packet, but not Version Negotiation");
        }
        let (versions, rest) = versions.as_chunks::<4>();
        let spoken = |version: &[u8; 4]| version.iter().any(|byte| byte & 0x0f != 0x0a);
        if !rest.is_empty() || versions.contains(&[0; 4]) {
            return wrong("malformed Version Negotiation");
        }
        match versions.iter().any(spoken) {
            true => Judgement::Right,
            false => wrong("Version Negotiation without a version"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{ask, damaged, hex};
    use super::*;

    const NONCE: u128 = 0x0102_0304_0506_0708_0000_0000_1234_5678;

    fn right() -> Vec<u8> {
        hex("b5 00000000 08 0102030405060708 08 fefdfcfbfaf9f8f7 00000001 6b3343cf 5a9aaada")
    }

    fn judge(change: impl FnOnce(&mut Vec<u8>)) -> Judgement {
        let mut answer = right();
        change(&mut answer);
        Quic.judge(&ask(NONCE), &answer)
    }

    #[test]
    fn the_request_is_as_large_as_a_first_packet() {
        let mut request = Vec::new();
        Quic.request(&ask(NONCE), &mut request);
        assert_eq!(request.len(), 1200);
        assert_eq!(request[..23], hex("c0 1a3a5a7a 08 fefdfcfbfaf9f8f7 08 0102030405060708")[..]);
    }

    #[test]
    fn each_deviation_is_named() {
        let wrong = |what: &str| Judgement::Wrong(what.to_owned());
        assert_eq!(judge(|_| ()), Judgement::Right);
        assert_eq!(judge(|a| a[6] ^= 1), Judgement::NotOurs);
        assert_eq!(judge(|a| a[15] ^= 1), Judgement::NotOurs);
        assert_eq!(judge(|a| a[5] = 9), Judgement::NotOurs);
        assert_eq!(judge(|a| a[0] = 0x40), wrong("not a QUIC packet with a long header"));
        assert_eq!(judge(|a| a.truncate(4)), wrong("not a QUIC packet with a long header"));
        assert_eq!(judge(|a| a[4] = 1), wrong("a QUIC packet, but not Version Negotiation"));
        assert_eq!(judge(|a| a.truncate(24)), wrong("malformed Version Negotiation"));
        assert_eq!(judge(|a| a[23..27].fill(0)), wrong("malformed Version Negotiation"));
        assert_eq!(judge(|a| a.truncate(23)), wrong("Version Negotiation without a version"));
        assert_eq!(judge(|a| drop(a.drain(23..31))), wrong("Version Negotiation without a version"));
    }

    proptest! {
        #[test]
        fn damage_is_survived_and_never_passes_where_it_matters(answer in damaged(right())) {
            if answer.get(1..23) != Some(&right()[1..23]) || answer[0] & 0x80 == 0 || answer.len() % 4 != 3 {
                prop_assert_ne!(Quic.judge(&ask(NONCE), &answer), Judgement::Right);
            }
        }
    }
}
