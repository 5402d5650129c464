//! What the answer to a check makes of a server's weight.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an answer makes of the weight of a server that is up. In JSON a percentage is a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Factor {
    /// So many percent of it.
    Percent(u32),
    /// Another one stands instead of that in the config.
    Weight {
        /// This one.
        weight: u32,
    },
    /// It is more, or less.
    Added {
        /// By so much.
        added: i32,
    },
}

impl Factor {
    /// It stays as it is.
    pub const FULL: Self = Self::Percent(100);
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "a weight of {percent} %"),
            Self::Weight { weight } => write!(f, "a weight of {weight}"),
            Self::Added { added } => write!(f, "a weight of {added:+}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Verdict;
    use crate::core::pool::Known;

    #[test]
    fn a_factor_is_a_number_or_says_what_it_is() {
        for (factor, json, words) in [
            (Factor::FULL, "100", "a weight of 100 %"),
            (Factor::Weight { weight: 7 }, r#"{"weight":7}"#, "a weight of 7"),
            (Factor::Added { added: -3 }, r#"{"added":-3}"#, "a weight of -3"),
            (Factor::Added { added: 3 }, r#"{"added":3}"#, "a weight of +3"),
        ] {
            assert_eq!(serde_json::to_string(&factor).unwrap(), json);
            assert_eq!(serde_json::from_str::<Factor>(json).unwrap(), factor);
            assert_eq!(factor.to_string(), words);
        }
    }

    #[test]
    fn it_takes_little_room() {
        assert_eq!((size_of::<Factor>(), size_of::<Verdict>(), size_of::<Known>()), (8, 40, 40));
    }
}
