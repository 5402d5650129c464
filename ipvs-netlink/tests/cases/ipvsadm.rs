//! The same tables to the library and to `ipvsadm`: random ones, others in each run unless the environment's
//! `IPVS_NETLINK_SEED` asks for those of an earlier one.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

#[path = "../../examples/listing/rules.rs"]
mod rules;

const TABLES: usize = 50;

type Servers = BTreeMap<DestinationKey, DestinationConfig>;
type Table = BTreeMap<ServiceKey, (ServiceConfig, Servers)>;

pub fn same_tables() {
    let mut client = client();
    let seed = match std::env::var("IPVS_NETLINK_SEED") {
        Ok(seed) => seed.parse().expect("IPVS_NETLINK_SEED is a number"),
        Err(_) => RandomState::new().hash_one(TABLES),
    };
    println!("seed {seed}");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_ne_bytes(); 4].concat());
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let tables = proptest::collection::vec(entry(), 0..10);
    let (mut services, mut servers) = (0, 0);
    for number in 0..TABLES {
        let table: Table = tables.new_tree(&mut runner).unwrap().current().into_iter().collect();
        services += table.len();
        servers += table.values().map(|(_, servers)| servers.len()).sum::<usize>();
        make(&mut client, &table);
        let (found, lines) = listed(&mut client);
        assert_eq!(found, table, "table {number}");

        let saved = run(&["-S", "-n"], "");
        let mut theirs: Vec<_> = saved.lines().map(str::trim_end).collect();
        theirs.sort_unstable();
        assert_eq!(lines, theirs, "table {number}");

        run(&["-C"], "");
        assert_eq!(listed(&mut client).0, Table::new());
        run(&["-R"], &saved);
        let mut unlimited = table;
        for server in unlimited.values_mut().flat_map(|(_, servers)| servers.values_mut()) {
            *server = DestinationConfig::new(server.forward, server.weight);
        }
        assert_eq!(listed(&mut client).0, unlimited, "table {number}");
        client.flush().unwrap();
    }
    println!("{TABLES} tables, {services} services, {servers} servers");
}

fn make(client: &mut Client, table: &Table) {
    let mut requests = Vec::new();
    for (key, (config, servers)) in table {
        requests.push(request::add_service(key, config).unwrap());
        requests.extend(servers.iter().map(|(server, config)| request::add_destination(key, server, config)));
    }
    client.send_all(requests).into_iter().for_each(|result| result.unwrap());
}

/// What the library lists: as a table, and as the lines of ipvsadm, sorted.
fn listed(client: &mut Client) -> (Table, Vec<String>) {
    let (mut table, mut lines) = (Table::new(), Vec::new());
    for service in client.list_services().unwrap() {
        lines.push(rules::of_service(&service));
        let servers = client.list_destinations(&service.key).unwrap();
        lines.extend(servers.iter().map(|server| rules::of_destination(&service.key, server)));
        let config = ServiceConfig { flags: service.config.flags.without_hashed(), ..service.config };
        let servers = servers.into_iter().map(|server| (server.key, server.config)).collect();
        table.insert(service.key, (config, servers));
    }
    lines.sort_unstable();
    (table, lines)
}

fn run(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("ipvsadm");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ipvsadm is needed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "ipvsadm {arguments:?}: {error}\n{input}");
    String::from_utf8(output.stdout).unwrap()
}

/// A service with its servers, of what ipvsadm can say.
fn entry() -> impl Strategy<Value = (ServiceKey, (ServiceConfig, Servers))> {
    let family = prop_oneof![Just(Family::Inet), Just(Family::Inet6)];
    let protocol = prop_oneof![Just(Protocol::TCP), Just(Protocol::UDP), Just(Protocol::SCTP)];
    let key =
        (family, protocol, any::<u32>(), 1u16.., 0..4).prop_map(|(family, protocol, number, port, kind)| {
            match kind {
                // Those from 2147483648 on it prints as if they were negative, and does not take back.
                0 => ServiceKey::FwMark { family, mark: NonZeroU32::MIN.saturating_add(number / 2) },
                _ => {
                    ServiceKey::Address { protocol, address: SocketAddr::new(address(family, number), port) }
                }
            }
        });
    key.prop_flat_map(|key| {
        let servers = proptest::collection::vec(server_of(key), 0..5);
        (config(key), servers)
            .prop_map(move |(config, servers)| (key, (config, servers.into_iter().collect())))
    })
}

/// A unicast address that is nobody's.
fn address(family: Family, number: u32) -> IpAddr {
    match family {
        Family::Inet => Ipv4Addr::from(0x0a00_0000 | number & 0x00ff_ffff).into(),
        Family::Inet6 => Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number) << 40 | 1).into(),
    }
}

fn config(key: ServiceKey) -> impl Strategy<Value = ServiceConfig> {
    let schedulers = prop::sample::select(vec!["rr", "wrr", "lc", "wlc", "sh", "mh", "sed", "nq", "dh"]);
    let udp = matches!(key, ServiceKey::Address { protocol: Protocol::UDP, .. });
    let bits = any::<[bool; 6]>();
    (schedulers, bits, 1u32..2_000_000, 1u32..=128).prop_map(move |(name, bits, timeout, length)| {
        let [persistent, one_packet, sched1, sched2, sched3, engine] = bits;
        let one_packet = one_packet && !matches!(key, ServiceKey::Address { .. } if !udp);
        let flags = [
            (persistent, Flags::PERSISTENT),
            (one_packet, Flags::ONE_PACKET),
            (sched1, Flags::SCHED1),
            (sched2, Flags::SCHED2),
            // Of these two it does not print it.
            (sched3 && !["sh", "mh"].contains(&name), Flags::SCHED3),
        ];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, bits)| flags | bits);
        let mut config = ServiceConfig {
            flags: Flags::exactly(flags),
            persistence_engine: (engine && udp).then(|| scheduler("sip")),
            ..ServiceConfig::new(scheduler(name), key.family())
        };
        if persistent {
            config.timeout = timeout;
            config.netmask = match key.family() {
                Family::Inet => Netmask::V4((u32::MAX << (length % 32)).to_be_bytes()),
                Family::Inet6 => Netmask::V6(length),
            };
        }
        config
    })
}

fn server_of(service: ServiceKey) -> impl Strategy<Value = (DestinationKey, DestinationConfig)> {
    let checksum =
        prop_oneof![Just(TunnelChecksum::None), Just(TunnelChecksum::Full), Just(TunnelChecksum::Remote)];
    let gue = (any::<NonZeroU16>(), checksum)
        .prop_map(|(port, checksum)| Forward::Tunnel(Tunnel { kind: TunnelKind::Gue { port }, checksum }));
    let gre = prop_oneof![Just(TunnelChecksum::None), Just(TunnelChecksum::Full)]
        .prop_map(|checksum| Forward::Tunnel(Tunnel { kind: TunnelKind::Gre, checksum }));
    let ipip = Forward::Tunnel(Tunnel { kind: TunnelKind::Ipip, checksum: TunnelChecksum::None });
    let forward = prop_oneof![Just(Forward::Masquerade), Just(Forward::Direct), Just(ipip), gue, gre];
    let limits = prop_oneof![Just((0, 0)), (1000u32..60000, 0u32..1000)];
    (forward, any::<u32>(), any::<u16>(), 0u32..=65535, limits, any::<bool>()).prop_map(
        move |(forward, number, port, weight, (upper_threshold, lower_threshold), mixed)| {
            // ipvsadm gives every server the service's port unless it masquerades.
            let port = match (service, forward) {
                (ServiceKey::FwMark { .. }, _) => 0,
                (ServiceKey::Address { address, .. }, Forward::Direct | Forward::Tunnel(_)) => address.port(),
                _ => port.max(1),
            };
            let family = match (service.family(), forward, mixed) {
                (Family::Inet, Forward::Tunnel(_), true) => Family::Inet6,
                (Family::Inet6, Forward::Tunnel(_), true) => Family::Inet,
                (family, ..) => family,
            };
            let config = DestinationConfig { forward, weight, upper_threshold, lower_threshold };
            (DestinationKey(SocketAddr::new(address(family, number), port)), config)
        },
    )
}
