//! The `tftp` probe: a read request (RFC 1350). The server answers from a port of its own; an answer with data is thanked for
//! with an error, so that the server does not wait for more.

use super::{Ask, Judgement, Protocol, printable};
use crate::core::model::TftpProbe;

/// The file that is asked for where none is given. No server needs to have it.
const NO_FILE: &str = "ipvsd-check";
/// A read request, data, an error.
const RRQ: [u8; 2] = [0, 1];
const DATA: [u8; 2] = [0, 3];
const ERROR: [u8; 2] = [0, 5];
const BLOCK: usize = 512;
/// Error 0 (see the text), which ends the transfer.
const END: &[u8] = b"\0\x05\0\0ipvsd: check done\0";

/// A `tftp` probe.
#[derive(Debug)]
pub struct Tftp {
    file: Option<String>,
}

impl Tftp {
    /// Compiles the probe.
    pub fn new(probe: &TftpProbe) -> Tftp {
        Tftp { file: probe.file.clone() }
    }
}

impl Protocol for Tftp {
    fn request(&self, _: &Ask, datagram: &mut Vec<u8>) {
        datagram.extend_from_slice(&RRQ);
        for field in [self.file.as_deref().unwrap_or(NO_FILE), "octet"] {
            datagram.extend_from_slice(field.as_bytes());
            datagram.push(0);
        }
    }

    /// Nothing in an answer tells which request it is for, but its port: each probe comes from another one.
    fn judge(&self, _: &Ask, answer: &[u8]) -> Judgement {
        let wrong = |what: String| Judgement::Wrong(what);
        match (answer.first_chunk(), answer.get(2..4), answer.get(4..)) {
            (Some(&DATA), Some([0, 1]), Some(data)) if data.len() <= BLOCK => Judgement::RightAnd(END),
            (Some(&DATA), Some([0, 1]), Some(data)) => {
                wrong(format!("a block of {} bytes, at most {BLOCK}", data.len()))
            }
            (Some(&DATA), Some(&[high, low]), _) => {
                wrong(format!("block {} instead of the first", u16::from_be_bytes([high, low])))
            }
            (Some(&ERROR), Some(&[high, low]), Some([text @ .., 0])) => {
                let code = u16::from_be_bytes([high, low]);
                match &self.file {
                    None if code <= 8 => Judgement::Right,
                    _ => wrong(format!("error {code}: {}", printable(&String::from_utf8_lossy(text)))),
                }
            }
            _ => wrong(format!("{} bytes are neither TFTP data nor an error", answer.len())),
        }
    }

    fn answers_from_any_port(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{ask, damaged};
    use super::*;

    const ANY: Tftp = Tftp { file: None };

    fn file() -> Tftp {
        Tftp { file: Some("pxelinux.0".to_owned()) }
    }

    fn wrong(what: &str) -> Judgement {
        Judgement::Wrong(what.to_owned())
    }

    #[test]
    fn the_request_asks_for_the_file_in_octets() {
        let mut request = Vec::new();
        file().request(&ask(0), &mut request);
        assert_eq!(request, b"\0\x01pxelinux.0\0octet\0");
        request.clear();
        ANY.request(&ask(0), &mut request);
        assert_eq!(request, b"\0\x01ipvsd-check\0octet\0");
    }

    #[test]
    fn a_file_is_data_and_nothing_else() {
        let not_found = b"\0\x05\0\x01File not found\0";
        let first = [&b"\0\x03\0\x01"[..], &[7; 512]].concat();
        for data in [&first[..], b"\0\x03\0\x01"] {
            assert_eq!(file().judge(&ask(0), data), Judgement::RightAnd(END));
            assert_eq!(ANY.judge(&ask(0), data), Judgement::RightAnd(END));
        }
        assert_eq!(ANY.judge(&ask(0), not_found), Judgement::Right);
        assert_eq!(file().judge(&ask(0), not_found), wrong("error 1: File not found"));
    }

    #[test]
    fn each_deviation_is_named() {
        let judge = |answer: &[u8]| {
            let judgement = ANY.judge(&ask(0), answer);
            assert_eq!(judgement, file().judge(&ask(0), answer), "{answer:?}");
            judgement
        };
        assert_eq!(judge(b"\0\x03\0\x02data"), wrong("block 2 instead of the first"));
        assert_eq!(
            judge(&[&b"\0\x03\0\x01"[..], &[7; 513]].concat()),
            wrong("a block of 513 bytes, at most 512")
        );
        assert_eq!(judge(b"\0\x05\0\x09no\0"), wrong("error 9: no"));
        assert_eq!(judge(b"\0\x05\0\x01open end"), wrong("12 bytes are neither TFTP data nor an error"));
        assert_eq!(judge(b"\0\x04\0\x00"), wrong("4 bytes are neither TFTP data nor an error"));
        assert_eq!(judge(b""), wrong("0 bytes are neither TFTP data nor an error"));
    }

    proptest! {
        #[test]
        fn damage_is_survived_and_never_passes_where_it_matters(answer in damaged(b"\0\x03\0\x01data".to_vec())) {
            if answer.get(..4) != Some(b"\0\x03\0\x01") {
                prop_assert!(matches!(file().judge(&ask(0), &answer), Judgement::Wrong(_)));
            }
        }
    }
}
