//! The `udp` probe: the operator's own datagram, and what its answer must look like.

use regex::bytes::{Regex, RegexBuilder};

use super::Judgement;
use crate::core::model::Reply;

/// How much of a wrong answer a log line shows.
const SHOWN: usize = 40;

/// A `udp` probe.
#[derive(Debug)]
pub struct Udp {
    send: Vec<u8>,
    expected: Expected,
}

#[derive(Debug)]
enum Expected {
    Anything,
    Match(Regex),
    Prefix(Vec<u8>),
}

impl Udp {
    /// Compiles the regular expression over bytes: `.` is any byte but a line feed, `(?u)` brings UTF-8 back.
    ///
    /// # Errors
    /// What is wrong with the regular expression.
    pub fn new(send: &[u8], reply: &Reply) -> Result<Udp, String> {
        let expected = match reply {
            Reply::Any | Reply::Optional => Expected::Anything,
            Reply::StartsWith(prefix) => Expected::Prefix(prefix.clone()),
            Reply::Matches(pattern) => Expected::Match(
                RegexBuilder::new(pattern)
                    .unicode(false)
                    .build()
                    .map_err(|error| format!("expect: {error}"))?,
            ),
        };
        Ok(Udp { send: send.to_vec(), expected })
    }

    /// The datagram to send.
    pub fn request(&self) -> &[u8] {
        &self.send
    }

    /// Judges an answer. A protocol of which nothing is known has no way to tell a stale one.
    pub fn judge(&self, answer: &[u8]) -> Judgement {
        match &self.expected {
            Expected::Anything => Judgement::Right,
            Expected::Match(regex) if regex.is_match(answer) => Judgement::Right,
            Expected::Prefix(prefix) if answer.starts_with(prefix) => Judgement::Right,
            Expected::Match(regex) => {
                Judgement::Wrong(format!("{} does not match \"{regex}\"", text(answer)))
            }
            Expected::Prefix(prefix) => {
                Judgement::Wrong(format!("{} does not begin with {}", hex(answer), hex(prefix)))
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("\"{}{more}\"", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}

fn hex(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    let digits: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}{more}")
}
