//! As much of BER (X.690) as an SNMP get needs: definite lengths only, nothing copied.

pub const INTEGER: u8 = 0x02;
pub const OCTET_STRING: u8 = 0x04;
pub const NULL: u8 = 0x05;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;

/// What is left to read.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The tag and value of the next element.
    pub fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // So many bytes of length follow; no datagram needs more than two, but agents write four.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let value;
        (value, self.0) = rest.split_at_checked(length)?;
        Some((tag, value))
    }

    /// The value of the next element, which has this tag.
    pub fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }
}

/// An element whose value is these parts, 65 535 bytes at most.
pub fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let [high, low] = (value.len() as u16).to_be_bytes();
    let header: &[u8] = match (high, low) {
        (0, 0..=0x7f) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [header, &value].concat()
}

/// The value of an OBJECT IDENTIFIER (section 8.19).
pub fn oid(numbers: &[u32]) -> Option<Vec<u8>> {
    let [first @ 0..=2, second @ 0..=39, rest @ ..] = numbers else { return None };
    let mut bytes = vec![(first * 40 + second) as u8];
    for number in rest {
        let mut shift = 28;
        while shift > 0 && number >> shift == 0 {
            shift -= 7;
        }
        while shift > 0 {
            bytes.push((number >> shift) as u8 | 0x80);
            shift -= 7;
        }
        bytes.push(*number as u8 & 0x7f);
    }
    Some(bytes)
}

/// An integer in words, however long it is.
pub fn decimal(integer: &[u8]) -> String {
    match <[u8; 8]>::try_from(integer) {
        _ if integer.is_empty() || integer.len() > 8 => "of no number".to_owned(),
        Ok(bytes) => i64::from_be_bytes(bytes).to_string(),
        Err(_) => {
            let sign = if integer[0] & 0x80 == 0 { 0 } else { -1 };
            integer.iter().fold(sign, |number: i64, byte| number << 8 | i64::from(*byte)).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn object_identifiers_are_written_in_sevens() {
        assert_eq!(oid(&[1, 3, 6, 1, 4, 1, 2021, 10]), Some(vec![0x2b, 6, 1, 4, 1, 0x8f, 0x65, 10]));
        assert_eq!(oid(&[2, 39, u32::MAX]), Some(vec![119, 0x8f, 0xff, 0xff, 0xff, 0x7f]));
        assert_eq!(oid(&[0, 0, 128, 0]), Some(vec![0, 0x81, 0, 0]));
        for bad in [&[][..], &[1], &[3, 1], &[1, 40]] {
            assert_eq!(oid(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn integers_have_a_sign() {
        let integers = [
            (vec![0], "0"),
            (vec![0xff], "-1"),
            (vec![1, 0], "256"),
            (vec![0x80, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808"),
            (vec![], "of no number"),
            (vec![0; 9], "of no number"),
        ];
        for (bytes, text) in integers {
            assert_eq!(decimal(&bytes), text, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tag: u8, length in 0..0x1_0000usize, more: Vec<u8>) {
            let value = vec![7; length];
            let bytes = [write(tag, &[&value]), more.clone()].concat();
            let mut reader = Reader(&bytes);
            prop_assert_eq!(reader.any(), Some((tag, value.as_slice())));
            prop_assert_eq!(reader.0, more);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while reader.any().is_some() {}
            _ = decimal(&bytes);
        }
    }
}
