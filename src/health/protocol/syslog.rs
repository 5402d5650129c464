//! The `syslog` probe: a message (RFC 5424 over UDP, RFC 5426) that nobody answers; only an ICMP error tells.

use super::{Ask, Judgement, Protocol};
use crate::core::model::SyslogProbe;

/// A `syslog` probe.
#[derive(Debug)]
pub struct Syslog {
    message: String,
}

impl Syslog {
    /// Writes the message. It names neither time nor host: a receiver knows both, and puts in its own.
    pub fn new(probe: &SyslogProbe) -> Syslog {
        let priority = probe.facility * 8 + probe.severity;
        let text = "ipvsd checks whether this server takes messages";
        Syslog { message: format!("<{priority}>1 - - ipvsd - check - {text}") }
    }
}

impl Protocol for Syslog {
    fn request(&self, _: &Ask, datagram: &mut Vec<u8>) {
        datagram.extend_from_slice(self.message.as_bytes());
    }

    /// The protocol has no answers; whatever sent one is alive.
    fn judge(&self, _: &Ask, _: &[u8]) -> Judgement {
        Judgement::Right
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::ask;
    use super::*;

    #[test]
    fn the_message_is_a_line_of_rfc_5424() {
        let mut datagram = Vec::new();
        Syslog::new(&SyslogProbe { facility: 5, severity: 7 }).request(&ask(0), &mut datagram);
        assert_eq!(datagram, b"<47>1 - - ipvsd - check - ipvsd checks whether this server takes messages");
    }
}
