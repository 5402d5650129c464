//! Connection entries, from `/proc/net/ip_vs_conn`: netlink has no dump of them. A reader without I/O of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{DestinationKey, Protocol, ServiceKey};

/// One line of `/proc/net/ip_vs_conn`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The client.
    pub client: SocketAddr,
    /// The service that it came to: the protocol, and the address and port that it asked.
    pub service: ServiceKey,
    /// The server that it is pinned to.
    pub destination: DestinationKey,
}

/// Reads one line; none for the header and for lines that are not understood.
///
/// `ip_vs_conn.c: ip_vs_conn_seq_show`: protocol, then address and port of client, VIP and server, all hexadecimal;
/// IPv6 addresses with colons.
pub fn parse(line: &str) -> Option<Connection> {
    let mut words = line.split_ascii_whitespace();
    let protocol = match words.next()? {
        "TCP" => Protocol::TCP,
        "UDP" => Protocol::UDP,
        "SCTP" => Protocol::SCTP,
        _ => return None,
    };
    let mut socket = || {
        let address = words.next()?;
        let port = u16::from_str_radix(words.next()?, 16).ok()?;
        let address = if address.contains(':') {
            IpAddr::V6(address.trim_matches(['[', ']']).parse::<Ipv6Addr>().ok()?)
        } else {
            IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?))
        };
        Some(SocketAddr::new(address, port))
    };
    let (client, vip, server) = (socket()?, socket()?, socket()?);
    let service = ServiceKey::Address { protocol, address: vip };
    Some(Connection { client, service, destination: DestinationKey(server) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_families_are_read() {
        let entry = parse("UDP 0A000002 9C40 C0000235 0035 0A00010B 14B4 UDP         299").unwrap();
        assert_eq!(entry.client, "10.0.0.2:40000".parse().unwrap());
        assert_eq!(entry.service, ServiceKey::udp("192.0.2.53:53".parse().unwrap()));
        assert_eq!(entry.destination, DestinationKey("10.0.1.11:5300".parse().unwrap()));
        let line = "UDP fd00:0000:0000:0000:0000:0000:0000:0002 9C40 2001:0db8:0000:0000:0000:0000:0000:0053 0035 \
                    fd00:0001:0000:0000:0000:0000:0000:0011 14B4 UDP         299";
        let entry = parse(line).unwrap();
        assert_eq!(entry.service, ServiceKey::udp("[2001:db8::53]:53".parse().unwrap()));
        assert_eq!(entry.destination, DestinationKey("[fd00:1::11]:5300".parse().unwrap()));
    }

    #[test]
    fn other_lines_are_none() {
        for line in
            ["", "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData", "UDP x"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
