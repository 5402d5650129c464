//! Bytes in small pieces. A buffer of megabytes leaves a hole in the heap that little else fits into, and the process has it for
//! good.

use std::io::{self, Write};

/// So large a piece becomes.
const PIECE: usize = 16 << 10;

/// The bytes; no piece is empty.
#[derive(Debug, Default)]
pub struct Pieces(Vec<Vec<u8>>);

impl Pieces {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Piece after piece.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut last =
                self.0.pop_if(|last| last.len() < PIECE).unwrap_or_else(|| Vec::with_capacity(PIECE));
            let now;
            (now, bytes) = bytes.split_at(bytes.len().min(PIECE.saturating_sub(last.len())));
            last.extend_from_slice(now);
            self.0.push(last);
        }
    }

    /// Keeps the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        let mut left = length;
        self.0.retain_mut(|piece| {
            piece.truncate(left);
            left -= piece.len();
            !piece.is_empty()
        });
    }

    /// Takes others away from there and adds them at the end.
    pub fn append(&mut self, others: &mut Self) {
        self.0.append(&mut others.0);
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_the_bytes(parts in prop::collection::vec((0..40_000usize, any::<u8>(), 0..60_000usize), 0..8)) {
            let (mut pieces, mut bytes) = (Pieces::default(), Vec::new());
            for (length, byte, kept) in parts {
                bytes.extend(vec![byte; length]);
                if byte % 2 == 0 {
                    pieces.push(&vec![byte; length]);
                } else {
                    let mut others = Pieces::default();
                    others.push(&vec![byte; length]);
                    pieces.append(&mut others);
                }
                bytes.truncate(kept);
                pieces.truncate(kept);
                prop_assert_eq!(pieces.len(), bytes.len());
                prop_assert_eq!(pieces.is_empty(), bytes.is_empty());
                prop_assert!(pieces.iter().all(|piece| (1..=PIECE).contains(&piece.len())));
                prop_assert_eq!(pieces.iter().collect::<Vec<_>>().concat(), &bytes[..]);
            }
        }
    }
}
