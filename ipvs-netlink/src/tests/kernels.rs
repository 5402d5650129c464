//! Bytes captured on four kernels, both ways (`captured/capture` says how and what): what `ipvsadm` asks is what the
//! verbs ask, and what the kernel answers becomes the values that were made.

#![cfg(target_endian = "little")]

use netlink_packet_core::{Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, ParseableParametrized};
use netlink_packet_generic::GenlHeader;

use super::golden::hex;
use super::*;
use crate::answer::Answer;
use crate::wire::{DestinationAttribute, ServiceAttribute};
use crate::{
    Daemon, DaemonConfig, DaemonRole, Error, Exchange, Family, Info, Name, Netmask, Protocol, Request,
    Result, Timeouts, Tunnel, TunnelChecksum, TunnelKind, Version, request,
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

/// The verbs of `captured/capture`, as messages of family 0 and sequence number 0.
fn verbs() -> Vec<Vec<u8>> {
    fn add<R>(verbs: &mut Vec<Vec<u8>>, request: Request<R>) {
        verbs.push(request.encode(0, 0));
    }
    let verbs = &mut Vec::new();
    let table = table();
    for (service, config, server) in &table {
        let web = matches!(service, ServiceKey::Address { protocol: Protocol::TCP, .. });
        if let (Some((server, config)), false) = (server, web) {
            add(verbs, request::add_destination(service, server, config));
        }
        if !web {
            // ipvsadm sends PERSISTENT nowhere but in the flags, as here; all of this one differs from what it becomes.
            add(verbs, request::add_service(service, config).unwrap());
        }
        add(verbs, request::list_destinations(service));
    }
    let (web, config, server) = &table[3];
    let (server, server_config) = server.unwrap();
    let wlc = ServiceConfig {
        flags: Flags::exactly(Flags::PERSISTENT),
        timeout: 60,
        netmask: Netmask::V4([255, 255, 255, 0]),
        ..ServiceConfig::new("wlc".parse().unwrap(), Family::Inet)
    };
    add(verbs, request::add_service(web, &wlc).unwrap());
    add(verbs, request::add_destination(web, &server, &DestinationConfig::new(Forward::Direct, 1)));
    add(verbs, request::set_service(web, config).unwrap());
    add(verbs, request::set_destination(web, &server, &server_config));
    add(verbs, request::delete_destination(web, &server));
    add(verbs, request::delete_service(web));
    add(verbs, request::list_services());
    add(verbs, request::set_timeouts(&timeouts()));
    add(verbs, request::get_timeouts());
    add(verbs, request::start_daemon(DaemonRole::Master, &daemon().config));
    add(verbs, request::list_daemons());
    add(verbs, request::stop_daemon(DaemonRole::Master));
    add(verbs, request::get_info());
    add(verbs, request::zero_all());
    add(verbs, request::flush());
    std::mem::take(verbs)
}

/// Whether `theirs` says all that `ours` says. ipvsadm also acknowledges dumps, and sends whole objects where the key
/// is enough.
fn covers(theirs: &[u8], ours: &[u8]) -> bool {
    let (their_header, our_header) =
        (NetlinkBuffer::new_checked(theirs).unwrap(), NetlinkBuffer::new_checked(ours).unwrap());
    let dump = |flags: u16| flags & NLM_F_DUMP == NLM_F_DUMP;
    let (theirs, ours) = (parse(theirs), parse(ours));
    let empty = theirs.attributes.is_empty() == ours.attributes.is_empty();
    let found = |ours: &Attribute| theirs.attributes.iter().any(|theirs| nest_covers(theirs, ours));
    dump(their_header.flags()) == dump(our_header.flags())
        && theirs.command == ours.command
        && empty
        && ours.attributes.iter().all(found)
}

fn nest_covers(theirs: &Attribute, ours: &Attribute) -> bool {
    fn all<A: PartialEq>(theirs: &[A], ours: &[A]) -> bool {
        ours.iter().all(|ours| theirs.contains(ours))
    }
    match (theirs, ours) {
        (Attribute::Service(theirs), Attribute::Service(ours)) => all(theirs, ours),
        (Attribute::Destination(theirs), Attribute::Destination(ours)) => all(theirs, ours),
        (Attribute::Daemon(theirs), Attribute::Daemon(ours)) => all(theirs, ours),
        (theirs, ours) => theirs == ours,
    }
}

#[test]
fn ipvsadm_asks_what_the_verbs_ask() {
    let verbs = verbs();
    for (release, capture, _) in KERNELS {
        let asked: Vec<_> = datagrams(capture).filter(|datagram| is_request(datagram)).collect();
        assert!(asked.len() > 25, "{release}");
        for ours in &verbs {
            assert!(
                asked.iter().any(|theirs| covers(theirs, ours)),
                "{release}: nobody asked {:?}",
                parse(ours)
            );
        }
        for theirs in &asked {
            // What the kernel refused is the end of the script.
            let refused = [hex("6e6f6e652d73756368"), hex("0a000009")];
            let known = verbs.iter().any(|ours| covers(theirs, ours))
                || refused.iter().any(|value| theirs.windows(value.len()).any(|window| window == value))
                || covers(
                    theirs,
                    &request::add_service(&key(), &ServiceConfig::new("rr".parse().unwrap(), Family::Inet))
                        .unwrap()
                        .encode(0, 0),
                );
            assert!(known, "{release}: no verb asks {:?}", parse(theirs));
        }
    }
}

/// The messages with attributes among the answers.
fn told(capture: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    for datagram in datagrams(capture).filter(|datagram| !is_request(datagram)) {
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let length = NetlinkBuffer::new_checked(rest).unwrap().length() as usize;
            // 2 and 3 are the errors and the ends of dumps.
            if rest[4] > 3 {
                let message = parse(&rest[..length]);
                assert_emitted(&message, &rest[20..length]);
                messages.push(message);
            }
            rest = &rest[length.next_multiple_of(4)..];
        }
    }
    messages
}

/// Checks that `message` is emitted as it was captured, but for the flag that the kernel leaves off its nests.
fn assert_emitted(message: &Message, captured: &[u8]) {
    let mut emitted = vec![0; message.buffer_len()];
    message.emit(&mut emitted);
    assert_eq!(emitted.len(), captured.len());
    let flagged = emitted.iter().zip(captured).filter(|(emitted, captured)| emitted != captured);
    let nests = match message.attributes.first() {
        Some(Attribute::Service(_) | Attribute::Destination(_)) => 3,
        Some(Attribute::Daemon(_)) => 1,
        _ => 0,
    };
    let differences: Vec<_> = flagged.map(|(emitted, captured)| emitted ^ captured).collect();
    assert_eq!(differences, vec![0x80; nests], "{message:?}");
}

#[test]
fn the_kernel_answers_with_what_was_made() {
    for (release, capture, table_size) in KERNELS {
        let (mut services, mut servers, mut daemons, mut configs, mut infos) =
            (vec![], vec![], vec![], vec![], vec![]);
        for message in told(capture) {
            match message.attributes.first() {
                Some(Attribute::Service(service)) => {
                    services.push(Service::try_from(service.clone()).unwrap())
                }
                Some(Attribute::Destination(server)) => {
                    servers.push(Destination::try_from(server.clone()).unwrap())
                }
                Some(Attribute::Daemon(daemon)) => daemons.push(Daemon::try_from(daemon.clone()).unwrap()),
                Some(Attribute::Version(_)) => infos.push(Info::try_from(message).unwrap()),
                _ => configs.push(Timeouts::from(message)),
            }
        }
        let mut expected: Vec<_> = table()
            .into_iter()
            .map(|(key, config, _)| {
                let flags = Flags::exactly(config.flags.value | Flags::HASHED);
                let config = ServiceConfig { flags, ..config };
                Service { key, config, stats: Stats::default(), unknown: Vec::new() }
            })
            .collect();
        expected.sort_by_key(|service| service.key);
        services.sort_by_key(|service| service.key);
        assert_eq!(services, expected, "{release}");

        let mut expected: Vec<_> = table()
            .into_iter()
            .filter_map(|(_, _, server)| server)
            .map(|(key, config)| Destination { key, config, ..destination(1) })
            .collect();
        expected.sort_by_key(|server| server.key);
        servers.sort_by_key(|server| server.key);
        assert_eq!(servers, expected, "{release}");

        assert_eq!(daemons, [daemon()], "{release}");
        assert_eq!(configs, [timeouts()], "{release}");
        assert_eq!(infos[0].version, Version(0x01_0201), "{release}");
        assert_eq!(infos[0].connection_table_size, table_size, "{release}");
    }
}

#[test]
fn the_kernel_refuses_as_the_errors_say() {
    let unknown = ServiceConfig { scheduler: Name::new("none-such").unwrap(), ..config() };
    let web = table()[3].0;
    for (release, capture, _) in KERNELS {
        let refusals: Vec<_> = datagrams(capture).filter(|datagram| datagram[4] == 2).collect();
        let [exists, no_service, no_server, no_scheduler] = &refusals[..] else { panic!("{release}") };
        fn answer<R: Answer>(request: Request<R>, datagram: &[u8]) -> Option<Result<R>> {
            let sequence = NetlinkBuffer::new_checked(datagram).unwrap().sequence_number();
            Exchange::new(&request, sequence).feed(datagram)
        }
        let error = answer(request::add_service(&key(), &config()).unwrap(), exists);
        assert!(matches!(error, Some(Err(Error::AlreadyExists(_)))), "{release}: {error:?}");
        let error = answer(request::delete_service(&web), no_service);
        assert!(matches!(error, Some(Err(Error::NoSuchService(_)))), "{release}: {error:?}");
        let error = answer(request::delete_destination(&key(), &server(9)), no_server);
        assert!(matches!(error, Some(Err(Error::NoSuchDestination(_)))), "{release}: {error:?}");
        let error = answer(request::add_service(&web, &unknown).unwrap(), no_scheduler);
        assert!(matches!(error, Some(Err(Error::NoSuchScheduler(_)))), "{release}: {error:?}");
    }
}

#[test]
fn no_captured_attribute_is_without_a_name() {
    for message in KERNELS.iter().flat_map(|(_, capture, _)| told(capture)) {
        for attribute in &message.attributes {
            let named = match attribute {
                Attribute::Service(nest) => {
                    !nest.iter().any(|inner| matches!(inner, ServiceAttribute::Other(_)))
                }
                Attribute::Destination(nest) => {
                    !nest.iter().any(|inner| matches!(inner, DestinationAttribute::Other(_)))
                }
                attribute => !matches!(attribute, Attribute::Other(_)),
            };
            assert!(named, "{attribute:?}");
        }
    }
}
