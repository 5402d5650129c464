//! What the tests of all protocols use.

use proptest::prelude::*;
use proptest::sample::Index;

use super::Ask;

/// A probe from 192.0.2.1:40000 to 10.0.1.11:53.
pub fn ask(nonce: u128) -> Ask {
    let address = |text: &str| text.parse().expect("an address");
    Ask { nonce, local: address("192.0.2.1:40000"), server: address("10.0.1.11:53") }
}

/// Bytes from hexadecimal digits; blanks do not count.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("digits")
    };
    digits.chunks(2).map(byte).collect()
}

/// A right answer with some bytes changed, its end cut off, or bytes added; or just any bytes.
pub fn damaged(right: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    let damaged = (changes, prop::option::of(any::<Index>()), prop::collection::vec(any::<u8>(), 0..8));
    let damaged = damaged.prop_map(move |(changes, cut, more)| {
        let mut bytes = right.clone();
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(more);
        bytes
    });
    prop_oneof![9 => damaged, 1 => prop::collection::vec(any::<u8>(), 0..100)]
}
