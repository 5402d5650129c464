//! Messages written straight into their bytes, each attribute once and without a list in between.

use netlink_packet_core::{NLA_ALIGNTO, NLA_F_NESTED, NLA_HEADER_SIZE, Nla};

/// Where a value puts its attributes.
pub(crate) trait Sink<A> {
    fn put(&mut self, attribute: A);
}

impl<A> Sink<A> for Vec<A> {
    fn put(&mut self, attribute: A) {
        self.push(attribute);
    }
}

/// A message that grows.
pub(crate) struct Bytes(pub Vec<u8>);

impl<A: Nla> Sink<A> for Bytes {
    // Inlined where the attribute is made, it is a few stores: a third of what a request costs otherwise.
    #[inline(always)]
    fn put(&mut self, attribute: A) {
        let (start, length) = (self.0.len(), NLA_HEADER_SIZE + attribute.value_len());
        self.0.resize(start + length.next_multiple_of(NLA_ALIGNTO), 0);
        let buffer = &mut self.0[start..start + length];
        buffer[..2].copy_from_slice(&(length as u16).to_ne_bytes());
        buffer[2..4].copy_from_slice(&attribute.kind().to_ne_bytes());
        attribute.emit_value(&mut buffer[NLA_HEADER_SIZE..]);
    }
}

impl Bytes {
    /// Appends the nest `kind` with what `fill` appends.
    #[inline]
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}
