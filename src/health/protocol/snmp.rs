//! The `snmp` probe: a v2c get of one object (RFC 3416, section 4.2.1); the answer must have a value for it.

mod ber;

use self::ber::{Reader, write};
use super::{Ask, Judgement, Protocol};
use crate::core::model::{Secret, SnmpProbe};

const V2C: u8 = 1;
const GET_REQUEST: u8 = 0xa0;
const RESPONSE: u8 = 0xa2;
const TIME_TICKS: u8 = 0x43;
/// sysUpTime.0 (RFC 3418).
const SYS_UP_TIME: [u32; 9] = [1, 3, 6, 1, 2, 1, 1, 3, 0];

/// An `snmp` probe.
#[derive(Debug)]
pub struct Snmp {
    community: Secret,
    /// The object, encoded.
    oid: Vec<u8>,
    /// It is sysUpTime.0, whose type is known.
    up_time: bool,
}

impl Snmp {
    /// Compiles the probe.
    ///
    /// # Errors
    /// The object identifier cannot be encoded.
    pub fn new(probe: &SnmpProbe) -> Result<Snmp, String> {
        let oid = probe.oid.as_deref().unwrap_or(&SYS_UP_TIME);
        let encoded =
            ber::oid(oid).ok_or("oid: two numbers at least, the first 0 to 2, the second below 40")?;
        let up_time = oid == SYS_UP_TIME;
        Ok(Snmp { community: probe.community.clone(), oid: encoded, up_time })
    }

    /// What is wrong with an answer; `None` if it is an answer to another request.
    fn read(&self, ask: &Ask, message: &[u8]) -> Option<Result<(), String>> {
        let parts = self.parts(message);
        let Some(Parts { version, community, pdu, id, status, index, variables }) = parts else {
            return Some(Err(format!("{} bytes are no SNMP message", message.len())));
        };
        if id != request_id(ask).to_be_bytes() {
            return None;
        }
        let error = |what: &str| Some(Err(what.to_owned()));
        if version != [V2C] || community != self.community.bytes() || pdu != RESPONSE {
            return error("not a v2c response of our community");
        }
        if status != [0] {
            return Some(Err(format!("{} (object {})", error_status(status), ber::decimal(index))));
        }
        let Some((oid, kind)) = variable(variables) else {
            return error("a response with other than one variable");
        };
        if oid != self.oid {
            return error("a response about another object");
        }
        Some(match kind {
            0x05 => Err("no value".to_owned()),
            0x80 => {
                Err("noSuchObject: the server does not have the object, or not for this community".to_owned())
            }
            0x81 => {
                Err("noSuchInstance: the server does not have the object, or not for this community"
                    .to_owned())
            }
            0x82 => Err("endOfMibView".to_owned()),
            TIME_TICKS => Ok(()),
            kind if self.up_time => {
                Err(format!("a value of type 0x{kind:02x}, sysUpTime has 0x{TIME_TICKS:02x}"))
            }
            _ => Ok(()),
        })
    }

    fn parts<'a>(&self, message: &'a [u8]) -> Option<Parts<'a>> {
        let mut outer = Reader(message);
        let mut message = Reader(outer.value(ber::SEQUENCE)?);
        let version = message.value(ber::INTEGER)?;
        let community = message.value(ber::OCTET_STRING)?;
        let (pdu, body) = message.any()?;
        let mut body = Reader(body);
        let parts = Parts {
            version,
            community,
            pdu,
            id: body.value(ber::INTEGER)?,
            status: body.value(ber::INTEGER)?,
            index: body.value(ber::INTEGER)?,
            variables: body.value(ber::SEQUENCE)?,
        };
        [outer, message, body].iter().all(|reader| reader.0.is_empty()).then_some(parts)
    }
}

/// The parts of a message, each as it is encoded.
struct Parts<'a> {
    version: &'a [u8],
    community: &'a [u8],
    pdu: u8,
    id: &'a [u8],
    status: &'a [u8],
    index: &'a [u8],
    variables: &'a [u8],
}

/// The object and the type of its value, if there is exactly one variable.
fn variable(variables: &[u8]) -> Option<(&[u8], u8)> {
    let mut variables = Reader(variables);
    let mut variable = Reader(variables.value(ber::SEQUENCE)?);
    let oid = variable.value(ber::OBJECT_IDENTIFIER)?;
    let (kind, _) = variable.any()?;
    (variables.0.is_empty() && variable.0.is_empty()).then_some((oid, kind))
}

/// Of 31 bits, and so large that each is encoded in four bytes.
fn request_id(ask: &Ask) -> u32 {
    ask.nonce as u32 & 0x3fff_ffff | 0x4000_0000
}

/// An error-status (RFC 3416, section 3) in words.
fn error_status(status: &[u8]) -> String {
    const NAMES: [&str; 7] =
        ["noError", "tooBig", "noSuchName", "badValue", "readOnly", "genErr", "noAccess"];
    match status {
        [number] if usize::from(*number) < NAMES.len() => NAMES[usize::from(*number)].to_owned(),
        [16] => "authorizationError".to_owned(),
        _ => format!("error-status {}", ber::decimal(status)),
    }
}

impl Protocol for Snmp {
    fn request(&self, ask: &Ask, datagram: &mut Vec<u8>) {
        let name = write(ber::OBJECT_IDENTIFIER, &[&self.oid]);
        let variable = write(ber::SEQUENCE, &[&name, &write(ber::NULL, &[])]);
        let (id, zero) =
            (write(ber::INTEGER, &[&request_id(ask).to_be_bytes()]), write(ber::INTEGER, &[&[0]]));
        let pdu = write(GET_REQUEST, &[&id, &zero, &zero, &write(ber::SEQUENCE, &[&variable])]);
        let community = write(ber::OCTET_STRING, &[self.community.bytes()]);
        datagram.extend(write(ber::SEQUENCE, &[&write(ber::INTEGER, &[&[V2C]]), &community, &pdu]));
    }

    fn judge(&self, ask: &Ask, answer: &[u8]) -> Judgement {
        match self.read(ask, answer) {
            Some(Ok(())) => Judgement::Right,
            Some(Err(why)) => Judgement::Wrong(why),
            None => Judgement::NotOurs,
        }
    }
}

#[cfg(test)]
mod tests;
