//! The `stun` probe: a Binding request (RFC 8489); the answer must tell our address as the server saw it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Ask, Judgement, Protocol, printable};
use crate::core::model::StunProbe;

const MAGIC: u32 = 0x2112_a442;
const HEADER: usize = 20;
const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;

const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
/// What the CRC of a fingerprint is combined with.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// A `stun` probe.
#[derive(Debug)]
pub struct Stun {
    translated: bool,
}

impl Stun {
    /// Compiles the probe.
    pub fn new(probe: &StunProbe) -> Stun {
        Stun { translated: probe.translated }
    }

    fn read(&self, ask: &Ask, message: &[u8]) -> Result<(), String> {
        let (kind, length) = (u16_at(message, 0), u16_at(message, 2));
        if usize::from(length) + HEADER != message.len() || length % 4 != 0 {
            return Err(format!("malformed STUN message: {} bytes say {length}", message.len()));
        }
        let mut mapped = None;
        let mut at = HEADER;
        while at < message.len() {
            let (attribute, length) = (u16_at(message, at), usize::from(u16_at(message, at + 2)));
            let value = message.get(at + 4..at + 4 + length);
            let value = value.ok_or_else(|| "malformed STUN message: an attribute is cut off".to_owned())?;
            match attribute {
                ERROR_CODE if kind == ERROR => return Err(refused(value)),
                XOR_MAPPED_ADDRESS if mapped.is_none() => mapped = Some(address(value, ask)?),
                FINGERPRINT if at + 8 != message.len() || value != fingerprint(&message[..at]) => {
                    return Err("wrong fingerprint".to_owned());
                }
                _ => {}
            }
            at += 4 + length.next_multiple_of(4);
        }
        match (kind, mapped) {
            (SUCCESS, Some(mapped)) if mapped == ask.local || self.translated => Ok(()),
            (SUCCESS, Some(mapped)) => Err(format!(
                "it saw the probe come from {mapped} instead of {} (`translated = true` if NAT is meant to be there)",
                ask.local
            )),
            (SUCCESS, None) => Err("no XOR-MAPPED-ADDRESS".to_owned()),
            (ERROR, _) => Err("an error response without a code".to_owned()),
            _ => Err(format!("STUN message type 0x{kind:04x}, expected a Binding success response")),
        }
    }
}

/// The transaction id.
fn transaction(ask: &Ask) -> [u8; 12] {
    let bytes = ask.nonce.to_be_bytes();
    std::array::from_fn(|index| bytes[index])
}

/// The two bytes at `at`, zeros beyond the end.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
}

fn fingerprint(before: &[u8]) -> [u8; 4] {
    (crc32fast::hash(before) ^ FINGERPRINT_XOR).to_be_bytes()
}

/// The address in an XOR-MAPPED-ADDRESS (section 14.2).
fn address(value: &[u8], ask: &Ask) -> Result<SocketAddr, String> {
    let port = u16_at(value, 2) ^ (MAGIC >> 16) as u16;
    let ip: IpAddr = match (value.get(1), value.get(4..)) {
        (Some(1), Some(&[a, b, c, d])) => Ipv4Addr::from(u32::from_be_bytes([a, b, c, d]) ^ MAGIC).into(),
        (Some(2), Some(bytes)) if bytes.len() == 16 => {
            let key = [&MAGIC.to_be_bytes()[..], &transaction(ask)].concat();
            Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|index| bytes[index] ^ key[index])).into()
        }
        _ => return Err("malformed XOR-MAPPED-ADDRESS".to_owned()),
    };
    Ok(SocketAddr::new(ip, port))
}

/// An ERROR-CODE (section 14.8) in words.
fn refused(value: &[u8]) -> String {
    match value {
        [_, _, class, number, reason @ ..] => {
            let code = u32::from(class & 7) * 100 + u32::from(*number);
            format!("error {code}: {}", printable(&String::from_utf8_lossy(reason)))
        }
        _ => "an error response with a malformed code".to_owned(),
    }
}

impl Protocol for Stun {
    fn request(&self, ask: &Ask, datagram: &mut Vec<u8>) {
        datagram.extend_from_slice(&REQUEST.to_be_bytes());
        datagram.extend_from_slice(&[0, 0]);
        datagram.extend_from_slice(&MAGIC.to_be_bytes());
        datagram.extend_from_slice(&transaction(ask));
    }

    fn judge(&self, ask: &Ask, answer: &[u8]) -> Judgement {
        if answer.len() < HEADER || answer[4..8] != MAGIC.to_be_bytes() {
            return Judgement::Wrong(format!("{} bytes are no STUN message", answer.len()));
        }
        if answer[8..HEADER] != transaction(ask) {
            return Judgement::NotOurs;
        }
        self.read(ask, answer).map_or_else(Judgement::Wrong, |()| Judgement::Right)
    }
}

#[cfg(test)]
mod tests;
