//! Checks: how a server is asked whether it lives.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ExecWeight, FileNumber, Probe};

/// One way to ask a server whether it lives. Equal checks of one address are probed once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Check {
    /// What is asked and which answer is right.
    pub probe: Probe,
    /// From one probe to the next; at least 1 ms.
    pub interval: Duration,
    /// How long an answer may take; at least 1 ms.
    pub timeout: Duration,
    /// From one confirming probe to the next while an answer is missing or was wrong; at least 1 ms.
    pub retry_interval: Duration,
    /// So many successes in a row make a server up that was down; at least 1.
    pub rise: u32,
    /// So many failures in a row make a server down; at least 1.
    pub fall: u32,
    /// Where to probe, if not at the server's own address.
    pub address: Option<IpAddr>,
    /// Where to probe, if not at the server's own port.
    pub port: Option<u16>,
    /// Where the probes come from.
    #[serde(default, skip_serializing_if = "Origin::is_anywhere")]
    pub origin: Origin,
}

/// Where the probes of a check come from, as far as that does not follow from the director's routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// From this address, of the family that is probed; port 0: from any port.
    pub source: Option<SocketAddr>,
    /// Through this interface, 1 to 15 bytes (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// With this mark (`SO_MARK`).
    pub mark: Option<u32>,
}

impl Origin {
    /// Whether all of it follows from the routes.
    pub fn is_anywhere(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all probes come from one port.
    pub fn has_port(&self) -> bool {
        self.source.is_some_and(|source| source.port() > 0)
    }
}

impl Check {
    /// Where the server with the traffic address `server` is probed.
    pub fn target(&self, server: SocketAddr) -> SocketAddr {
        let port = match self.probe {
            // Servers that differ in the port only are asked once.
            Probe::Icmp => 0,
            _ => self.port.unwrap_or(server.port()),
        };
        SocketAddr::new(self.address.unwrap_or(server.ip()), port)
    }

    /// Whether its answers give weights.
    pub fn weighs(&self) -> bool {
        match &self.probe {
            Probe::Http(http) => http.weight.is_some(),
            Probe::File(file) => matches!(file.number, FileNumber::Percent | FileNumber::Times(_)),
            Probe::Exec(exec) => exec.weight != ExecWeight::None,
            _ => false,
        }
    }

    /// The longest time from a server's death to its verdict if it falls silent.
    pub fn worst_case(&self) -> Duration {
        self.interval + self.timeout + self.retry_interval * (self.fall - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::TcpProbe;

    #[test]
    fn pings_to_all_ports_of_a_server_are_one() {
        let check = |probe| Check {
            probe,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            retry_interval: Duration::from_secs(1),
            rise: 1,
            fall: 1,
            address: None,
            port: None,
            origin: Origin::default(),
        };
        let targets = |probe| {
            let check = check(probe);
            ["10.0.1.11:53", "10.0.1.11:5353"].map(|server| check.target(server.parse().expect("an address")))
        };
        let [one, other] = targets(Probe::Icmp);
        assert_eq!(one, other);
        let [one, other] = targets(Probe::Tcp(TcpProbe { send: Vec::new(), expect: None }));
        assert_ne!(one, other);
    }
}
