//! The `radius` probe: Status-Server (RFC 5997); the answer must be signed with the shared secret (RFC 2865, section 3, and
//! RFC 2869, section 5.14).

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

use super::{Ask, Judgement, Protocol};
use crate::core::model::{RadiusProbe, Secret};

const HEADER: usize = 20;
const STATUS_SERVER: u8 = 12;
const NAS_IDENTIFIER: u8 = 32;
const MESSAGE_AUTHENTICATOR: u8 = 80;

/// A `radius` probe.
#[derive(Debug)]
pub struct Radius {
    secret: Secret,
}

impl Radius {
    /// Compiles the probe.
    pub fn new(probe: &RadiusProbe) -> Radius {
        Radius { secret: probe.secret.clone() }
    }

    /// HMAC-MD5 with the secret. The sum over the empty text where it takes no key; it takes any.
    fn hmac(&self, parts: &[&[u8]]) -> [u8; 16] {
        let Ok(mut hmac) = Hmac::<Md5>::new_from_slice(self.secret.bytes()) else { return [0; 16] };
        parts.iter().for_each(|part| hmac.update(part));
        hmac.finalize().into_bytes().into()
    }

    fn read(&self, ask: &Ask, packet: &[u8]) -> Result<(), String> {
        let (header, attributes) = packet.split_at(HEADER);
        let asked = authenticator(ask);
        let mut md5 = Md5::new();
        for part in [&header[..4], &asked, attributes, self.secret.bytes()] {
            md5.update(part);
        }
        if md5.finalize()[..] != header[4..] {
            return Err("wrong Response Authenticator: another secret, or forged".to_owned());
        }
        let malformed = || "malformed RADIUS attributes".to_owned();
        let mut at = 0;
        while at < attributes.len() {
            let length = usize::from(*attributes.get(at + 1).ok_or_else(malformed)?);
            let attribute = attributes.get(at..at + length).filter(|_| length >= 2).ok_or_else(malformed)?;
            if attribute[0] == MESSAGE_AUTHENTICATOR {
                let (before, after) = (&attributes[..at + 2], &attributes[at + length..]);
                if attribute[2..] != self.hmac(&[&header[..4], &asked, before, &[0; 16], after]) {
                    return Err("wrong Message-Authenticator".to_owned());
                }
            }
            at += length;
        }
        match packet[0] {
            2 | 5 => Ok(()),
            3 => Err("Access-Reject".to_owned()),
            code => Err(format!("RADIUS code {code}, expected Access-Accept or Accounting-Response")),
        }
    }
}

/// The Request Authenticator.
fn authenticator(ask: &Ask) -> [u8; 16] {
    ask.nonce.to_be_bytes()
}

/// The Identifier.
fn identifier(ask: &Ask) -> u8 {
    ask.nonce as u8
}

impl Protocol for Radius {
    fn request(&self, ask: &Ask, datagram: &mut Vec<u8>) {
        let name = b"ipvsd";
        let length = (HEADER + 18 + 2 + name.len()) as u16;
        datagram.extend_from_slice(&[STATUS_SERVER, identifier(ask)]);
        datagram.extend_from_slice(&length.to_be_bytes());
        datagram.extend_from_slice(&authenticator(ask));
        datagram.extend_from_slice(&[MESSAGE_AUTHENTICATOR, 18]);
        let nas = [&[NAS_IDENTIFIER, 2 + name.len() as u8], &name[..]].concat();
        let signature = self.hmac(&[datagram, &[0; 16], &nas]);
        datagram.extend_from_slice(&signature);
        datagram.extend_from_slice(&nas);
    }

    fn judge(&self, ask: &Ask, answer: &[u8]) -> Judgement {
        let Some([_, id, high, low]) = answer.first_chunk() else {
            return Judgement::Wrong(format!("{} bytes are no RADIUS packet", answer.len()));
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *id != identifier(ask) {
            return Judgement::NotOurs;
        }
        // What follows the packet is padding (RFC 2865, section 3).
        match answer.get(..length).filter(|packet| packet.len() >= HEADER) {
            Some(packet) => self.read(ask, packet).map_or_else(Judgement::Wrong, |()| Judgement::Right),
            None => Judgement::Wrong(format!("malformed RADIUS packet: {} bytes say {length}", answer.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{ask, damaged, hex};
    use super::*;

    /// The first example of RFC 5997, section 6.
    const NONCE: u128 = 0x8a54_f468_6fb3_94c5_2866_e302_185d_0623;
    const ACCEPT: &str = "02 da 0014 ef0d552a4bf2d693ec2b6fe8b5411d66";

    fn radius(secret: &str) -> Radius {
        Radius { secret: Secret::new(secret.into()) }
    }
    /// What a server answers to `NONCE`: these attributes, signed.
    fn answer(secret: &str, code: u8, attributes: &[u8]) -> Vec<u8> {
        let length = (HEADER + attributes.len()) as u16;
        let [high, low] = length.to_be_bytes();
        let mut packet = [&[code, identifier(&ask(NONCE)), high, low][..], &[0; 16], attributes].concat();
        let parts = [&packet[..4], &authenticator(&ask(NONCE)), attributes, secret.as_bytes()].concat();
        packet[4..HEADER].copy_from_slice(&Md5::digest(parts));
        packet
    }

    /// A Message-Authenticator for the answer that has it and nothing else.
    fn message_authenticator(secret: &str, code: u8) -> Vec<u8> {
        let header = [code, identifier(&ask(NONCE)), 0, 38];
        let hmac = radius(secret).hmac(&[&header, &authenticator(&ask(NONCE)), &[80, 18], &[0; 16]]);
        [&[80, 18], &hmac[..]].concat()
    }

    fn judge(answer: &[u8]) -> Judgement {
        radius("xyzzy5461").judge(&ask(NONCE), answer)
    }

    fn wrong(what: &str) -> Judgement {
        Judgement::Wrong(what.to_owned())
    }

    #[test]
    fn the_examples_of_the_rfc_are_right() {
        let (header, hmac) = (hex("0cda0026"), hex("5a665e2e1e8411f3e243822097c84fa3"));
        let radius = radius("xyzzy5461");
        let signed = radius.hmac(&[&header, &authenticator(&ask(NONCE)), &[80, 18], &[0; 16]]);
        assert_eq!(signed[..], hmac[..]);
        assert_eq!(radius.read(&ask(NONCE), &hex(ACCEPT)), Ok(()));
    }

    #[test]
    fn the_request_is_signed() {
        let mut request = Vec::new();
        radius("xyzzy5461").request(&ask(NONCE), &mut request);
        let (before, rest) = request.split_at(22);
        assert_eq!(before, hex("0c23002d 8a54f4686fb394c52866e302185d0623 5012"));
        let (signature, after) = rest.split_at(16);
        assert_eq!(after, b"\x20\x07ipvsd");
        assert_eq!(radius("xyzzy5461").hmac(&[before, &[0; 16], after]), signature);
    }

    #[test]
    fn each_deviation_is_named() {
        let ours = "xyzzy5461";
        for code in [2, 5] {
            assert_eq!(judge(&answer(ours, code, &[])), Judgement::Right);
            assert_eq!(judge(&answer(ours, code, &message_authenticator(ours, code))), Judgement::Right);
        }
        let padded = [answer(ours, 2, &[]), vec![0; 3]].concat();
        assert_eq!(judge(&padded), Judgement::Right);
        assert_eq!(judge(&hex(ACCEPT)), Judgement::NotOurs, "another identifier");
        let other = answer("testing123", 2, &[]);
        assert_eq!(judge(&other), wrong("wrong Response Authenticator: another secret, or forged"));
        let forged = answer(ours, 2, &message_authenticator("testing123", 2));
        assert_eq!(judge(&forged), wrong("wrong Message-Authenticator"));
        assert_eq!(judge(&answer(ours, 2, &[80, 2])), wrong("wrong Message-Authenticator"));
        for attributes in [&[18][..], &[18, 0], &[18, 1], &[18, 3], &[18, 2, 6]] {
            assert_eq!(judge(&answer(ours, 2, attributes)), wrong("malformed RADIUS attributes"));
        }
        assert_eq!(judge(&answer(ours, 3, &[])), wrong("Access-Reject"));
        let challenge = "RADIUS code 11, expected Access-Accept or Accounting-Response";
        assert_eq!(judge(&answer(ours, 11, &[])), wrong(challenge));
        assert_eq!(judge(b"\x02"), wrong("1 bytes are no RADIUS packet"));
        assert_eq!(judge(&hex("02230014")), wrong("malformed RADIUS packet: 4 bytes say 20"));
        assert_eq!(judge(&hex("02230002")), wrong("malformed RADIUS packet: 4 bytes say 2"));
    }

    proptest! {
        #[test]
        fn damage_is_survived_and_never_passes(
            answer in damaged(answer("xyzzy5461", 2, &message_authenticator("xyzzy5461", 2))),
        ) {
            let right = super::tests::answer("xyzzy5461", 2, &message_authenticator("xyzzy5461", 2));
            // All that is not padding is signed.
            if !answer.starts_with(&right) {
                prop_assert_ne!(judge(&answer), Judgement::Right);
            }
        }
    }
}
