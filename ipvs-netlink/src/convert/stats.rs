//! Counters between attributes and values.

use crate::Stats;
use crate::uapi::IPVS_STATS_ATTR_PAD;
use crate::wire::{Counter, StatsAttribute};
use netlink_packet_core::Nla;

impl From<Vec<StatsAttribute>> for Stats {
    /// A counter that is not there is 0.
    fn from(attributes: Vec<StatsAttribute>) -> Self {
        let mut stats = Self::default();
        for attribute in attributes {
            let (counter, value) = match attribute {
                StatsAttribute::Narrow(counter, value) => (counter, value.into()),
                StatsAttribute::Wide(counter, value) => (counter, value),
                StatsAttribute::Other(nla) => {
                    if nla.kind() != IPVS_STATS_ATTR_PAD {
                        stats.unknown.push(nla);
                    }
                    continue;
                }
            };
            *match counter {
                Counter::Connections => &mut stats.connections,
                Counter::PacketsIn => &mut stats.packets_in,
                Counter::PacketsOut => &mut stats.packets_out,
                Counter::BytesIn => &mut stats.bytes_in,
                Counter::BytesOut => &mut stats.bytes_out,
                Counter::ConnectionsRate => &mut stats.connections_rate,
                Counter::PacketsInRate => &mut stats.packets_in_rate,
                Counter::PacketsOutRate => &mut stats.packets_out_rate,
                Counter::BytesInRate => &mut stats.bytes_in_rate,
                Counter::BytesOutRate => &mut stats.bytes_out_rate,
            } = value;
        }
        stats
    }
}

impl From<Stats> for Vec<StatsAttribute> {
    /// All counters in 64 bits, as `IPVS_*_ATTR_STATS64` has them, and the unknown attributes last.
    fn from(stats: Stats) -> Self {
        let counters = [
            (Counter::Connections, stats.connections),
            (Counter::PacketsIn, stats.packets_in),
            (Counter::PacketsOut, stats.packets_out),
            (Counter::BytesIn, stats.bytes_in),
            (Counter::BytesOut, stats.bytes_out),
            (Counter::ConnectionsRate, stats.connections_rate),
            (Counter::PacketsInRate, stats.packets_in_rate),
            (Counter::PacketsOutRate, stats.packets_out_rate),
            (Counter::BytesInRate, stats.bytes_in_rate),
            (Counter::BytesOutRate, stats.bytes_out_rate),
        ];
        let counters = counters.into_iter().map(|(counter, value)| StatsAttribute::Wide(counter, value));
        counters.chain(stats.unknown.into_iter().map(StatsAttribute::Other)).collect()
    }
}
