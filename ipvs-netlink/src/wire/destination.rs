//! The attributes within `IPVS_CMD_ATTR_DEST` (`IPVS_DEST_ATTR_*`).

use super::attribute::attributes;
use super::form::{BigEndian, Form, Plain};
use super::stats::Counters;
use crate::Stats;
use crate::uapi::*;

attributes! {
    /// An attribute of a destination; numbers are in native byte order on the wire unless said.
    pub enum DestinationAttribute {
        /// `IPVS_DEST_ATTR_ADDR`: always 16 bytes when sent; IPv4 is the first four.
        Address([u8; 16]) = IPVS_DEST_ATTR_ADDR as Plain,
        /// `IPVS_DEST_ATTR_PORT` (big-endian on the wire).
        Port(u16) = IPVS_DEST_ATTR_PORT as BigEndian,
        /// `IPVS_DEST_ATTR_FWD_METHOD`: `IP_VS_CONN_F_*`, the low three bits.
        ForwardingMethod(u32) = IPVS_DEST_ATTR_FWD_METHOD as Plain,
        /// `IPVS_DEST_ATTR_WEIGHT`.
        Weight(u32) = IPVS_DEST_ATTR_WEIGHT as Plain,
        /// `IPVS_DEST_ATTR_U_THRESH`.
        UpperThreshold(u32) = IPVS_DEST_ATTR_U_THRESH as Plain,
        /// `IPVS_DEST_ATTR_L_THRESH`.
        LowerThreshold(u32) = IPVS_DEST_ATTR_L_THRESH as Plain,
        /// `IPVS_DEST_ATTR_ACTIVE_CONNS`.
        ActiveConnections(u32) = IPVS_DEST_ATTR_ACTIVE_CONNS as Plain,
        /// `IPVS_DEST_ATTR_INACT_CONNS`.
        InactiveConnections(u32) = IPVS_DEST_ATTR_INACT_CONNS as Plain,
        /// `IPVS_DEST_ATTR_PERSIST_CONNS`.
        PersistentConnections(u32) = IPVS_DEST_ATTR_PERSIST_CONNS as Plain,
        /// `IPVS_DEST_ATTR_STATS`: connections, packets and rates in 32 bits.
        Stats(Stats) = IPVS_DEST_ATTR_STATS as Counters<false>,
        /// `IPVS_DEST_ATTR_ADDR_FAMILY`, since 3.18; without it the service's family.
        Family(u16) = IPVS_DEST_ATTR_ADDR_FAMILY as Plain,
        /// `IPVS_DEST_ATTR_STATS64`, since 4.1.
        Stats64(Stats) = IPVS_DEST_ATTR_STATS64 as Counters<true>,
        /// `IPVS_DEST_ATTR_TUN_TYPE`, since 5.2.
        TunnelType(u8) = IPVS_DEST_ATTR_TUN_TYPE as Plain,
        /// `IPVS_DEST_ATTR_TUN_PORT` (big-endian on the wire), since 5.2.
        TunnelPort(u16) = IPVS_DEST_ATTR_TUN_PORT as BigEndian,
        /// `IPVS_DEST_ATTR_TUN_FLAGS`, since 5.3.
        TunnelFlags(u16) = IPVS_DEST_ATTR_TUN_FLAGS as Plain,
    }
}
