//! The attributes within `IPVS_CMD_ATTR_SERVICE` (`IPVS_SVC_ATTR_*`).

use super::attribute::attributes;
use super::form::{BigEndian, Form, Plain};
use super::stats::Counters;
use crate::uapi::*;
use crate::{Flags, Name, Stats};

attributes! {
    /// An attribute of a service; numbers are in native byte order on the wire unless said.
    pub enum ServiceAttribute {
        /// `IPVS_SVC_ATTR_AF`: `AF_INET` or `AF_INET6`.
        Family(u16) = IPVS_SVC_ATTR_AF as Plain,
        /// `IPVS_SVC_ATTR_PROTOCOL`.
        Protocol(u16) = IPVS_SVC_ATTR_PROTOCOL as Plain,
        /// `IPVS_SVC_ATTR_ADDR`: always 16 bytes when sent; IPv4 is the first four.
        Address([u8; 16]) = IPVS_SVC_ATTR_ADDR as Plain,
        /// `IPVS_SVC_ATTR_PORT` (big-endian on the wire).
        Port(u16) = IPVS_SVC_ATTR_PORT as BigEndian,
        /// `IPVS_SVC_ATTR_FWMARK`.
        FwMark(u32) = IPVS_SVC_ATTR_FWMARK as Plain,
        /// `IPVS_SVC_ATTR_SCHED_NAME`.
        SchedulerName(Name) = IPVS_SVC_ATTR_SCHED_NAME as Plain,
        /// `IPVS_SVC_ATTR_FLAGS` (`struct ip_vs_flags`).
        Flags(Flags) = IPVS_SVC_ATTR_FLAGS as Plain,
        /// `IPVS_SVC_ATTR_TIMEOUT`, in seconds.
        Timeout(u32) = IPVS_SVC_ATTR_TIMEOUT as Plain,
        /// `IPVS_SVC_ATTR_NETMASK`: an IPv4 mask in network order, or an IPv6 prefix length in native order.
        Netmask([u8; 4]) = IPVS_SVC_ATTR_NETMASK as Plain,
        /// `IPVS_SVC_ATTR_STATS`: connections, packets and rates in 32 bits.
        Stats(Stats) = IPVS_SVC_ATTR_STATS as Counters<false>,
        /// `IPVS_SVC_ATTR_PE_NAME`.
        PersistenceEngine(Name) = IPVS_SVC_ATTR_PE_NAME as Plain,
        /// `IPVS_SVC_ATTR_STATS64`, since 4.1.
        Stats64(Stats) = IPVS_SVC_ATTR_STATS64 as Counters<true>,
    }
}
