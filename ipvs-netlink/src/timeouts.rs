//! The time-outs of connection entries (`IPVS_CMD_SET_CONFIG`).

use netlink_packet_core::DefaultNla;

/// How long an idle connection entry lives, by protocol, in seconds.
///
/// A write changes what is some and not 0, and leaves the rest. An entry that is there takes the new time-out with its
/// next packet. A kernel without TCP or UDP for IPVS does not tell theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timeouts {
    /// An established TCP connection (`IPVS_CMD_ATTR_TIMEOUT_TCP`); 900 unless set.
    pub tcp: Option<u32>,
    /// A TCP connection after a FIN (`IPVS_CMD_ATTR_TIMEOUT_TCP_FIN`); 120 unless set.
    pub tcp_fin: Option<u32>,
    /// UDP, without one-packet scheduling (`IPVS_CMD_ATTR_TIMEOUT_UDP`); 300 unless set.
    pub udp: Option<u32>,
    /// Attributes that this library has no name for.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub unknown: Vec<DefaultNla>,
}
