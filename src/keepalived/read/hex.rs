//! The loose hexadecimal text of `UDP_CHECK`.

/// Pairs of digits; a digit that is left alone before white space is a byte of its own. Each byte with the mask of what counts:
/// `X` is a digit that does not. None if something else stands there, or nothing.
pub fn bytes(text: &str) -> Option<Vec<(u8, u8)>> {
    let mut bytes = Vec::new();
    for group in text.split_whitespace() {
        let digits = group.chars().map(digit).collect::<Option<Vec<_>>>()?;
        bytes.extend(digits.chunks(2).map(|pair| match *pair {
            [(high, high_mask), (low, low_mask)] => (high << 4 | low, high_mask << 4 | low_mask),
            [(low, mask), ..] => (low, 0xf0 | mask),
            [] => (0, 0),
        }));
    }
    (!bytes.is_empty()).then_some(bytes)
}

fn digit(c: char) -> Option<(u8, u8)> {
    match c {
        'x' | 'X' => Some((0, 0)),
        _ => c.to_digit(16).map(|digit| (digit as u8, 15)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_is_free() {
        let plain = |text| {
            bytes(text).map(|bytes| {
                bytes.iter().map(|(byte, _)| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(plain("Ab12f 3 456 546443123").as_deref(), Some("AB 12 0F 03 45 06 54 64 43 12 03"));
        assert_eq!(bytes("0X x fX"), Some(vec![(0, 0xf0), (0, 0xf0), (0xf0, 0xf0)]));
        assert_eq!(bytes("zz"), None);
        assert_eq!(bytes(" "), None);
    }
}
