//! The cases: what the library promises, asked of the kernel.

use std::os::unix::process::CommandExt;
use std::process::Command;

use ipvs_netlink::blocking::Client;
use ipvs_netlink::{
    DestinationConfig, DestinationKey, Error, Family, Flags, Forward, Netmask, Protocol, SchedulerName,
    ServiceConfig, ServiceKey, Tunnel, TunnelChecksum, TunnelKind, request,
};

/// Every case by its name.
pub const ALL: &[(&str, fn())] = &[
    ("services_are_created_read_changed_and_deleted", services),
    ("destinations_are_created_read_changed_and_deleted", destinations),
    ("one_packet_is_set_by_the_creating_message", one_packet_at_creation),
    ("one_flag_changes_alone", one_flag_alone),
    ("firewall_marks_of_both_families_are_services", firewall_marks),
    ("persistence_keeps_its_timeout_and_netmask", persistence),
    ("tunnels_keep_their_type_port_and_checksum", tunnels),
    ("an_ipv6_destination_of_an_ipv4_service", mixed_families),
    ("each_refusal_is_an_error_of_its_own", refusals),
    ("a_missing_service_is_not_an_empty_one", missing_is_not_empty),
    ("a_batch_gives_each_change_its_result", batch),
    ("a_dump_of_many_datagrams_is_whole", large_dump),
    ("info_has_the_version", info),
    ("without_privilege_nothing_is_told", unprivileged),
    #[cfg(feature = "tokio")]
    ("the_tokio_client_does_the_same", tokio_client),
    #[cfg(feature = "tokio")]
    ("a_dropped_future_leaves_the_client_usable", tokio_cancelled),
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

fn services() {
    let mut client = client();
    for key in
        [vip(0), vip(1), ServiceKey::Address { protocol: Protocol::TCP, address: VIPS[0].parse().unwrap() }]
    {
        client.add_service(&key, &ServiceConfig::new(scheduler("rr"), key.family())).expect("add");
        let service = client.get_service(&key).expect("get");
        assert_eq!(service.key, key);
        assert_eq!(service.config.scheduler.as_str(), "rr");
        assert_eq!(service.config.netmask, Netmask::host(key.family()));
        assert_eq!(service.config.persistence_engine, None);
        assert_eq!(service.unknown, []);

        client.set_service(&key, &ServiceConfig::new(scheduler("wrr"), key.family())).expect("set");
        assert_eq!(client.list_services().expect("list"), [client.get_service(&key).expect("get again")]);
        assert_eq!(client.get_service(&key).unwrap().config.scheduler.as_str(), "wrr");

        client.delete_service(&key).expect("delete");
        assert_eq!(client.list_services().expect("list nothing"), []);
    }
}

fn destinations() {
    let mut client = client();
    for (index, forward) in [Forward::Masquerade, Forward::Direct].into_iter().enumerate() {
        let (key, server) = (vip(index), server(index));
        // A director that does not answer for the server's address itself lists the method that it was given.
        client.add_service(&key, &ops(&key)).unwrap();
        client.add_destination(&key, &server, &weighted(forward, 0)).expect("add");
        let listed = client.list_destinations(&key).expect("list");
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].key, server);
        assert_eq!(listed[0].config, weighted(forward, 0));
        assert_eq!(listed[0].unknown, []);

        let changed = DestinationConfig { upper_threshold: 9, lower_threshold: 3, ..weighted(forward, 7) };
        client.set_destination(&key, &server, &changed).expect("set");
        assert_eq!(client.list_destinations(&key).unwrap()[0].config, changed);

        client.delete_destination(&key, &server).expect("delete");
        assert_eq!(client.list_destinations(&key).expect("an empty list"), []);
    }
}

fn one_packet_at_creation() {
    let mut client = client();
    for key in [vip(0), vip(1)] {
        client.add_service(&key, &ops(&key)).unwrap();
        assert!(client.get_service(&key).unwrap().config.flags.contains(Flags::ONE_PACKET));
    }
    for service in client.list_services().unwrap() {
        assert_eq!(service.config.flags, Flags { value: Flags::ONE_PACKET | Flags::HASHED, mask: u32::MAX });
    }
}

fn one_flag_alone() {
    let mut client = client();
    let key = vip(0);
    let with = |value, mask| ServiceConfig {
        flags: Flags { value, mask },
        ..ServiceConfig::new(scheduler("sh"), key.family())
    };
    client.add_service(&key, &with(Flags::SCHED2, u32::MAX)).unwrap();
    client.set_service(&key, &with(Flags::ONE_PACKET, Flags::ONE_PACKET)).unwrap();
    let flags = client.get_service(&key).unwrap().config.flags;
    assert_eq!(flags.value, Flags::SCHED2 | Flags::ONE_PACKET | Flags::HASHED);
}

fn firewall_marks() {
    let mut client = client();
    let keys = [Family::Inet, Family::Inet6].map(|family| ServiceKey::FwMark { family, mark: 0x0102_0304 });
    for key in keys {
        client.add_service(&key, &ops(&key)).unwrap();
        assert_eq!(client.get_service(&key).unwrap().key, key);
    }
    let mut listed: Vec<_> = client.list_services().unwrap().into_iter().map(|service| service.key).collect();
    listed.sort();
    assert_eq!(listed, keys);
}

fn persistence() {
    let mut client = client();
    for (key, netmask) in [(vip(0), Netmask::V4([255, 255, 255, 0])), (vip(1), Netmask::V6(64))] {
        let flags = Flags::exactly(Flags::PERSISTENT);
        let config = ServiceConfig {
            flags,
            timeout: 300,
            netmask,
            ..ServiceConfig::new(scheduler("wrr"), key.family())
        };
        client.add_service(&key, &config).unwrap();
        let listed = client.get_service(&key).unwrap().config;
        assert_eq!((listed.timeout, listed.netmask), (300, netmask));
        assert!(listed.flags.contains(Flags::PERSISTENT));
    }
}

fn tunnels() {
    let mut client = client();
    let kinds = [
        (TunnelKind::Ipip, TunnelChecksum::None),
        (TunnelKind::Gue { port: 6080 }, TunnelChecksum::None),
        (TunnelKind::Gue { port: 6080 }, TunnelChecksum::Full),
        (TunnelKind::Gue { port: 6080 }, TunnelChecksum::Remote),
        (TunnelKind::Gre, TunnelChecksum::None),
        (TunnelKind::Gre, TunnelChecksum::Full),
    ];
    for index in 0..2 {
        let (key, server) = (vip(index), server(index));
        client.add_service(&key, &ops(&key)).unwrap();
        for (kind, checksum) in kinds {
            let config = weighted(Forward::Tunnel(Tunnel { kind, checksum }), 1);
            client.add_destination(&key, &server, &config).unwrap();
            assert_eq!(client.list_destinations(&key).unwrap()[0].config, config);
            client.delete_destination(&key, &server).unwrap();
        }
    }
}

fn mixed_families() {
    let mut client = client();
    let ipip = Forward::Tunnel(Tunnel { kind: TunnelKind::Ipip, checksum: TunnelChecksum::None });
    for (key, server) in [(vip(0), server(1)), (vip(1), server(0))] {
        client.add_service(&key, &ops(&key)).unwrap();
        client.add_destination(&key, &server, &weighted(ipip, 1)).unwrap();
        assert_eq!(client.list_destinations(&key).unwrap()[0].key, server);
    }
}

fn refusals() {
    let mut client = client();
    let (key, server) = (vip(0), server(0));
    let (config, weight) = (ops(&key), weighted(Forward::Masquerade, 1));
    let missing = [
        client.set_service(&key, &config).unwrap_err(),
        client.delete_service(&key).unwrap_err(),
        client.get_service(&key).unwrap_err(),
        client.add_destination(&key, &server, &weight).unwrap_err(),
        client.set_destination(&key, &server, &weight).unwrap_err(),
        client.delete_destination(&key, &server).unwrap_err(),
        client.list_destinations(&key).unwrap_err(),
    ];
    for error in missing {
        assert!(matches!(error, Error::NoSuchService(_)), "{error:?}");
        assert_eq!(error.operation().unwrap().service, Some(key));
        assert_eq!(error.errno(), Some(3));
    }

    let unknown = ServiceConfig::new(scheduler("no-such"), key.family());
    let error = client.add_service(&key, &unknown).unwrap_err();
    assert!(matches!(error, Error::NoSuchScheduler(_)), "{error:?}");

    client.add_service(&key, &config).unwrap();
    let error = client.add_service(&key, &config).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists(_)), "{error:?}");
    let error = client.set_service(&key, &unknown).unwrap_err();
    assert!(matches!(error, Error::NoSuchScheduler(_)), "{error:?}");

    for error in [
        client.set_destination(&key, &server, &weight).unwrap_err(),
        client.delete_destination(&key, &server).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NoSuchDestination(_)), "{error:?}");
        assert_eq!(error.operation().unwrap().destination, Some(server));
    }
    client.add_destination(&key, &server, &weight).unwrap();
    let error = client.add_destination(&key, &server, &weight).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists(_)), "{error:?}");

    let gue = Forward::Tunnel(Tunnel { kind: TunnelKind::Gue { port: 0 }, checksum: TunnelChecksum::None });
    let error = client.set_destination(&key, &server, &weighted(gue, 1)).unwrap_err();
    assert!(matches!(&error, Error::Kernel(refusal) if refusal.errno == 22), "{error:?}");
    let other = DestinationKey("10.0.0.2:5300".parse().unwrap());
    let error = client.add_destination(&key, &other, &weighted(Forward::Direct, u32::MAX)).unwrap_err();
    assert!(matches!(&error, Error::Kernel(refusal) if refusal.errno == 34), "{error:?}");
}

fn missing_is_not_empty() {
    let mut client = client();
    let key = vip(1);
    assert!(matches!(client.list_destinations(&key), Err(Error::NoSuchService(_))));
    client.add_service(&key, &ops(&key)).unwrap();
    assert_eq!(client.list_destinations(&key).unwrap(), []);
}

/// The server `index` of a large service.
fn numbered(index: u16) -> DestinationKey {
    DestinationKey(([10, 1, (index >> 8) as u8, index as u8], 5300).into())
}

fn batch() {
    let mut client = client();
    let key = vip(0);
    let weight = weighted(Forward::Masquerade, 1);
    let add = |index| request::add_destination(&key, &numbered(index), &weight);
    let mut requests = vec![request::add_service(&key, &ops(&key))];
    requests.extend((0..198).map(add));
    requests.insert(100, add(50));
    let results = client.send_all(requests);
    assert_eq!(results.len(), 200);
    for (index, result) in results.iter().enumerate() {
        match (index, result) {
            (100, Err(error @ Error::AlreadyExists(_))) => {
                assert_eq!(error.operation().unwrap().destination, Some(numbered(50)));
            }
            (100, other) => panic!("the one in the middle: {other:?}"),
            (_, result) => assert!(result.is_ok(), "{index}: {result:?}"),
        }
    }
    assert_eq!(client.list_destinations(&key).unwrap().len(), 198);
    // An unknown scheduler and a stale family look alike to the kernel: the refusal must survive the difference.
    let unknown = ServiceConfig::new(scheduler("no-such"), key.family());
    let results = client.send_all(vec![
        request::set_service(&key, &unknown),
        request::delete_destination(&key, &numbered(0)),
        request::delete_destination(&key, &numbered(0)),
    ]);
    assert!(matches!(results[0], Err(Error::NoSuchScheduler(_))), "{results:?}");
    assert!(matches!(results[1], Ok(())), "{results:?}");
    assert!(matches!(results[2], Err(Error::NoSuchDestination(_))), "{results:?}");
}

fn large_dump() {
    let mut client = client();
    let key = vip(0);
    client.add_service(&key, &ops(&key)).unwrap();
    let weight = weighted(Forward::Masquerade, 1);
    let add = |index| request::add_destination(&key, &numbered(index), &weight);
    assert!(client.send_all((0..1000).map(add).collect()).iter().all(Result::is_ok));
    let mut listed: Vec<_> =
        client.list_destinations(&key).unwrap().iter().map(|listed| listed.key).collect();
    listed.reverse();
    assert_eq!(listed, (0..1000).map(numbered).collect::<Vec<_>>());
}

fn info() {
    let mut client = client();
    // Since 7.1 the table is made for the first service.
    client.add_service(&vip(0), &ops(&vip(0))).unwrap();
    let info = client.get_info().unwrap();
    assert_eq!(info.version.to_string(), "1.2.1");
    assert!(info.connection_table_size >= 256, "{info:?}");
}

fn unprivileged() {
    // The program's own path may be closed to others; this one is not.
    let status = Command::new("/proc/self/exe").env(super::UNPRIVILEGED, "1").uid(65534).status();
    assert!(status.expect("run as nobody").success());
}

#[cfg(feature = "tokio")]
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[cfg(feature = "tokio")]
fn tokio_client() {
    // Spawned, as its futures must be fit to be.
    let conversation = async {
        let mut client = ipvs_netlink::tokio::Client::connect().await.unwrap();
        let (key, server) = (vip(0), server(0));
        client.add_service(&key, &ops(&key)).await.unwrap();
        assert!(matches!(client.add_service(&key, &ops(&key)).await, Err(Error::AlreadyExists(_))));
        let weight = weighted(Forward::Masquerade, 1);
        let add = |index| request::add_destination(&key, &numbered(index), &weight);
        let results = client.send_all((0..200).chain([7]).map(add).collect()).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 200);
        assert!(matches!(results[200], Err(Error::AlreadyExists(_))));
        assert_eq!(client.list_destinations(&key).await.unwrap().len(), 200);
        assert!(matches!(client.delete_destination(&key, &server).await, Err(Error::NoSuchDestination(_))));
        client.delete_service(&key).await.unwrap();
        assert_eq!(client.list_services().await.unwrap(), []);
        assert!(matches!(client.list_destinations(&key).await, Err(Error::NoSuchService(_))));
    };
    block_on(async { tokio::spawn(conversation).await.unwrap() });
}

#[cfg(feature = "tokio")]
fn tokio_cancelled() {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    // More datagrams than tokio lets a task read before it has to yield: the dump cannot finish in one poll.
    const MANY: u16 = 3000;

    block_on(async {
        let mut client = ipvs_netlink::tokio::Client::connect().await.unwrap();
        let key = vip(0);
        client.add_service(&key, &ops(&key)).await.unwrap();
        let weight = weighted(Forward::Masquerade, 1);
        let add = |index| request::add_destination(&key, &numbered(index), &weight);
        assert!(client.send_all((0..MANY).map(add).collect()).await.iter().all(Result::is_ok));
        for _ in 0..3 {
            tokio::task::yield_now().await;
            let mut dump = pin!(client.list_destinations(&key));
            let finished = poll_fn(|context| Poll::Ready(dump.as_mut().poll(context).is_ready())).await;
            assert!(!finished, "the dump was to be dropped half-way");
        }
        tokio::task::yield_now().await;
        assert_eq!(client.list_destinations(&key).await.unwrap().len(), usize::from(MANY));
    });
}
