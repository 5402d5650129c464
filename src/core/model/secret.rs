//! Secrets: known to the probes, shown to nobody.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Bytes that no log and no output shows: they are not serialised, and `Debug` does not print them.
///
/// Serialised is a mark, by which two secrets of one run of the daemon can be told apart, and nothing else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Secret {
    mark: u64,
    #[serde(skip)]
    bytes: Vec<u8>,
}

impl Secret {
    /// Takes the bytes.
    pub fn new(bytes: Vec<u8>) -> Secret {
        // The key is drawn anew in each process: nobody can find the bytes by trying.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Secret { mark: KEY.hash_one(&bytes), bytes }
    }

    /// By this two secrets of one run of the daemon can be told apart.
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// The bytes; none if it was deserialised.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_it() {
        let secret = Secret::new(b"testing123".to_vec());
        assert_eq!(secret.bytes(), b"testing123");
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret Secret");
        let json = serde_json::to_string(&secret).expect("JSON");
        assert_eq!(json, format!("{{\"mark\":{}}}", secret.mark));
        let read: Secret = serde_json::from_str(&json).expect("a secret");
        assert!(read.bytes().is_empty() && read.mark == secret.mark);
    }

    #[test]
    fn others_differ() {
        assert_eq!(Secret::new(b"a".to_vec()), Secret::new(b"a".to_vec()));
        assert_ne!(Secret::new(b"a".to_vec()), Secret::new(b"b".to_vec()));
    }
}
