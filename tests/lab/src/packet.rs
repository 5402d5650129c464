//! What a captured packet says: addresses, ports, fragments, and whether its UDP checksum is right.

use std::net::SocketAddr;
use std::time::SystemTime;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// The UDP checksum of a captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Present and right.
    Right,
    /// Present and wrong.
    Wrong,
    /// Absent: the field is zero.
    Zero,
    /// Not UDP, or a fragment, which holds only a part of what is summed.
    Unknown,
}

/// One captured IP packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When the kernel saw it.
    pub at: SystemTime,
    /// Index of the interface.
    pub interface: usize,
    /// True if this namespace sent it.
    pub outgoing: bool,
    /// The IP protocol number, of a fragment too: 17 = UDP, 1 and 58 = ICMP, 4 and 41 = a tunnel's outer packet.
    pub protocol: u8,
    /// Source; port 0 of fragments and of what has no ports.
    pub source: SocketAddr,
    /// Destination; port 0 of fragments and of what has no ports.
    pub destination: SocketAddr,
    /// Bytes from the IP header on.
    pub length: usize,
    /// Its UDP checksum.
    pub checksum: Checksum,
    /// True for every part of a fragmented packet.
    pub fragment: bool,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
}

impl Packet {
    /// Reads a packet that begins with its IP header; None for what is no IP.
    pub(crate) fn parse(bytes: &[u8], at: SystemTime, interface: usize, outgoing: bool) -> Option<Packet> {
        let sliced = SlicedPacket::from_ip(bytes).ok()?;
        let (source, destination, payload) = match sliced.net.as_ref()? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.payload())
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.payload())
            }
            NetSlice::Arp(_) => return None,
        };
        let mut packet = Packet {
            at,
            interface,
            outgoing,
            protocol: payload.ip_number.0,
            source: SocketAddr::new(source, 0),
            destination: SocketAddr::new(destination, 0),
            length: bytes.len(),
            checksum: Checksum::Unknown,
            fragment: payload.fragmented,
            icmp: None,
        };
        match sliced.transport {
            Some(TransportSlice::Udp(udp)) => {
                packet.read_udp(&udp.to_header(), udp.payload(), sliced.net.as_ref()?)
            }
            Some(TransportSlice::Icmpv4(icmp)) => packet.icmp = Some((icmp.type_u8(), icmp.code_u8())),
            Some(TransportSlice::Icmpv6(icmp)) => packet.icmp = Some((icmp.type_u8(), icmp.code_u8())),
            _ => {}
        }
        Some(packet)
    }

    fn read_udp(&mut self, header: &etherparse::UdpHeader, payload: &[u8], net: &NetSlice) {
        self.source.set_port(header.source_port);
        self.destination.set_port(header.destination_port);
        let sum = match net {
            NetSlice::Ipv4(ip) => header.calc_checksum_ipv4(&ip.header().to_header(), payload),
            NetSlice::Ipv6(ip) => header.calc_checksum_ipv6(&ip.header().to_header(), payload),
            NetSlice::Arp(_) => return,
        };
        self.checksum = match sum {
            _ if header.checksum == 0 => Checksum::Zero,
            Ok(sum) if sum == header.checksum => Checksum::Right,
            _ => Checksum::Wrong,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::{Checksum, Packet};

    fn read(bytes: &[u8]) -> Option<Packet> {
        Packet::parse(bytes, SystemTime::UNIX_EPOCH, 3, false)
    }

    fn datagram(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ipv4([10, 0, 1, 11], [10, 0, 0, 2], 64).udp(5300, 4000);
        builder.write(&mut bytes, payload).unwrap();
        bytes
    }

    #[test]
    fn a_checksum_is_right_wrong_or_zero() {
        let mut bytes = datagram(b"pong");
        let packet = read(&bytes).unwrap();
        assert_eq!(packet.checksum, Checksum::Right);
        assert_eq!(packet.source, "10.0.1.11:5300".parse().unwrap());
        assert_eq!(packet.destination, "10.0.0.2:4000".parse().unwrap());
        bytes[26] ^= 1;
        assert_eq!(read(&bytes).unwrap().checksum, Checksum::Wrong);
        bytes[26..28].fill(0);
        assert_eq!(read(&bytes).unwrap().checksum, Checksum::Zero);
    }

    #[test]
    fn icmp_and_fragments_are_seen() {
        let mut bytes = Vec::new();
        let port_unreachable = [3, 3, 0, 0, 0, 0, 0, 0];
        let builder = PacketBuilder::ipv4([10, 0, 1, 11], [10, 0, 0, 2], 64).icmpv4_raw(3, 3, [0; 4]);
        builder.write(&mut bytes, &port_unreachable).unwrap();
        assert_eq!(read(&bytes).unwrap().icmp, Some((3, 3)));
        let mut bytes = datagram(&[0; 64]);
        bytes[6] |= 0x20;
        let packet = read(&bytes).unwrap();
        assert!(packet.fragment && packet.checksum == Checksum::Unknown && packet.protocol == 17);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), first in 0x40u8..0x70) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            if let Some(packet) = read(&bytes) {
                prop_assert_eq!(packet.length, bytes.len());
            }
        }
    }
}
