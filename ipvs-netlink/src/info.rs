//! What IPVS says about itself.

use std::fmt;

use netlink_packet_core::DefaultNla;

/// The answer to `IPVS_CMD_GET_INFO`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Info {
    /// The version of IPVS, 1.2.1 for a long time.
    pub version: Version,
    /// Buckets of the connection table. Since 7.1 it is the namespace's own, grows and shrinks, and is 0 before
    /// the first service.
    pub connection_table_size: u32,
    /// Attributes that this library has no name for.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub unknown: Vec<DefaultNla>,
}

/// A version as `IPVS_INFO_ATTR_VERSION` has it: one byte for each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Version(pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, major, minor, patch] = self.0.to_be_bytes();
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_reads_as_ipvsadm_prints_it() {
        assert_eq!(super::Version(0x0001_0201).to_string(), "1.2.1");
    }
}
