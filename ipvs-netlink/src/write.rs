//! Messages written straight into their bytes, each attribute once and without a list in between.

use netlink_packet_core::{NLA_ALIGNTO, NLA_F_NESTED, NLA_HEADER_SIZE, Nla};

/// Appends one attribute.
pub(crate) fn attribute(bytes: &mut Vec<u8>, attribute: &impl Nla) {
    let start = open(bytes, attribute.kind());
    bytes.resize(start + NLA_HEADER_SIZE + attribute.value_len(), 0);
    attribute.emit_value(&mut bytes[start + NLA_HEADER_SIZE..]);
    close(bytes, start);
}

/// Appends the nest `kind` with what `fill` appends.
pub(crate) fn nest(bytes: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = open(bytes, kind | NLA_F_NESTED);
    fill(bytes);
    close(bytes, start);
}

/// Begins an attribute; where it begins.
fn open(bytes: &mut Vec<u8>, kind: u16) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&kind.to_ne_bytes());
    start
}

/// Ends it: writes the length and pads.
fn close(bytes: &mut Vec<u8>, start: usize) {
    let length = (bytes.len() - start) as u16;
    bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    bytes.resize(bytes.len().next_multiple_of(NLA_ALIGNTO), 0);
}
