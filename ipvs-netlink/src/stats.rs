//! What the kernel counts for a service and for a destination.

use netlink_packet_core::DefaultNla;

/// Traffic counters and rates: `IPVS_*_ATTR_STATS64` (since 4.1), or `IPVS_*_ATTR_STATS` where there is no other,
/// whose counters of connections and packets, and whose rates, wrap at 32 bits.
///
/// The kernel's estimator takes a snapshot every 2 seconds, and none while `net.ipv4.vs.run_estimation` is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// Connections scheduled; under one-packet scheduling each packet is one.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets of replies that IPVS itself translated.
    pub packets_out: u64,
    /// Bytes from clients, IP headers included.
    pub bytes_in: u64,
    /// Bytes of replies that IPVS itself translated.
    pub bytes_out: u64,
    /// Connections per second.
    pub connections_rate: u64,
    /// Packets from clients per second.
    pub packets_in_rate: u64,
    /// Packets of replies per second.
    pub packets_out_rate: u64,
    /// Bytes from clients per second.
    pub bytes_in_rate: u64,
    /// Bytes of replies per second.
    pub bytes_out_rate: u64,
    /// Attributes that this library has no name for.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub unknown: Vec<DefaultNla>,
}

impl Stats {
    /// All of them, in the order of their numbers (`IPVS_STATS_ATTR_CONNS` to `_OUTBPS`).
    pub(crate) fn counters(&self) -> [u64; 10] {
        [
            self.connections,
            self.packets_in,
            self.packets_out,
            self.bytes_in,
            self.bytes_out,
            self.connections_rate,
            self.packets_in_rate,
            self.packets_out_rate,
            self.bytes_in_rate,
            self.bytes_out_rate,
        ]
    }

    /// Those with these [counters](Self::counters).
    pub(crate) fn of(counters: [u64; 10]) -> Self {
        let [connections, packets_in, packets_out, bytes_in, bytes_out, rates @ ..] = counters;
        let [connections_rate, packets_in_rate, packets_out_rate, bytes_in_rate, bytes_out_rate] = rates;
        Self {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
            connections_rate,
            packets_in_rate,
            packets_out_rate,
            bytes_in_rate,
            bytes_out_rate,
            unknown: Vec::new(),
        }
    }
}
