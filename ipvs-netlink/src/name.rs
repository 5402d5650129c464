//! The names that the kernel knows schedulers, persistence engines and network interfaces by.

use std::fmt;
use std::str::{FromStr, Utf8Error};

use crate::uapi::*;

const _: () =
    assert!(IP_VS_PENAME_MAXLEN == IP_VS_SCHEDNAME_MAXLEN && IP_VS_IFNAME_MAXLEN == IP_VS_SCHEDNAME_MAXLEN);

/// A name of the kernel's, open: whatever module or interface it has, in at most 15 bytes.
///
/// What the kernel tells need not be text; [`Display`](fmt::Display) shows it as well as it can.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Zero behind `length`.
    bytes: [u8; Name::MAX],
    length: u8,
}

/// The name of a scheduler (`IPVS_SVC_ATTR_SCHED_NAME`): `ip_vs_NAME` is its module, `none` is no scheduler at all.
pub type SchedulerName = Name;

/// A name that the kernel would refuse: empty, over 15 bytes, or with a NUL byte (`IP_VS_SCHEDNAME_MAXLEN`,
/// `IP_VS_PENAME_MAXLEN` and `IP_VS_IFNAME_MAXLEN` are 16 with the final NUL).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name for the kernel: 1 to 15 bytes, none of them NUL")]
pub struct InvalidName(pub String);

impl Name {
    /// The longest name, in bytes.
    pub const MAX: usize = {
        assert!(
            IP_VS_PENAME_MAXLEN == IP_VS_SCHEDNAME_MAXLEN && IP_VS_IFNAME_MAXLEN == IP_VS_SCHEDNAME_MAXLEN
        );
        IP_VS_SCHEDNAME_MAXLEN - 1
    };

    /// The name that is these bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
        let bytes = bytes.as_ref();
        match Self::until_nul(bytes) {
            Some(name) if !bytes.is_empty() && !bytes.contains(&0) => Ok(name),
            _ => Err(InvalidName(String::from_utf8_lossy(bytes).into_owned())),
        }
    }

    /// What is before the first NUL; none if that is too long.
    pub(crate) fn until_nul(bytes: &[u8]) -> Option<Self> {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut name = Self { bytes: [0; Self::MAX], length: 0 };
        name.bytes.get_mut(..text.len())?.copy_from_slice(text);
        name.length = text.len() as u8;
        Some(name)
    }

    /// The name as bytes, without a NUL.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The name as text, if it is text.
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(self.as_bytes())
    }
}

impl FromStr for Name {
    type Err = InvalidName;
    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// As text where it is text, and otherwise as bytes.
#[cfg(feature = "serde")]
mod serialised {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Name;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Bytes(Vec<u8>),
    }

    impl Serialize for Name {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.to_str() {
                Ok(text) => text.serialize(serializer),
                Err(_) => self.as_bytes().serialize(serializer),
            }
        }
    }

    impl<'de> Deserialize<'de> for Name {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match Either::deserialize(deserializer)? {
                Either::Text(text) => Self::new(text),
                Either::Bytes(bytes) => Self::new(bytes),
            }
            .map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_15_bytes_and_no_nul() {
        assert_eq!("wrr".parse::<Name>().unwrap(), "wrr");
        assert_eq!(Name::new([b'a'; 15]).unwrap().as_bytes(), [b'a'; 15]);
        for bad in [&b""[..], &[b'a'; 16], b"w\0r"] {
            assert_eq!(Name::new(bad), Err(InvalidName(String::from_utf8(bad.to_vec()).unwrap())));
        }
    }

    #[test]
    fn a_name_need_not_be_text() {
        let name = Name::new([b'w', 0xff]).unwrap();
        assert!(name.to_str().is_err());
        assert_eq!(
            (name.to_string(), format!("{name:?}")),
            ("w\u{fffd}".to_owned(), r#""w\xff""#.to_owned())
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_name_survives_being_written_down() {
        for name in [Name::new("wrr").unwrap(), Name::new([b'w', 0xff]).unwrap()] {
            let text = serde_json::to_string(&name).unwrap();
            assert_eq!(serde_json::from_str::<Name>(&text).unwrap(), name, "{text}");
        }
    }
}
