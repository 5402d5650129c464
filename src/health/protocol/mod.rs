//! The protocols that probes speak: a request and a judgement each, bytes in and out, no I/O.

mod dns;
mod udp;

use crate::core::model::{Probe, Reply};

/// A probe ready to be asked as often as one likes, by any number of targets.
#[derive(Debug)]
pub enum Protocol {
    /// A datagram of the operator's own.
    Udp(udp::Udp),
    /// A DNS query.
    Dns(dns::Dns),
}

/// What a datagram from the server is worth.
#[derive(Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The answer that the check asks for.
    Right,
    /// Not an answer to this probe (stale or forged): as if it had not come.
    NotOurs,
    /// An answer, but not the right one; says what is wrong with it.
    Wrong(String),
}

impl Protocol {
    /// Compiles a probe.
    ///
    /// # Errors
    /// What cannot be asked or expected, in words; a valid config holds no such probe.
    pub fn new(probe: &Probe) -> Result<Protocol, String> {
        match probe {
            Probe::Udp { send, reply } => udp::Udp::new(send, reply).map(Protocol::Udp),
            Probe::Dns(probe) => dns::Dns::new(probe).map(Protocol::Dns),
        }
    }

    /// Puts the datagram to send into `datagram`; `id` is drawn at random for each probe and tells its answer where the protocol
    /// can.
    pub fn request(&self, id: u16, datagram: &mut Vec<u8>) {
        datagram.clear();
        match self {
            Self::Udp(udp) => udp.request(datagram),
            Self::Dns(dns) => dns.request(id, datagram),
        }
    }

    /// Judges a datagram that came back to the probe that was sent with `id`.
    pub fn judge(&self, id: u16, answer: &[u8]) -> Judgement {
        match self {
            Self::Udp(udp) => udp.judge(answer),
            Self::Dns(dns) => dns.judge(id, answer),
        }
    }
}

/// Whether no answer at all is a success.
pub fn silence_succeeds(probe: &Probe) -> bool {
    matches!(probe, Probe::Udp { reply: Reply::Optional, .. })
}

/// Text for the log: short, and without control characters.
fn printable(text: &str) -> String {
    let short = text.chars().take(80);
    short.map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}
