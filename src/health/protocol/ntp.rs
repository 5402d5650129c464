//! The `ntp` probe: a client's request (RFC 5905, mode 3); the answer must come from a server that is synchronised.

use super::{Ask, Judgement, Protocol};
use crate::core::model::NtpProbe;

/// A header without extensions.
const HEADER: usize = 48;
/// Version 4, mode 3 (client).
const CLIENT: u8 = 4 << 3 | 3;
/// Version 4, mode 4 (server).
const SERVER: u8 = 4 << 3 | 4;
/// The leap indicator of a clock that is not synchronised.
const UNSYNCHRONISED: u8 = 3;

/// An `ntp` probe.
#[derive(Debug)]
pub struct Ntp {
    max_stratum: u8,
}

impl Ntp {
    /// Compiles the probe.
    pub fn new(probe: &NtpProbe) -> Ntp {
        Ntp { max_stratum: probe.max_stratum }
    }
}

/// The transmit timestamp of the request. The server gives it back as it is, so that it needs not be a time: a random one
/// tells a forger nothing.
fn transmitted(ask: &Ask) -> [u8; 8] {
    (ask.nonce as u64).to_be_bytes()
}

impl Protocol for Ntp {
    fn request(&self, ask: &Ask, datagram: &mut Vec<u8>) {
        datagram.push(CLIENT);
        datagram.extend_from_slice(&[0; HEADER - 9]);
        datagram.extend_from_slice(&transmitted(ask));
    }

    fn judge(&self, ask: &Ask, answer: &[u8]) -> Judgement {
        // Extension fields and a MAC may follow, in words of 4 bytes.
        let header = answer.first_chunk::<HEADER>().filter(|_| answer.len().is_multiple_of(4));
        let Some(header) = header else {
            return Judgement::Wrong(format!("{} bytes are no NTP message", answer.len()));
        };
        let [first, stratum, ..] = *header;
        if header[24..32] != transmitted(ask) {
            return Judgement::NotOurs;
        }
        if first & 0x3f != SERVER {
            let (version, mode) = (first >> 3 & 7, first & 7);
            return Judgement::Wrong(format!("version {version}, mode {mode}: not a server's answer"));
        }
        let kiss: String = header[12..16].iter().map(|byte| char::from(*byte)).collect();
        let wrong = match stratum {
            0 if kiss == "RATE" => {
                "kiss-o'-death RATE: the server limits the rate of the director's requests".to_owned()
            }
            0 if kiss.chars().all(|c| c.is_ascii_uppercase()) => format!("kiss-o'-death {kiss}"),
            _ if first >> 6 == UNSYNCHRONISED => "the server's clock is not synchronised (leap 3)".to_owned(),
            0 | 16.. => format!("the server's clock is not synchronised (stratum {stratum})"),
            _ if stratum > self.max_stratum => format!("stratum {stratum}, at most {}", self.max_stratum),
            _ if header[32..40] == [0; 8] || header[40..48] == [0; 8] => {
                "an answer without the server's time".to_owned()
            }
            _ => return Judgement::Right,
        };
        Judgement::Wrong(wrong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{ask, damaged, hex};
    use super::*;

    const NONCE: u128 = 0xe8d4_a510_0102_0304;
    const NTP: Ntp = Ntp { max_stratum: 15 };

    /// What a server of stratum 2 answers to `NONCE`.
    fn right() -> Vec<u8> {
        hex("24 02 06 e9 00000100 00000200 c0000201 e8d4a50000000000 e8d4a51001020304 \
             e8d4a51100000001 e8d4a51100000002")
    }

    fn judge(change: impl FnOnce(&mut Vec<u8>)) -> Judgement {
        let mut answer = right();
        change(&mut answer);
        NTP.judge(&ask(NONCE), &answer)
    }

    fn wrong(what: &str) -> Judgement {
        Judgement::Wrong(what.to_owned())
    }

    #[test]
    fn the_request_says_nothing_but_that_it_is_one() {
        let mut request = Vec::new();
        NTP.request(&ask(NONCE), &mut request);
        assert_eq!(request, [&hex("23")[..], &[0; 39], &hex("e8d4a51001020304")].concat());
    }

    #[test]
    fn each_deviation_is_named() {
        assert_eq!(judge(|_| ()), Judgement::Right);
        assert_eq!(judge(|a| a.extend([0; 20])), Judgement::Right, "a MAC may follow");
        assert_eq!(judge(|a| a.push(0)), wrong("49 bytes are no NTP message"), "what follows comes in words");
        assert_eq!(judge(|a| a[31] ^= 1), Judgement::NotOurs);
        assert_eq!(judge(|a| a.truncate(47)), wrong("47 bytes are no NTP message"));
        assert_eq!(judge(|a| a[0] = 0x23), wrong("version 4, mode 3: not a server's answer"));
        assert_eq!(judge(|a| a[0] = 0x1c), wrong("version 3, mode 4: not a server's answer"));
        assert_eq!(judge(|a| a[0] = 0xe4), wrong("the server's clock is not synchronised (leap 3)"));
        assert_eq!(judge(|a| a[1] = 16), wrong("the server's clock is not synchronised (stratum 16)"));
        assert_eq!(judge(|a| a[1] = 0), wrong("the server's clock is not synchronised (stratum 0)"));
        let kiss = |code: &'static [u8]| {
            judge(move |a| {
                (a[0], a[1]) = (0xe4, 0);
                a[12..16].copy_from_slice(code);
            })
        };
        assert_eq!(kiss(b"DENY"), wrong("kiss-o'-death DENY"));
        assert_eq!(
            kiss(b"RATE"),
            wrong("kiss-o'-death RATE: the server limits the rate of the director's requests")
        );
        assert_eq!(judge(|a| a[40..].fill(0)), wrong("an answer without the server's time"));
        let strict = Ntp { max_stratum: 1 };
        assert_eq!(strict.judge(&ask(NONCE), &right()), wrong("stratum 2, at most 1"));
    }

    proptest! {
        #[test]
        fn damage_is_survived_and_never_passes_where_it_matters(answer in damaged(right())) {
            let judgement = NTP.judge(&ask(NONCE), &answer);
            // Version and mode, stratum, originate timestamp.
            let same = |range: std::ops::Range<usize>| answer.get(range.clone()) == Some(&right()[range]);
            if answer.len() < HEADER || !answer.len().is_multiple_of(4) || !same(24..32) || answer[0] & 0x3f != 0x24 || !(1..=15).contains(&answer[1]) {
                prop_assert_ne!(judgement, Judgement::Right);
            }
        }
    }
}
