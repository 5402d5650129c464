//! What the value of an attribute is in bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::DecodeError;

use crate::{Flags, Name};

/// What an attribute is in bytes: its form, for values of the type `T`.
pub(crate) trait Form<T> {
    const FLAGS: u16 = 0;
    fn length(value: &T) -> usize;
    /// `buffer` has that length.
    fn write(value: &T, buffer: &mut [u8]);
    fn read(bytes: &[u8]) -> Result<T, DecodeError>;
}

/// Numbers in native byte order, and what has one form only.
pub(crate) struct Plain;

/// A number with its first byte first: a port.
pub(crate) struct BigEndian;

/// Exactly `N` bytes.
#[inline]
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::invalid_number(N, bytes.len()))
}

/// `$Type` as an array of as many bytes.
macro_rules! form {
    ($Form:ty, $Type:ty, $to:expr, $from:expr) => {
        impl Form<$Type> for $Form {
            #[inline]
            fn length(_: &$Type) -> usize {
                size_of::<$Type>()
            }

            #[inline]
            fn write(value: &$Type, buffer: &mut [u8]) {
                buffer.copy_from_slice(&$to(*value));
            }

            #[inline]
            fn read(bytes: &[u8]) -> Result<$Type, DecodeError> {
                exactly(bytes).map($from)
            }
        }
    };
}

form!(Plain, u8, u8::to_ne_bytes, u8::from_ne_bytes);
form!(Plain, u16, u16::to_ne_bytes, u16::from_ne_bytes);
form!(Plain, u32, u32::to_ne_bytes, u32::from_ne_bytes);
form!(BigEndian, u16, u16::to_be_bytes, u16::from_be_bytes);
form!(Plain, [u8; 4], std::convert::identity, std::convert::identity);
form!(Plain, Ipv4Addr, |address: Ipv4Addr| address.octets(), |octets: [u8; 4]| octets.into());
form!(Plain, Ipv6Addr, |address: Ipv6Addr| address.octets(), |octets: [u8; 16]| octets.into());

/// `union nf_inet_addr`: the kernel sends 16 bytes, of which IPv4 uses the first four; four alone are taken, too.
impl Form<[u8; 16]> for Plain {
    #[inline]
    fn length(address: &[u8; 16]) -> usize {
        address.len()
    }

    #[inline]
    fn write(address: &[u8; 16], buffer: &mut [u8]) {
        buffer.copy_from_slice(address);
    }

    #[inline]
    fn read(bytes: &[u8]) -> Result<[u8; 16], DecodeError> {
        let mut address = [0; 16];
        match bytes.len() {
            16 => address.copy_from_slice(bytes),
            4 => address[..4].copy_from_slice(bytes),
            length => return Err(DecodeError::invalid_ip_address(length)),
        }
        Ok(address)
    }
}

/// The name and its NUL; of what the kernel says, the bytes before the first NUL (`nla_put_string`).
impl Form<Name> for Plain {
    #[inline]
    fn length(name: &Name) -> usize {
        name.as_bytes().len() + 1
    }

    #[inline]
    fn write(name: &Name, buffer: &mut [u8]) {
        let (text, nul) = buffer.split_at_mut(name.as_bytes().len());
        text.copy_from_slice(name.as_bytes());
        nul.fill(0);
    }

    #[inline]
    fn read(bytes: &[u8]) -> Result<Name, DecodeError> {
        Name::until_nul(bytes).ok_or_else(|| format!("a name of more than {} bytes", Name::MAX).into())
    }
}

/// `struct ip_vs_flags { __u32 flags; __u32 mask; }`.
impl Form<Flags> for Plain {
    #[inline]
    fn length(_: &Flags) -> usize {
        8
    }

    #[inline]
    fn write(flags: &Flags, buffer: &mut [u8]) {
        buffer[..4].copy_from_slice(&flags.value.to_ne_bytes());
        buffer[4..].copy_from_slice(&flags.mask.to_ne_bytes());
    }

    #[inline]
    fn read(bytes: &[u8]) -> Result<Flags, DecodeError> {
        let [a, b, c, d, mask @ ..] = exactly::<8>(bytes)?;
        Ok(Flags { value: u32::from_ne_bytes([a, b, c, d]), mask: u32::from_ne_bytes(mask) })
    }
}
