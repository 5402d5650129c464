//! Time-outs, counters, flush and the sync daemons.

use std::time::Duration;

use ipvs_netlink::totals;

use super::*;

pub fn timeouts() {
    let mut client = client();
    let all = |tcp, tcp_fin, udp| Timeouts {
        tcp: Some(tcp),
        tcp_fin: Some(tcp_fin),
        udp: Some(udp),
        unknown: Vec::new(),
    };
    assert_eq!(client.get_timeouts().unwrap(), all(900, 120, 300));
    client.set_timeouts(&Timeouts { udp: Some(30), tcp: Some(0), ..Timeouts::default() }).unwrap();
    assert_eq!(client.get_timeouts().unwrap(), all(900, 120, 30));
    client.set_timeouts(&all(800, 100, 20)).unwrap();
    assert_eq!(client.get_timeouts().unwrap(), all(800, 100, 20));
    let error = client.set_timeouts(&Timeouts { udp: Some(u32::MAX), ..Timeouts::default() }).unwrap_err();
    assert_eq!(error.errno(), Some(22), "{error}");
    assert_eq!(client.get_timeouts().unwrap(), all(800, 100, 20));
}

pub fn zero() {
    let mut client = client();
    traffic(&mut client, &ops(&vip(0)), 5);
    let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
    let per_cpu = totals::parse_per_cpu(&read("ip_vs_stats_percpu")).unwrap();
    assert_eq!(per_cpu.cpus.iter().map(|(_, stats)| stats.packets_in).sum::<u64>(), 5);
    assert_eq!(per_cpu.cpus.iter().map(|(_, stats)| stats.connections).sum::<u64>(), 5);
    // An estimation comes every 2 seconds.
    wait_until("the counters", || client.get_service(&vip(0)).unwrap().stats.packets_in == 5);
    let stats = client.list_destinations(&vip(0)).unwrap().remove(0).stats;
    // Headers and 3 bytes.
    assert_eq!((stats.connections, stats.bytes_in), (5, 5 * 31));
    wait_until("the totals", || totals::parse(&read("ip_vs_stats")).unwrap().packets_in == 5);
    assert_eq!(totals::parse_per_cpu(&read("ip_vs_stats_percpu")).unwrap().total.packets_in, 5);

    client.zero_service(&vip(0)).unwrap();
    assert_eq!(client.get_service(&vip(0)).unwrap().stats.packets_in, 0);
    assert_eq!(client.list_destinations(&vip(0)).unwrap()[0].stats.packets_in, 0);
    assert!(matches!(client.zero_service(&vip(1)), Err(Error::NoSuchService(_))));
    assert_eq!(totals::parse(&read("ip_vs_stats")).unwrap().packets_in, 5);
    client.zero_all().unwrap();
    assert_eq!(totals::parse(&read("ip_vs_stats")).unwrap().packets_in, 0);
}

pub fn flush() {
    let mut client = client();
    client.flush().expect("an empty table");
    for key in [vip(0), vip(1), ServiceKey::FwMark { family: Family::Inet, mark: 7.try_into().unwrap() }] {
        client.add_service(&key, &ops(&key)).unwrap();
    }
    client.flush().unwrap();
    assert_eq!(client.list_services().unwrap(), []);
}

pub fn daemons() {
    let mut client = client();
    ip("link set lo multicast on");
    ip("route add 224.0.0.0/4 dev lo");
    assert_eq!(client.list_daemons().unwrap(), []);
    let least = DaemonConfig { sync_id: 7, ..DaemonConfig::new("lo".parse().unwrap()) };
    let whole = DaemonConfig {
        sync_maxlen: 1400,
        group: Some("239.1.2.3".parse().unwrap()),
        port: 8850,
        ttl: 3,
        ..least.clone()
    };
    client.start_daemon(DaemonRole::Master, &whole).unwrap();
    client.start_daemon(DaemonRole::Backup, &least).unwrap();
    let error = client.start_daemon(DaemonRole::Master, &least).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists(_)), "{error}");

    let listed = client.list_daemons().unwrap();
    let [master, backup] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((master.role, &master.config, &master.unknown[..]), (DaemonRole::Master, &whole, &[][..]));
    // What was left to the kernel is told.
    let filled = DaemonConfig {
        group: Some("224.0.0.81".parse().unwrap()),
        port: 8848,
        ttl: 1,
        sync_maxlen: backup.config.sync_maxlen,
        ..least.clone()
    };
    assert_eq!((backup.role, &backup.config), (DaemonRole::Backup, &filled));
    assert!(filled.sync_maxlen > 0);

    // The sync protocol and mixed families exclude each other.
    client.add_service(&vip(0), &ops(&vip(0))).unwrap();
    let ipip = Forward::Tunnel(Tunnel { kind: TunnelKind::Ipip, checksum: TunnelChecksum::None });
    let error = client.add_destination(&vip(0), &server(1), &weighted(ipip, 1)).unwrap_err();
    assert_eq!(error.errno(), Some(22), "{error}");

    // While it starts, a daemon may not be stopped yet on some kernels.
    std::thread::sleep(Duration::from_millis(100));
    client.stop_daemon(DaemonRole::Master).unwrap();
    client.stop_daemon(DaemonRole::Backup).unwrap();
    assert_eq!(client.list_daemons().unwrap(), []);
    assert!(matches!(client.stop_daemon(DaemonRole::Backup), Err(Error::NoSuchDaemon(_))));

    let nowhere = DaemonConfig { interface: "no-such".parse().unwrap(), ..least.clone() };
    assert_eq!(client.start_daemon(DaemonRole::Master, &nowhere).unwrap_err().errno(), Some(19));
    let unicast = DaemonConfig { group: Some("10.0.0.1".parse().unwrap()), ..least };
    assert_eq!(client.start_daemon(DaemonRole::Master, &unicast).unwrap_err().errno(), Some(22));
}

pub fn daemon_of_an_ipv6_group() {
    let mut client = client();
    ip("link add name sync type dummy");
    ip("link set sync up multicast on");
    let config = DaemonConfig {
        sync_id: 255,
        sync_maxlen: 1100,
        group: Some("ff05::81".parse().unwrap()),
        port: 9000,
        ttl: 255,
        ..DaemonConfig::new("sync".parse().unwrap())
    };
    for role in [DaemonRole::Master, DaemonRole::Backup] {
        // An address is no use until it is known to be nobody else's.
        wait_until("the daemon", || client.start_daemon(role, &config).is_ok());
        let listed = client.list_daemons().unwrap();
        assert_eq!(
            listed.iter().map(|daemon| (daemon.role, &daemon.config)).collect::<Vec<_>>(),
            [(role, &config)]
        );
        // Stopped before it ran, it ends without an answer.
        client.set_timeout(Duration::from_secs(1));
        wait_until("its end", || {
            let _ = client.stop_daemon(role);
            client.list_daemons().unwrap().is_empty()
        });
        client.set_timeout(Duration::from_secs(10));
    }
    // What is too much or too little for it is told as it is.
    let odd = DaemonConfig { sync_id: 256, sync_maxlen: 1, ..config };
    client.start_daemon(DaemonRole::Backup, &odd).unwrap();
    assert_eq!(client.list_daemons().unwrap()[0].config, DaemonConfig { sync_maxlen: 1024, ..odd.clone() });
    client.start_daemon(DaemonRole::Master, &DaemonConfig { sync_maxlen: u16::MAX, ..odd.clone() }).unwrap();
    assert_eq!(client.list_daemons().unwrap()[0].config, DaemonConfig { sync_maxlen: 65_487, ..odd });
}
