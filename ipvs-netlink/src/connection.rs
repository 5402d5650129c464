//! Connection entries, from `/proc/net/ip_vs_conn` and `/proc/net/ip_vs_conn_sync`: netlink has no dump of them.
//! A reader without I/O of its own.
//!
//! The kernel takes no snapshot of the table: an entry that comes or goes while it is read may be there or not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{DestinationKey, Protocol, ServiceKey};

/// One line of either file. Text in it need not be UTF-8: a persistence engine's data comes from clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The client. The port is 0 in a persistence template.
    pub client: SocketAddr,
    /// The service that it came to: the protocol, and the address and port that it asked.
    ///
    /// The template of a firewall mark has the protocol 0, and the mark as an IPv4 address or as the first four bytes of
    /// an IPv6 address.
    pub service: ServiceKey,
    /// The server that it is pinned to.
    pub destination: DestinationKey,
    /// The state by the kernel's name for it, such as `UDP` or `ESTABLISHED`.
    pub state: &'a [u8],
    /// The seconds that it has left unless another packet comes.
    pub expires: u32,
    /// Where it came from; only `ip_vs_conn_sync` tells.
    pub origin: Option<Origin>,
    /// The persistence engine's name and data; only `ip_vs_conn` tells.
    pub engine: Option<(&'a [u8], &'a [u8])>,
}

/// Who made an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A packet that came here.
    Local,
    /// The sync daemon, which heard of it from another director.
    Sync,
}

/// Reads one line; none for the header and for lines that are not understood.
///
/// `ip_vs_conn.c: ip_vs_conn_seq_show` and `ip_vs_conn_sync_seq_show`: protocol, then address and port of client, VIP
/// and server, all hexadecimal (IPv6 addresses with colons), state, origin (sync only), seconds, engine and its data.
///
/// ```
/// let table = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
///              UDP 0A000002 9C40 C0000235 0035 0A00010B 14B4 UDP             299\n";
/// let entries: Vec<_> = table.lines().filter_map(ipvs_netlink::connection::parse).collect();
/// assert_eq!(entries[0].client, "10.0.0.2:40000".parse().unwrap());
/// assert_eq!(entries[0].expires, 299);
/// ```
pub fn parse<L: AsRef<[u8]> + ?Sized>(line: &L) -> Option<Connection<'_>> {
    let mut words = Words(line.as_ref());
    let protocol = protocol(words.next()?)?;
    let mut socket =
        || Some(SocketAddr::new(address(words.next()?)?, u16::from_str_radix(words.text()?, 16).ok()?));
    let (client, vip, server) = (socket()?, socket()?, socket()?);
    let state = words.next()?;
    let mut word = words.text()?;
    let origin = match word {
        "LOCAL" => Some(Origin::Local),
        "SYNC" => Some(Origin::Sync),
        _ => None,
    };
    if origin.is_some() {
        word = words.text()?;
    }
    Some(Connection {
        client,
        service: ServiceKey::Address { protocol, address: vip },
        destination: DestinationKey(server),
        state,
        expires: word.parse().ok()?,
        origin,
        engine: words.next().map(|name| (name, words.0.trim_ascii())),
    })
}

/// What `ip_vs_proto.c: ip_vs_proto_name` says.
fn protocol(name: &[u8]) -> Option<Protocol> {
    Some(match name {
        b"IP" => Protocol(0),
        b"ICMP" => Protocol(1),
        b"TCP" => Protocol::TCP,
        b"UDP" => Protocol::UDP,
        b"ESP" => Protocol(50),
        b"AH" => Protocol(51),
        b"ICMPv6" => Protocol(58),
        b"SCTP" => Protocol::SCTP,
        other => Protocol(str::from_utf8(other.strip_prefix(b"IP_")?).ok()?.parse().ok()?),
    })
}

fn address(word: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(word).ok()?;
    Some(match text.contains(':') {
        true => text.trim_matches(['[', ']']).parse::<Ipv6Addr>().ok()?.into(),
        false => Ipv4Addr::from(u32::from_str_radix(text, 16).ok()?).into(),
    })
}

/// What is left of a line.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.next()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_both_families_are_read() {
        let entry = parse("UDP 0A000002 9C40 C0000235 0035 0A00010B 14B4 UDP         299").unwrap();
        let expected = Connection {
            client: "10.0.0.2:40000".parse().unwrap(),
            service: ServiceKey::udp("192.0.2.53:53".parse().unwrap()),
            destination: DestinationKey("10.0.1.11:5300".parse().unwrap()),
            state: b"UDP",
            expires: 299,
            origin: None,
            engine: None,
        };
        assert_eq!(entry, expected);
        let line = "UDP fd00:0000:0000:0000:0000:0000:0000:0002 9C40 2001:0db8:0000:0000:0000:0000:0000:0053 0035 \
                    fd00:0001:0000:0000:0000:0000:0000:0011 14B4 UDP         299";
        let entry = parse(line).unwrap();
        assert_eq!(entry.service, ServiceKey::udp("[2001:db8::53]:53".parse().unwrap()));
        assert_eq!(entry.destination, DestinationKey("[fd00:1::11]:5300".parse().unwrap()));
    }

    #[test]
    fn what_only_one_of_the_files_has_is_read() {
        let line =
            b"UDP 0A000002 0000 C0000235 13C4 0A00010B 13C4 NONE            118 sip a84b4c\xff@pc33 x ";
        assert_eq!(parse(line).unwrap().engine, Some((&b"sip"[..], &b"a84b4c\xff@pc33 x"[..])));
        let line = "TCP 0A000002 9C40 C0000235 0035 0A00010B 14B4 ESTABLISHED SYNC       899";
        let entry = parse(line).unwrap();
        assert_eq!(
            (entry.origin, entry.expires, entry.state),
            (Some(Origin::Sync), 899, &b"ESTABLISHED"[..])
        );
    }

    #[test]
    fn the_template_of_a_firewall_mark_is_read() {
        let entry = parse("IP  0A000002 0000 00000007 0000 0A00010B 0000 ASSURED         59").unwrap();
        let address = "0.0.0.7:0".parse().unwrap();
        assert_eq!(entry.service, ServiceKey::Address { protocol: Protocol(0), address });
        let line = "IP 2001:0db8:0000:0000:0000:0000:0000:0000 0000 0000:0007:0000:0000:0000:0000:0000:0000 0000 \
                    fd00:0000:0000:0000:0000:0000:0000:0001 0000 NONE 299";
        let address = "[0:7::]:0".parse().unwrap();
        assert_eq!(parse(line).unwrap().service, ServiceKey::Address { protocol: Protocol(0), address });
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "",
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData",
            "UDP x",
            "IP_x 0A000002 9C40 C0000235 0035 0A00010B 14B4 UDP         299",
            "UDP 0A000002 9C40 C0000235 0035 0A00010B 14B4 UDP         soon",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_entry_is_read_as_it_was_written(
            addresses in any::<[(u32, u16); 3]>(),
            protocol in 200u16..256,
            expires in any::<u32>(),
        ) {
            let [client, vip, server] = addresses.map(|(address, port)| format!("{address:08X} {port:04X}"));
            let line = format!("IP_{protocol} {client} {vip} {server} {:<11} {expires:>7}", "NONE");
            let entry = parse(&line).unwrap();
            let socket = |(address, port): (u32, u16)| SocketAddr::from((Ipv4Addr::from(address), port));
            prop_assert_eq!(entry.client, socket(addresses[0]));
            let address = socket(addresses[1]);
            prop_assert_eq!(entry.service, ServiceKey::Address { protocol: Protocol(protocol), address });
            prop_assert_eq!(entry.destination, DestinationKey(socket(addresses[2])));
            prop_assert_eq!(entry.expires, expires);
        }

        #[test]
        fn no_line_makes_it_panic(line in any::<Vec<u8>>(), words in "(UDP|[0-9A-F]{8}|[0-9A-F]{4}|[ -~]| ){0,40}") {
            let _ = (parse(&line), parse(&words));
        }
    }
}
