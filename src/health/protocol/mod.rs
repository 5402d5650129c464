//! The protocols that probes speak: a request and a judgement each, bytes in and out, no I/O.

mod dns;
mod ntp;
mod quic;
mod radius;
mod sip;
mod snmp;
mod stun;
mod syslog;
#[cfg(test)]
mod testing;
mod tftp;
mod udp;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::core::model::{Probe, Reply};

/// A probe ready to be asked as often as one likes, by any number of targets.
pub trait Protocol: Debug + Send + Sync {
    /// Appends the datagram to send.
    fn request(&self, ask: &Ask, datagram: &mut Vec<u8>);

    /// Judges a datagram that came back.
    fn judge(&self, ask: &Ask, answer: &[u8]) -> Judgement;

    /// Whether the server answers from a port that it chooses for each request. Only the address tells its answers then, and
    /// each probe comes from a new port.
    fn answers_from_any_port(&self) -> bool {
        false
    }
}

/// What tells one probe from all others.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Drawn at random for each probe: what the protocol's identifiers are made of.
    pub nonce: u128,
    /// Where the probe comes from.
    pub local: SocketAddr,
    /// Where it goes.
    pub server: SocketAddr,
}

/// What a datagram from the server is worth.
#[derive(Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The answer that the check asks for.
    Right,
    /// The same, from a server that waits for this datagram.
    RightAnd(&'static [u8]),
    /// As much of the answer as fits into a datagram, and not enough: the rest is to be had over TCP.
    Truncated,
    /// Not an answer to this probe (stale or forged): as if it had not come.
    NotOurs,
    /// An answer, but not the right one; says what is wrong with it.
    Wrong(String),
}

/// Compiles a probe.
///
/// # Errors
/// What cannot be asked or expected, in words; a valid config holds no such probe.
pub fn compile(probe: &Probe) -> Result<Arc<dyn Protocol>, String> {
    Ok(match probe {
        Probe::Udp { send, reply } => Arc::new(udp::Udp::new(send, reply)?),
        Probe::Dns(probe) => Arc::new(dns::Dns::new(probe)?),
        Probe::Radius(probe) => Arc::new(radius::Radius::new(probe)),
        Probe::Sip(probe) => Arc::new(sip::Sip::new(probe)),
        Probe::Ntp(probe) => Arc::new(ntp::Ntp::new(probe)),
        Probe::Snmp(probe) => Arc::new(snmp::Snmp::new(probe)?),
        Probe::Syslog(probe) => Arc::new(syslog::Syslog::new(probe)),
        Probe::Stun(probe) => Arc::new(stun::Stun::new(probe)),
        Probe::Tftp(probe) => Arc::new(tftp::Tftp::new(probe)),
        Probe::Quic => Arc::new(quic::Quic),
        Probe::Icmp | Probe::Tcp(_) | Probe::Http(_) | Probe::File(_) | Probe::Exec(_) => {
            return Err("the check is not made by datagrams".to_owned());
        }
    })
}

/// Whether no answer at all is a success.
pub fn silence_succeeds(probe: &Probe) -> bool {
    matches!(probe, Probe::Udp { reply: Reply::Optional, .. } | Probe::Syslog(_))
}

/// Text for the log: short, and without control characters.
pub fn printable(text: &str) -> String {
    let short = text.chars().take(80);
    short.map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// How much of a wrong answer a log line shows.
const SHOWN: usize = 40;

/// Bytes for the log, as text.
pub fn text(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("\"{}{more}\"", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}

/// Bytes for the log, in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    let digits: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}{more}")
}
