//! What went through services and servers: totals as the kernel counts them, and rates.
//!
//! IPVS counts what comes from clients. Under one-packet scheduling it counts no reply: those are counted on the elements of
//! the reply rewrite's maps, one a server. What leaves with a server is gone there, and kept in the total of its service, which
//! must not count backwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipvs_netlink::{Destination, DestinationKey, Flags, Forward, Service, ServiceKey, Stats};
use serde::{Deserialize, Serialize};

use super::Time;

/// Readings that are further apart say nothing of the rate of replies now.
pub const LONGEST: Duration = Duration::from_secs(30);
/// Readings that are closer say too little of it.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// Packets and bytes (IP headers included) of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Since the kernel counts.
    pub packets: u64,
    /// Since the kernel counts.
    pub bytes: u64,
    /// How fast that grows; none where it is not known yet.
    pub rate: Option<Rate>,
}

/// Per second. What IPVS counts has IPVS's own estimate: an average in which the last 7 s have most weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Packets.
    pub packets: f64,
    /// Bytes.
    pub bytes: f64,
}

/// Both directions. The kernel takes a snapshot of what it knows of the first every 2 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// From clients.
    #[serde(rename = "in")]
    pub incoming: Flow,
    /// Replies. Those of `direct` and `tunnel` servers do not pass here, and are none.
    #[serde(rename = "out")]
    pub outgoing: Flow,
}

/// What was counted up to one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// That moment.
    pub at: Time,
    /// By service.
    pub services: BTreeMap<ServiceKey, Counted>,
}

/// One service, and each of its servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// All that went through it.
    pub traffic: Traffic,
    /// What went through these since they are in it.
    pub servers: BTreeMap<DestinationKey, Traffic>,
}

/// Packets and bytes, as an element of a map has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What the kernel said at one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// That moment.
    pub at: Time,
    /// The services with their servers.
    pub services: Vec<(Service, Vec<Destination>)>,
    /// The replies that were rewritten, by server.
    pub replies: BTreeMap<SocketAddr, Count>,
}

impl Counters {
    /// What `reading` says; `before` is what came out of the last one.
    pub fn of(reading: Reading, before: Option<&Self>) -> Self {
        let since = before.map(|before| reading.at.saturating_sub(before.at));
        let since =
            since.filter(|since| (SHORTEST..=LONGEST).contains(since)).map(|since| since.as_secs_f64());
        let mut services = BTreeMap::new();
        for (service, servers) in reading.services {
            let known = before.and_then(|before| before.services.get(&service.key));
            let ops = service.config.flags.contains(Flags::ONE_PACKET);
            let (mut rewrites, mut grown) = (known.is_some(), Count::default());
            let mut counted = Counted { traffic: traffic(&service.stats), servers: BTreeMap::new() };
            for server in servers {
                let mut traffic = traffic(&server.stats);
                if ops && server.config.forward == Forward::Masquerade {
                    rewrites = true;
                    let known = known.and_then(|known| known.servers.get(&server.key));
                    let now = reading.replies.get(&server.key.0).copied().unwrap_or_default();
                    let more = now.since(known.map(|known| known.outgoing.count()).unwrap_or_default());
                    traffic.outgoing = now.flow(more, since.filter(|_| known.is_some()));
                    grown = grown.plus(more);
                }
                counted.servers.insert(server.key, traffic);
            }
            if ops && rewrites {
                let total = known.map(|known| known.traffic.outgoing.count()).unwrap_or_default().plus(grown);
                counted.traffic.outgoing = total.flow(grown, since.filter(|_| known.is_some()));
            }
            services.insert(service.key, counted);
        }
        Self { at: reading.at, services }
    }
}

impl Flow {
    fn count(self) -> Count {
        Count { packets: self.packets, bytes: self.bytes }
    }
}

impl Count {
    /// What came since `before`; all of it if it was set back in between.
    fn since(self, before: Self) -> Self {
        let less = self.packets < before.packets || self.bytes < before.bytes;
        let Self { packets, bytes } = if less { Self::default() } else { before };
        Self { packets: self.packets - packets, bytes: self.bytes - bytes }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// As a flow of which `more` came within so many seconds.
    fn flow(self, more: Self, seconds: Option<f64>) -> Flow {
        let Self { packets, bytes } = self;
        let rate = seconds.map(|seconds| Rate {
            packets: more.packets as f64 / seconds,
            bytes: more.bytes as f64 / seconds,
        });
        Flow { packets, bytes, rate }
    }
}

/// As IPVS counts it.
fn traffic(stats: &Stats) -> Traffic {
    let flow = |packets, bytes, packets_rate: u64, bytes_rate: u64| Flow {
        packets,
        bytes,
        rate: Some(Rate { packets: packets_rate as f64, bytes: bytes_rate as f64 }),
    };
    Traffic {
        incoming: flow(stats.packets_in, stats.bytes_in, stats.packets_in_rate, stats.bytes_in_rate),
        outgoing: flow(stats.packets_out, stats.bytes_out, stats.packets_out_rate, stats.bytes_out_rate),
    }
}

#[cfg(test)]
mod tests {
    use ipvs_netlink::{DestinationConfig, Family, ServiceConfig};
    use proptest::prelude::*;

    use super::*;

    fn key() -> ServiceKey {
        ServiceKey::udp("192.0.2.53:53".parse().unwrap())
    }

    fn server(number: u8) -> SocketAddr {
        ([10, 0, 1, number], 53).into()
    }

    /// A reading at this second in which these servers have sent so many replies of 100 bytes.
    fn reading(at: u64, flags: u32, forward: Forward, replies: &[(u8, u64)]) -> Reading {
        let mut config = ServiceConfig::new("rr".parse().unwrap(), Family::Inet);
        config.flags = Flags::exactly(flags);
        let stats =
            Stats { packets_in: 7, bytes_in: 700, packets_in_rate: 3, packets_out: 5, ..Stats::default() };
        let service = Service { key: key(), config, stats: stats.clone(), unknown: Vec::new() };
        let destination = |number| Destination {
            key: DestinationKey(server(number)),
            config: DestinationConfig::new(forward, 1),
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats: stats.clone(),
            unknown: Vec::new(),
        };
        Reading {
            at: Duration::from_secs(at),
            services: vec![(service, replies.iter().map(|(number, _)| destination(*number)).collect())],
            replies: replies
                .iter()
                .map(|(number, packets)| (server(*number), Count { packets: *packets, bytes: packets * 100 }))
                .collect(),
        }
    }

    fn ops(at: u64, replies: &[(u8, u64)]) -> Reading {
        reading(at, Flags::ONE_PACKET, Forward::Masquerade, replies)
    }

    fn out(counters: &Counters) -> (u64, Option<f64>) {
        let flow = counters.services[&key()].traffic.outgoing;
        (flow.packets, flow.rate.map(|rate| rate.packets))
    }

    #[test]
    fn replies_of_ops_are_those_of_the_maps_and_others_those_of_ipvs() {
        let counters = Counters::of(ops(1, &[(1, 40), (2, 2)]), None);
        assert_eq!(out(&counters), (42, None));
        let it = &counters.services[&key()];
        assert_eq!((it.traffic.incoming.packets, it.traffic.incoming.rate.unwrap().packets), (7, 3.0));
        assert_eq!(it.servers[&DestinationKey(server(1))].outgoing.bytes, 4000);
        for (flags, forward) in [(0, Forward::Masquerade), (Flags::ONE_PACKET, Forward::Direct)] {
            let counters = Counters::of(reading(1, flags, forward, &[(1, 40)]), None);
            assert_eq!(out(&counters), (5, Some(0.0)), "{flags} {forward:?}");
        }
    }

    /// What each of these readings says after those before it.
    fn series(readings: impl IntoIterator<Item = Reading>) -> Vec<Counters> {
        let mut all: Vec<Counters> = Vec::new();
        for reading in readings {
            all.push(Counters::of(reading, all.last()));
        }
        all
    }

    #[test]
    fn rates_are_of_two_readings_that_are_neither_close_nor_far_apart() {
        let readings = [(10, 40), (12, 60), (12, 70), (42, 100), (73, 200)];
        let all = series(readings.map(|(at, packets)| ops(at, &[(1, packets)])));
        let all: Vec<_> = all.iter().map(out).collect();
        assert_eq!(all, [(40, None), (60, Some(10.0)), (70, None), (100, Some(1.0)), (200, None)]);
    }

    #[test]
    fn a_service_keeps_what_its_servers_had_that_left() {
        let all = series([
            ops(10, &[(1, 40), (2, 40)]),
            ops(12, &[(2, 50)]),
            // It is back, and counts from the beginning.
            ops(14, &[(1, 4), (2, 50)]),
            ops(15, &[]),
            Reading { at: Duration::from_secs(16), ..Reading::default() },
            ops(17, &[(2, 1)]),
        ]);
        let expected = [(80, None), (90, Some(5.0)), (94, Some(2.0)), (94, Some(0.0)), (1, None)].into_iter();
        let shown = all.iter().filter(|it| !it.services.is_empty()).map(out);
        assert!(shown.eq(expected), "{all:#?}");
        let it = all[2].services[&key()].servers[&DestinationKey(server(1))].outgoing;
        assert_eq!((it.packets, it.rate), (4, None));
    }

    proptest! {
        #[test]
        fn a_service_never_counts_backwards(
            readings in prop::collection::vec((0u64..40, prop::collection::btree_map(0u8..4, any::<u32>(), 0..4)), 1..20),
        ) {
            let (mut at, mut before) = (0, 0);
            let all = series(readings.into_iter().map(|(later, replies)| {
                at += later;
                let replies: Vec<_> = replies.into_iter().map(|(number, packets)| (number, packets.into())).collect();
                ops(at, &replies)
            }));
            for (packets, rate) in all.iter().skip(1).map(out) {
                prop_assert!(packets >= before);
                prop_assert!(rate.is_none_or(|rate| rate >= 0.0));
                before = packets;
            }
        }
    }
}
