//! The cases: what the library promises, asked of the kernel.

mod answers;
mod config;
mod files;
mod ipvsadm;
#[cfg(feature = "netns")]
mod namespaces;
mod tables;
#[cfg(feature = "tokio")]
mod tokio;

use ipvs_netlink::blocking::Client;
use ipvs_netlink::{
    DaemonConfig, DaemonRole, DestinationConfig, DestinationKey, Error, Family, Flags, Forward, Netmask,
    Protocol, SchedulerName, ServiceConfig, ServiceKey, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
    request,
};

/// Every case by its name.
pub const ALL: &[(&str, fn())] = &[
    ("services_are_created_read_changed_and_deleted", tables::services),
    ("destinations_are_created_read_changed_and_deleted", tables::destinations),
    ("one_packet_is_set_by_the_creating_message", tables::one_packet_at_creation),
    ("one_flag_changes_alone", tables::one_flag_alone),
    ("firewall_marks_of_both_families_are_services", tables::firewall_marks),
    ("persistence_keeps_its_timeout_and_netmask", tables::persistence),
    ("tunnels_keep_their_type_port_and_checksum", tables::tunnels),
    ("an_ipv6_destination_of_an_ipv4_service", tables::mixed_families),
    ("a_persistence_engine_stays_until_it_is_left_out", tables::persistence_engine),
    ("a_listed_table_can_be_made_again", tables::made_again),
    ("timeouts_change_alone", config::timeouts),
    ("counters_are_read_and_zeroed", config::zero),
    ("a_flush_takes_every_service", config::flush),
    ("sync_daemons_are_started_listed_and_stopped", config::daemons),
    ("a_sync_daemon_has_an_ipv6_group", config::daemon_of_an_ipv6_group),
    ("a_connection_entry_is_read", files::connection),
    ("the_settings_are_those_of_this_kernel", files::names),
    ("settings_are_what_the_kernel_takes", files::settings),
    #[cfg(feature = "netns")]
    ("a_client_of_another_namespace_sees_that_one", namespaces::blocking),
    #[cfg(all(feature = "netns", feature = "tokio"))]
    ("a_tokio_client_of_another_namespace_sees_that_one", namespaces::tokio),
    ("random_tables_are_the_same_to_ipvsadm", ipvsadm::same_tables),
    ("each_refusal_is_an_error_of_its_own", answers::refusals),
    ("a_missing_service_is_not_an_empty_one", answers::missing_is_not_empty),
    ("a_batch_gives_each_change_its_result", answers::batch),
    ("a_dump_of_many_datagrams_is_whole", answers::large_dump),
    ("info_has_the_version", answers::info),
    ("without_privilege_nothing_is_told", answers::unprivileged),
    #[cfg(feature = "tokio")]
    ("the_tokio_client_does_the_same", tokio::same_verbs),
    #[cfg(feature = "tokio")]
    ("a_dropped_future_leaves_the_client_usable", tokio::dropped_future),
];

const VIPS: [&str; 2] = ["192.0.2.53:53", "[2001:db8::53]:53"];
const SERVERS: [&str; 2] = ["10.0.0.1:5300", "[2001:db8:1::1]:5300"];

fn client() -> Client {
    Client::connect().expect("connect")
}

fn vip(index: usize) -> ServiceKey {
    ServiceKey::udp(VIPS[index].parse().unwrap())
}

fn server(index: usize) -> DestinationKey {
    DestinationKey(SERVERS[index].parse().unwrap())
}

fn scheduler(name: &str) -> SchedulerName {
    name.parse().unwrap()
}

/// Round robin with one-packet scheduling.
fn ops(key: &ServiceKey) -> ServiceConfig {
    let flags = Flags::exactly(Flags::ONE_PACKET);
    ServiceConfig { flags, ..ServiceConfig::new(scheduler("rr"), key.family()) }
}

fn weighted(forward: Forward, weight: u32) -> DestinationConfig {
    DestinationConfig { forward, weight, upper_threshold: 0, lower_threshold: 0 }
}

/// The server `index` of a large service.
fn numbered(index: u16) -> DestinationKey {
    DestinationKey(([10, 1, (index >> 8) as u8, index as u8], 5300).into())
}

/// Runs `ip` in this thread's namespace.
fn ip(arguments: &str) {
    let status = std::process::Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("ip").success(), "ip {arguments}");
}

/// Waits until `holds`.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed().as_secs() < 30, "{what}: not within 30 seconds");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A service and a server, both on `lo`, and `packets` datagrams from one client to the service; the client.
fn traffic(client: &mut Client, config: &ServiceConfig, packets: usize) -> std::net::SocketAddr {
    ip("address add 192.0.2.53/32 dev lo");
    ip("address add 10.0.0.1/32 dev lo");
    client.add_service(&vip(0), config).unwrap();
    client.add_destination(&vip(0), &server(0), &weighted(Forward::Masquerade, 1)).unwrap();
    let _server = std::net::UdpSocket::bind(SERVERS[0]).unwrap();
    let socket = std::net::UdpSocket::bind("10.0.0.1:0").unwrap();
    for _ in 0..packets {
        socket.send_to(b"ask", VIPS[0]).unwrap();
    }
    socket.local_addr().unwrap()
}
