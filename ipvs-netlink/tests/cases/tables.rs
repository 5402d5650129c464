//! What is written is what is read.

use super::*;

pub fn services() {
    let mut client = client();
    for key in
        [vip(0), vip(1), ServiceKey::Address { protocol: Protocol::TCP, address: VIPS[0].parse().unwrap() }]
    {
        client.add_service(&key, &ServiceConfig::new(scheduler("rr"), key.family())).expect("add");
        let service = client.get_service(&key).expect("get");
        assert_eq!(service.key, key);
        assert_eq!(service.config.scheduler, "rr");
        assert_eq!(service.config.netmask, Netmask::host(key.family()));
        assert_eq!(service.config.persistence_engine, None);
        assert_eq!(service.unknown, []);

        client.set_service(&key, &ServiceConfig::new(scheduler("wrr"), key.family())).expect("set");
        assert_eq!(client.list_services().expect("list"), [client.get_service(&key).expect("get again")]);
        assert_eq!(client.get_service(&key).unwrap().config.scheduler, "wrr");

        client.delete_service(&key).expect("delete");
        assert_eq!(client.list_services().expect("list nothing"), []);
    }
}

pub fn destinations() {
    let mut client = client();
    for (index, forward) in [Forward::Masquerade, Forward::Direct].into_iter().enumerate() {
        let (key, server) = (vip(index), server(index));
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

pub fn one_packet_at_creation() {
    let mut client = client();
    for key in [vip(0), vip(1)] {
        client.add_service(&key, &ops(&key)).unwrap();
        assert!(client.get_service(&key).unwrap().config.flags.contains(Flags::ONE_PACKET));
    }
    for service in client.list_services().unwrap() {
        assert_eq!(service.config.flags, Flags { value: Flags::ONE_PACKET | Flags::HASHED, mask: u32::MAX });
    }
}

pub fn one_flag_alone() {
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

pub fn firewall_marks() {
    let mut client = client();
    let keys = [Family::Inet, Family::Inet6]
        .map(|family| ServiceKey::FwMark { family, mark: 0x0102_0304.try_into().unwrap() });
    for key in keys {
        client.add_service(&key, &ops(&key)).unwrap();
        assert_eq!(client.get_service(&key).unwrap().key, key);
    }
    let mut listed: Vec<_> = client.list_services().unwrap().into_iter().map(|service| service.key).collect();
    listed.sort();
    assert_eq!(listed, keys);
}

pub fn persistence() {
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

pub fn persistence_engine() {
    let mut client = client();
    let key = vip(0);
    let engine = Some(scheduler("sip"));
    client.add_service(&key, &ServiceConfig { persistence_engine: engine.clone(), ..ops(&key) }).unwrap();
    assert_eq!(client.get_service(&key).unwrap().config.persistence_engine, engine);
    client.set_service(&key, &ops(&key)).unwrap();
    assert_eq!(client.get_service(&key).unwrap().config.persistence_engine, None);
    let unknown = ServiceConfig { persistence_engine: Some(scheduler("no-such")), ..ops(&key) };
    assert!(matches!(client.set_service(&key, &unknown), Err(Error::NoSuchScheduler(_))));
}

pub fn made_again() {
    let mut client = client();
    for (index, mask) in [(0, Netmask::V4([255, 255, 0, 255])), (1, Netmask::V6(1))] {
        // A flag that nobody has a name for is stored, too.
        let flags = Flags::exactly(Flags::PERSISTENT | 0x4000);
        let config = ServiceConfig { flags, timeout: 77, netmask: mask, ..ops(&vip(index)) };
        client.add_service(&vip(index), &config).unwrap();
        let weighted = weighted(Forward::Unnamed(ipvs_netlink::UnnamedForward::Six), 5);
        client.add_destination(&vip(index), &server(index), &weighted).unwrap();
    }
    let tables = |client: &mut Client| {
        let mut services = client.list_services().unwrap();
        services.sort_by_key(|service| service.key);
        let servers: Vec<_> =
            services.iter().map(|service| client.list_destinations(&service.key).unwrap()).collect();
        (services, servers)
    };
    let before = tables(&mut client);
    client.flush().unwrap();
    for (service, servers) in before.0.iter().zip(&before.1) {
        client.add_service(&service.key, &service.config).unwrap();
        for server in servers {
            client.add_destination(&service.key, &server.key, &server.config).unwrap();
        }
    }
    assert_eq!(tables(&mut client), before);
}

pub fn tunnels() {
    let mut client = client();
    let kinds = [
        (TunnelKind::Ipip, TunnelChecksum::None),
        (TunnelKind::Gue { port: 6080.try_into().unwrap() }, TunnelChecksum::None),
        (TunnelKind::Gue { port: 6080.try_into().unwrap() }, TunnelChecksum::Full),
        (TunnelKind::Gue { port: 6080.try_into().unwrap() }, TunnelChecksum::Remote),
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

pub fn mixed_families() {
    let mut client = client();
    let ipip = Forward::Tunnel(Tunnel { kind: TunnelKind::Ipip, checksum: TunnelChecksum::None });
    for (key, server) in [(vip(0), server(1)), (vip(1), server(0))] {
        client.add_service(&key, &ops(&key)).unwrap();
        client.add_destination(&key, &server, &weighted(ipip, 1)).unwrap();
        assert_eq!(client.list_destinations(&key).unwrap()[0].key, server);
    }
}
