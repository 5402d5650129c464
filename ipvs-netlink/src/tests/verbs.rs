//! What each verb asks of the kernel: command, flags and attributes.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, ParseableParametrized};
use netlink_packet_generic::GenlHeader;

use super::*;
use crate::wire::{DaemonAttribute as Daemon, DestinationAttribute as Dest, ServiceAttribute as Svc};
use crate::{
    DaemonConfig, DaemonRole, Family, Netmask, Request, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
    UnnamedForward, request,
};

const DO: u16 = NLM_F_REQUEST | NLM_F_ACK;
const LIST: u16 = NLM_F_REQUEST | NLM_F_DUMP;

/// Checks the headers of `request` and returns its attributes.
fn asked<R>(request: Request<R>, command: Command, flags: u16) -> Vec<Attribute> {
    let bytes = request.encode(FAMILY, 9);
    let header = NetlinkBuffer::new_checked(&bytes[..]).unwrap();
    assert_eq!(header.length() as usize, bytes.len());
    assert_eq!((header.message_type(), header.flags(), header.sequence_number()), (FAMILY, flags, 9));
    let generic = GenlHeader { cmd: bytes[16], version: bytes[17] };
    assert_eq!(generic.version, 1);
    let message = Message::parse_with_param(&bytes[20..], generic).unwrap();
    assert_eq!(message.command, command);
    message.attributes
}

fn union(first: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&first);
    bytes
}

fn service_id() -> Vec<Svc> {
    vec![Svc::Family(2), Svc::Protocol(17), Svc::Address(union([192, 0, 2, 53])), Svc::Port(53)]
}

fn service_whole() -> Attribute {
    let rest = [
        Svc::SchedulerName("rr".parse().unwrap()),
        Svc::Flags(Flags { value: 4, mask: u32::MAX }),
        Svc::Timeout(0),
        Svc::Netmask([255; 4]),
    ];
    Attribute::Service(service_id().into_iter().chain(rest).collect())
}

fn destination_id() -> Vec<Dest> {
    vec![Dest::Family(2), Dest::Address(union([10, 0, 0, 1])), Dest::Port(5300)]
}

fn destination_whole(forward: u32, weight: u32) -> Vec<Dest> {
    let rest = [
        Dest::ForwardingMethod(forward),
        Dest::Weight(weight),
        Dest::UpperThreshold(0),
        Dest::LowerThreshold(0),
    ];
    destination_id().into_iter().chain(rest).collect()
}

#[test]
fn the_verbs_of_services() {
    let add = asked(request::add_service(&key(), &config()).unwrap(), Command::NewService, DO);
    assert_eq!(add, [service_whole()]);
    let set = asked(request::set_service(&key(), &config()).unwrap(), Command::SetService, DO);
    assert_eq!(set, [service_whole()]);
    let id = [Attribute::Service(service_id())];
    assert_eq!(asked(request::delete_service(&key()), Command::DeleteService, DO), id);
    assert_eq!(asked(request::get_service(&key()), Command::GetService, DO), id);
    assert_eq!(asked(request::list_services(), Command::GetService, LIST), []);
}

#[test]
fn the_verbs_of_destinations() {
    let (key, server) = (key(), server(1));
    let whole = [Attribute::Service(service_id()), Attribute::Destination(destination_whole(0, 5))];
    let add = request::add_destination(&key, &server, &weight(5));
    assert_eq!(asked(add, Command::NewDestination, DO), whole);
    let set = request::set_destination(&key, &server, &weight(5));
    assert_eq!(asked(set, Command::SetDestination, DO), whole);
    let id = [Attribute::Service(service_id()), Attribute::Destination(destination_id())];
    assert_eq!(asked(request::delete_destination(&key, &server), Command::DeleteDestination, DO), id);
    let list = asked(request::list_destinations(&key), Command::GetDestination, LIST);
    assert_eq!(list, [Attribute::Service(service_id())]);
}

#[test]
fn the_verb_of_the_information() {
    assert_eq!(asked(request::get_info(), Command::GetInfo, DO), []);
}

#[test]
fn a_firewall_mark_is_its_family_and_its_number() {
    let key = ServiceKey::FwMark { family: Family::Inet6, mark: 7.try_into().unwrap() };
    let id = [Attribute::Service(vec![Svc::Family(10), Svc::FwMark(7)])];
    assert_eq!(asked(request::get_service(&key), Command::GetService, DO), id);
}

#[test]
fn an_ipv4_mask_is_sent_in_network_order_and_a_prefix_length_in_native_order() {
    let key6 = ServiceKey::udp("[2001:db8::53]:53".parse().unwrap());
    let (mask, length) = (Netmask::V4([255, 255, 255, 0]), Netmask::V6(56));
    for (key, netmask, sent) in [(key(), mask, [255, 255, 255, 0]), (key6, length, 56u32.to_ne_bytes())] {
        let config = ServiceConfig { netmask, ..config() };
        let attributes = asked(request::add_service(&key, &config).unwrap(), Command::NewService, DO);
        let [Attribute::Service(attributes)] = &attributes[..] else { panic!("{attributes:?}") };
        let found = attributes.iter().find_map(|attribute| match attribute {
            Svc::Netmask(bytes) => Some(*bytes),
            _ => None,
        });
        assert_eq!(found, Some(sent));
    }
}

#[test]
fn there_is_no_request_with_a_netmask_that_the_service_cannot_have() {
    let key6 = ServiceKey::udp("[2001:db8::53]:53".parse().unwrap());
    let mask = Netmask::V4([255, 255, 255, 0]);
    for (key, netmask) in
        [(key(), Netmask::V6(24)), (key6, mask), (key6, Netmask::V6(0)), (key6, Netmask::V6(129))]
    {
        let config = ServiceConfig { netmask, ..config() };
        for refused in [request::add_service(&key, &config), request::set_service(&key, &config)] {
            let error = refused.unwrap_err();
            assert!(
                error.to_string().contains(&format!("{key}: its netmask cannot be {netmask}")),
                "{error}"
            );
        }
    }
}

#[test]
fn the_verbs_of_counters_and_of_the_table() {
    let id = [Attribute::Service(service_id())];
    assert_eq!(asked(request::zero_service(&key()), Command::Zero, DO), id);
    assert_eq!(asked(request::zero_all(), Command::Zero, DO), []);
    assert_eq!(asked(request::flush(), Command::Flush, DO), []);
}

#[test]
fn the_verbs_of_timeouts() {
    assert_eq!(asked(request::get_timeouts(), Command::GetConfig, DO), []);
    let all = Timeouts { tcp: Some(1), tcp_fin: Some(2), udp: Some(3), unknown: Vec::new() };
    let attributes = [Attribute::TimeoutTcp(1), Attribute::TimeoutTcpFin(2), Attribute::TimeoutUdp(3)];
    assert_eq!(asked(request::set_timeouts(&all), Command::SetConfig, DO), attributes);
    let udp = Timeouts { udp: Some(3), ..Timeouts::default() };
    assert_eq!(asked(request::set_timeouts(&udp), Command::SetConfig, DO), attributes[2..]);
}

#[test]
fn the_verbs_of_sync_daemons() {
    let least = DaemonConfig { sync_id: 7, ..DaemonConfig::new("eth0".parse().unwrap()) };
    let needed =
        |state| vec![Daemon::State(state), Daemon::Interface("eth0".parse().unwrap()), Daemon::SyncId(7)];
    let start = request::start_daemon(DaemonRole::Master, &least);
    assert_eq!(asked(start, Command::NewDaemon, DO), [Attribute::Daemon(needed(1))]);

    for (group, attribute) in [
        ("239.1.2.3", Daemon::Group("239.1.2.3".parse().unwrap())),
        ("ff05::81", Daemon::Group6("ff05::81".parse().unwrap())),
    ] {
        let group = Some(group.parse().unwrap());
        let config = DaemonConfig { sync_maxlen: 1400, group, port: 8849, ttl: 3, ..least.clone() };
        let rest = [Daemon::SyncMaxlen(1400), attribute, Daemon::Port(8849), Daemon::Ttl(3)];
        let whole = [Attribute::Daemon(needed(2).into_iter().chain(rest).collect())];
        assert_eq!(asked(request::start_daemon(DaemonRole::Backup, &config), Command::NewDaemon, DO), whole);
    }

    let stop = request::stop_daemon(DaemonRole::Backup);
    assert_eq!(asked(stop, Command::DeleteDaemon, DO), [Attribute::Daemon(vec![Daemon::State(2)])]);
    assert_eq!(asked(request::list_daemons(), Command::GetDaemon, LIST), []);
}

#[test]
fn a_sync_daemons_port_is_sent_in_native_order_and_its_group_in_network_order() {
    let group = Some("239.1.2.3".parse().unwrap());
    let config = DaemonConfig { group, port: 8849, ..DaemonConfig::new("lo".parse().unwrap()) };
    let bytes = request::start_daemon(DaemonRole::Master, &config).encode(FAMILY, 1);
    assert!(bytes.windows(4).any(|window| window == [239, 1, 2, 3]));
    assert!(bytes.windows(2).any(|window| window == 8849u16.to_ne_bytes()));
}

#[test]
fn only_a_tunnel_has_tunnel_attributes() {
    let server = server(1);
    for (forward, number, tunnel) in [
        (Forward::Masquerade, 0, vec![]),
        (Forward::Local, 1, vec![]),
        (
            Forward::Tunnel(Tunnel { kind: TunnelKind::Ipip, checksum: TunnelChecksum::None }),
            2,
            vec![Dest::TunnelType(0), Dest::TunnelPort(0), Dest::TunnelFlags(0)],
        ),
        (
            Forward::Tunnel(Tunnel {
                kind: TunnelKind::Gue { port: 6080.try_into().unwrap() },
                checksum: TunnelChecksum::Remote,
            }),
            2,
            vec![Dest::TunnelType(1), Dest::TunnelPort(6080), Dest::TunnelFlags(2)],
        ),
        (
            Forward::Tunnel(Tunnel { kind: TunnelKind::Gre, checksum: TunnelChecksum::Full }),
            2,
            vec![Dest::TunnelType(2), Dest::TunnelPort(0), Dest::TunnelFlags(1)],
        ),
        (Forward::Direct, 3, vec![]),
        (Forward::Bypass, 4, vec![]),
        (Forward::Unnamed(UnnamedForward::Six), 6, vec![]),
    ] {
        let config = DestinationConfig { forward, ..weight(1) };
        let request = request::add_destination(&key(), &server, &config);
        let attributes: Vec<_> = destination_whole(number, 1).into_iter().chain(tunnel).collect();
        let whole = [Attribute::Service(service_id()), Attribute::Destination(attributes)];
        assert_eq!(asked(request, Command::NewDestination, DO), whole);
    }
}
