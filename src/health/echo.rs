//! ICMP echo messages as bytes (RFC 792, RFC 4443). What comes is hostile: anybody can send it.

use std::net::IpAddr;

/// Type, code, checksum, identifier, number.
pub const HEADER: usize = 8;

/// A family of addresses as ICMP has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// ICMP.
    V4,
    /// ICMPv6.
    V6,
}

impl Family {
    /// That of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The type of an echo request.
    pub fn request(self) -> u8 {
        if self == Self::V4 { 8 } else { 128 }
    }

    /// The type of an echo reply.
    pub fn reply(self) -> u8 {
        if self == Self::V4 { 0 } else { 129 }
    }
}

/// What an echo message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Who asks.
    pub identifier: [u8; 2],
    /// Which request it is.
    pub number: u16,
    /// All that follows the header.
    pub payload: &'a [u8],
}

impl<'a> Echo<'a> {
    /// The message that asks with this.
    pub fn request(self, family: Family) -> Vec<u8> {
        let mut request = vec![family.request(), 0, 0, 0];
        request.extend(self.identifier);
        request.extend(self.number.to_be_bytes());
        request.extend(self.payload);
        // For ICMPv6 the kernel does it (RFC 3542, section 3.1).
        if family == Family::V4 {
            let sum = checksum(&request).to_be_bytes();
            request[2..4].copy_from_slice(&sum);
        }
        request
    }

    /// What a packet says that is a whole echo reply as a raw socket gives it: IPv4 with its header, and ICMPv6 alone, whose
    /// checksum the kernel has verified.
    pub fn reply(family: Family, packet: &'a [u8]) -> Option<Echo<'a>> {
        let message = match family {
            Family::V4 => packet.get(usize::from(packet.first()? & 0xf) * 4..)?,
            Family::V6 => packet,
        };
        let whole = family == Family::V6 || checksum(message) == 0;
        Self::read(family.reply(), message).filter(|_| whole)
    }

    /// Of which request this is the beginning, as an ICMP error quotes it.
    pub fn quoted(family: Family, message: &'a [u8]) -> Option<Echo<'a>> {
        Self::read(family.request(), message)
    }

    fn read(kind: u8, message: &'a [u8]) -> Option<Echo<'a>> {
        let (header, payload) = message.split_at_checked(HEADER)?;
        let number = u16::from_be_bytes([header[6], header[7]]);
        (header[..2] == [kind, 0]).then_some(Echo { identifier: [header[4], header[5]], number, payload })
    }
}

/// The Internet checksum (RFC 1071): 0 over bytes that hold their right checksum.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        // The example of its section 3.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), !0xff00);
        let echo = Echo { identifier: [1, 2], number: 3, payload: b"odd" };
        assert_eq!(checksum(&echo.request(Family::V4)), 0, "a message holds its own");
    }

    proptest! {
        #[test]
        fn any_packet_is_a_reply_or_none(packet: Vec<u8>, v6: bool) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            if let Some(echo) = Echo::reply(family, &packet) {
                prop_assert!(packet.ends_with(echo.payload) && packet.len() >= HEADER + echo.payload.len());
            }
        }
    }
}
