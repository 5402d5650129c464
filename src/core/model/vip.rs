//! Where a service listens, in the words of the config, the commands and the metrics.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use ipvs_netlink::{Family, Protocol, ServiceKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The IPVS service that one entry of `listen` becomes: `192.0.2.53:53` (UDP), `192.0.2.53:53/tcp`, `192.0.2.53:53/sctp`,
/// `fwmark 7` and `fwmark 7/ipv6` (packets with a firewall mark).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vip(pub ServiceKey);

/// The protocols that IPVS knows, in the words of the config; the first is meant where none is named.
const PROTOCOLS: [(&str, Protocol); 3] =
    [("udp", Protocol::UDP), ("tcp", Protocol::TCP), ("sctp", Protocol::SCTP)];

impl Vip {
    /// The address and port that the packets go to; none with a firewall mark.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.0 {
            ServiceKey::Address { address, .. } => Some(address),
            ServiceKey::FwMark { .. } => None,
        }
    }

    /// The address and port if the packets are datagrams: whose replies ipvsd can rewrite.
    pub fn udp(&self) -> Option<SocketAddr> {
        match self.0 {
            ServiceKey::Address { protocol: Protocol::UDP, address } => Some(address),
            _ => None,
        }
    }

    /// Whether datagrams may come to it, which can be scheduled one by one.
    pub fn has_datagrams(&self) -> bool {
        matches!(self.0, ServiceKey::FwMark { .. }) || self.udp().is_some()
    }
}

impl From<SocketAddr> for Vip {
    fn from(address: SocketAddr) -> Self {
        Self(ServiceKey::udp(address))
    }
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ServiceKey::Address { protocol: Protocol::UDP, address } => write!(f, "{address}"),
            ServiceKey::Address { protocol, address } => {
                match PROTOCOLS.iter().find(|(_, known)| *known == protocol) {
                    Some((word, _)) => write!(f, "{address}/{word}"),
                    None => write!(f, "{address}/{}", protocol.0),
                }
            }
            ServiceKey::FwMark { family: Family::Inet, mark } => write!(f, "fwmark {mark}"),
            ServiceKey::FwMark { family: Family::Inet6, mark } => write!(f, "fwmark {mark}/ipv6"),
        }
    }
}

impl FromStr for Vip {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (what, of) = text.rsplit_once('/').map_or((text, None), |(what, of)| (what, Some(of)));
        if let Some(mark) = what.strip_prefix("fwmark ") {
            let family = match of {
                None => Family::Inet,
                Some("ipv6") => Family::Inet6,
                Some(_) => return Err(()),
            };
            return Ok(Self(ServiceKey::FwMark { family, mark: mark.trim().parse().map_err(|_| ())? }));
        }
        let (_, protocol) = match of {
            None => Some(&PROTOCOLS[0]),
            Some(of) => PROTOCOLS.iter().find(|(word, _)| *word == of),
        }
        .ok_or(())?;
        let address = what.parse().map_err(|_| ())?;
        Ok(Self(ServiceKey::Address { protocol: *protocol, address }))
    }
}

impl Serialize for Vip {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Vip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom(format!("`{text}` is no place to listen at")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_they_say() {
        let v4 = "192.0.2.53:53".parse().unwrap();
        let v6 = "[2001:db8::53]:53".parse().unwrap();
        let address = |protocol, address| ServiceKey::Address { protocol, address };
        let mark = |family, mark: u32| ServiceKey::FwMark { family, mark: mark.try_into().unwrap() };
        for (text, key) in [
            ("192.0.2.53:53", address(Protocol::UDP, v4)),
            ("192.0.2.53:53/tcp", address(Protocol::TCP, v4)),
            ("[2001:db8::53]:53/sctp", address(Protocol::SCTP, v6)),
            ("fwmark 7", mark(Family::Inet, 7)),
            ("fwmark 4294967295/ipv6", mark(Family::Inet6, u32::MAX)),
        ] {
            assert_eq!(text.parse(), Ok(Vip(key)));
            assert_eq!(Vip(key).to_string(), text);
            let json = serde_json::to_string(&Vip(key)).unwrap();
            assert_eq!(serde_json::from_str::<Vip>(&json).unwrap(), Vip(key));
        }
        assert_eq!("192.0.2.53:53/udp".parse(), Ok(Vip::from(v4)));
        for text in
            ["192.0.2.53", "192.0.2.53:53/", "192.0.2.53:53/icmp", "fwmark 0", "fwmark", "fwmark 7/tcp", ""]
        {
            assert_eq!(text.parse::<Vip>(), Err(()), "{text}");
        }
    }
}
