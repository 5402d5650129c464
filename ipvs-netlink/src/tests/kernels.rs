//! Bytes captured on four kernels: `captured/capture` says how and what.

#![cfg(target_endian = "little")]

mod asked;
mod told;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkBuffer, ParseableParametrized};
use netlink_packet_generic::GenlHeader;

use super::golden::hex;
use super::*;
use crate::{
    Daemon, DaemonConfig, DaemonRole, Family, Netmask, Protocol, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
};

/// Release, capture, and the buckets of the connection table when ipvsadm first asked.
const KERNELS: [(&str, &str, u32); 4] = [
    ("5.10", include_str!("captured/5.10.txt"), 4096),
    ("6.1", include_str!("captured/6.1.txt"), 4096),
    ("6.12", include_str!("captured/6.12.txt"), 4096),
    ("7.2", include_str!("captured/7.2.txt"), 0),
];

/// All that was captured on one kernel.
pub(super) fn datagrams(capture: &str) -> impl Iterator<Item = Vec<u8>> {
    capture.lines().map(hex)
}

/// Every capture.
pub(super) fn everything() -> impl Iterator<Item = Vec<u8>> {
    KERNELS.iter().flat_map(|(_, capture, _)| datagrams(capture))
}

fn is_request(datagram: &[u8]) -> bool {
    NetlinkBuffer::new_checked(datagram).unwrap().flags() & NLM_F_REQUEST != 0
}

fn parse(bytes: &[u8]) -> Message {
    Message::parse_with_param(&bytes[20..], GenlHeader { cmd: bytes[16], version: bytes[17] }).unwrap()
}

type Server = (DestinationKey, DestinationConfig);

/// The table that `captured/capture` makes, at the time of its `ipvsadm -Sn`.
fn table() -> Vec<(ServiceKey, ServiceConfig, Option<Server>)> {
    let udp = |vip: &str| ServiceKey::udp(vip.parse().unwrap());
    let web = ServiceKey::Address { protocol: Protocol::TCP, address: "192.0.2.1:80".parse().unwrap() };
    let new = |scheduler: &str, family, flags| ServiceConfig {
        flags: Flags::exactly(flags),
        ..ServiceConfig::new(scheduler.parse().unwrap(), family)
    };
    let server = |address: &str, config| Some((DestinationKey(address.parse().unwrap()), config));
    let gue =
        Tunnel { kind: TunnelKind::Gue { port: 6080.try_into().unwrap() }, checksum: TunnelChecksum::Remote };
    let ipip = Tunnel { kind: TunnelKind::Ipip, checksum: TunnelChecksum::None };
    let (v4, v6) = (Family::Inet, Family::Inet6);
    let wrr = ServiceConfig { timeout: 300, netmask: Netmask::V6(64), ..new("wrr", v6, Flags::PERSISTENT) };
    let sip = ServiceConfig {
        timeout: 30,
        persistence_engine: Some("sip".parse().unwrap()),
        ..new("rr", v4, Flags::PERSISTENT)
    };
    let masquerade = DestinationConfig { upper_threshold: 9, lower_threshold: 2, ..weight(3) };
    vec![
        (key(), new("rr", v4, Flags::ONE_PACKET), server("10.0.0.1:5300", masquerade)),
        (
            udp("[2001:db8::53]:53"),
            wrr,
            server("[2001:db8:1::1]:53", DestinationConfig::new(Forward::Tunnel(gue), 0)),
        ),
        (ServiceKey::FwMark { family: v4, mark: 7.try_into().unwrap() }, new("sh", v4, Flags::SCHED2), None),
        (web, new("rr", v4, 0), server("10.0.0.2:80", DestinationConfig::new(Forward::Tunnel(ipip), 5))),
        (udp("192.0.2.60:5060"), sip, None),
    ]
}

/// A sync daemon as it was started.
fn daemon() -> Daemon {
    let interface = "lo".parse().unwrap();
    let group = Some("239.1.2.3".parse().unwrap());
    let config = DaemonConfig { interface, sync_id: 7, sync_maxlen: 1400, group, port: 8849, ttl: 3 };
    Daemon { role: DaemonRole::Master, config, unknown: Vec::new() }
}

fn timeouts() -> Timeouts {
    Timeouts { tcp: Some(800), tcp_fin: Some(100), udp: Some(200), unknown: Vec::new() }
}
