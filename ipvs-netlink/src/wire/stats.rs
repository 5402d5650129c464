//! The attributes within `IPVS_*_ATTR_STATS` and `IPVS_*_ATTR_STATS64` (`IPVS_STATS_ATTR_*`).

use netlink_packet_core::{DecodeError, DefaultNla, Emitable, NLA_F_NESTED, NLA_HEADER_SIZE, NLA_TYPE_MASK};

use super::attribute::{Attributes, that_fits};
use super::form::Form;
use crate::Stats;
use crate::uapi::*;

/// The numbers of [`Stats::counters`], one after the other.
const COUNTERS: [u16; 10] = [
    IPVS_STATS_ATTR_CONNS,
    IPVS_STATS_ATTR_INPKTS,
    IPVS_STATS_ATTR_OUTPKTS,
    IPVS_STATS_ATTR_INBYTES,
    IPVS_STATS_ATTR_OUTBYTES,
    IPVS_STATS_ATTR_CPS,
    IPVS_STATS_ATTR_INPPS,
    IPVS_STATS_ATTR_OUTPPS,
    IPVS_STATS_ATTR_INBPS,
    IPVS_STATS_ATTR_OUTBPS,
];

/// Traffic counters: in 64 bits as `IPVS_*_ATTR_STATS64` has them, or most of them in 32.
pub(crate) struct Counters<const WIDE: bool>;

impl<const WIDE: bool> Counters<WIDE> {
    /// Bytes of the counter with this number.
    fn width(kind: u16) -> usize {
        if WIDE || matches!(kind, IPVS_STATS_ATTR_INBYTES | IPVS_STATS_ATTR_OUTBYTES) { 8 } else { 4 }
    }
}

/// All counters in the order of their numbers, then what has no name. One that is missing is 0; one of another width has
/// no name.
impl<const WIDE: bool> Form<Stats> for Counters<WIDE> {
    const FLAGS: u16 = NLA_F_NESTED;

    fn length(stats: &Stats) -> usize {
        let counters = COUNTERS.iter().map(|kind| NLA_HEADER_SIZE + Self::width(*kind));
        counters.sum::<usize>() + stats.unknown.as_slice().buffer_len()
    }

    fn write(stats: &Stats, mut buffer: &mut [u8]) {
        for (kind, counter) in COUNTERS.into_iter().zip(stats.counters()) {
            let length = NLA_HEADER_SIZE + Self::width(kind);
            let (attribute, rest) = buffer.split_at_mut(length);
            attribute[..2].copy_from_slice(&(length as u16).to_ne_bytes());
            attribute[2..4].copy_from_slice(&kind.to_ne_bytes());
            match length - NLA_HEADER_SIZE {
                4 => attribute[4..].copy_from_slice(&(counter as u32).to_ne_bytes()),
                _ => attribute[4..].copy_from_slice(&counter.to_ne_bytes()),
            }
            buffer = rest;
        }
        stats.unknown.as_slice().emit(buffer);
    }

    #[inline]
    fn read(bytes: &[u8]) -> Result<Stats, DecodeError> {
        let (mut counters, mut unknown) = (Stats::default().counters(), Vec::new());
        for attribute in Attributes(bytes) {
            let (kind, value) = attribute?;
            let number = kind & NLA_TYPE_MASK;
            let count = match Self::width(number) {
                4 => value.try_into().ok().map(|bytes| u32::from_ne_bytes(bytes).into()),
                _ => value.try_into().ok().map(u64::from_ne_bytes),
            };
            match (counters.get_mut(usize::from(number.wrapping_sub(IPVS_STATS_ATTR_CONNS))), count) {
                (Some(counter), Some(count)) => *counter = count,
                _ if number == IPVS_STATS_ATTR_PAD => {}
                _ => unknown.push(DefaultNla::new(kind, value.to_vec())),
            }
        }
        let stats = Stats { unknown, ..Stats::of(counters) };
        // The counters alone always fit.
        let length = if stats.unknown.is_empty() { 0 } else { Self::length(&stats) };
        that_fits(stats, length)
    }
}
