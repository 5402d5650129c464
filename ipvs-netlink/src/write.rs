//! Messages written straight into their bytes, each attribute once and without a list in between.

use netlink_packet_core::{NLA_ALIGNTO, NLA_F_NESTED, NLA_HEADER_SIZE, Nla};

/// Appends one attribute.
#[inline]
pub(crate) fn attribute(bytes: &mut Vec<u8>, attribute: &impl Nla) {
    let (start, length) = (bytes.len(), NLA_HEADER_SIZE + attribute.value_len());
    bytes.resize(start + length.next_multiple_of(NLA_ALIGNTO), 0);
    let buffer = &mut bytes[start..start + length];
    buffer[..2].copy_from_slice(&(length as u16).to_ne_bytes());
    buffer[2..4].copy_from_slice(&attribute.kind().to_ne_bytes());
    attribute.emit_value(&mut buffer[NLA_HEADER_SIZE..]);
}

/// Appends the nest `kind` with what `fill` appends.
#[inline]
pub(crate) fn nest(bytes: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
    fill(bytes);
    let length = (bytes.len() - start) as u16;
    bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}
