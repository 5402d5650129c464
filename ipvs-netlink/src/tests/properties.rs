//! What holds for all values and for all bytes.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLA_F_NET_BYTEORDER, ParseableParametrized};
use netlink_packet_generic::GenlHeader;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::answer::{Answer, FamilyId};
use crate::frame::frames;
use crate::uapi::*;
use crate::window::Window;
use crate::wire::{DestinationAttribute, ServiceAttribute};
use crate::{
    Daemon, DaemonConfig, Exchange, Family, Info, Name, Netmask, Protocol, Request, Timeouts, Tunnel,
    TunnelChecksum, TunnelKind, UnnamedForward, Version, request,
};

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    let family = prop_oneof![Just(Family::Inet), Just(Family::Inet6)];
    prop_oneof![
        (any::<u16>().prop_map(Protocol), address())
            .prop_map(|(protocol, address)| ServiceKey::Address { protocol, address }),
        (family, any::<NonZeroU32>()).prop_map(|(family, mark)| ServiceKey::FwMark { family, mark }),
    ]
}

fn stats() -> impl Strategy<Value = Stats> {
    (any::<[u64; 10]>(), unknown()).prop_map(|([a, b, c, d, e, f, g, h, i, j], unknown)| Stats {
        connections: a,
        packets_in: b,
        packets_out: c,
        bytes_in: d,
        bytes_out: e,
        connections_rate: f,
        packets_in_rate: g,
        packets_out_rate: h,
        bytes_in_rate: i,
        bytes_out_rate: j,
        unknown,
    })
}

/// Text or not.
fn name() -> impl Strategy<Value = Name> {
    vec(1u8.., 1..=Name::MAX).prop_map(|bytes| Name::new(bytes).unwrap())
}

/// Attributes with numbers that nobody has given a name yet.
fn unknown() -> impl Strategy<Value = Vec<DefaultNla>> {
    let flag = prop_oneof![Just(0), Just(NLA_F_NESTED), Just(NLA_F_NET_BYTEORDER)];
    let attribute = (100u16..0x3fff, flag, vec(any::<u8>(), 0..20));
    vec(attribute.prop_map(|(kind, flag, value)| DefaultNla::new(kind | flag, value)), 0..3)
}

prop_compose! {
    fn any_service()(
        key in service_key(),
        scheduler in name(),
        flags in any::<(u32, u32)>(),
        timeout in any::<u32>(),
        mask in any::<[u8; 4]>(),
        persistence_engine in prop::option::of(name()),
        stats in stats(),
        unknown in unknown(),
    ) -> Service {
        let netmask = match key.family() {
            Family::Inet => Netmask::V4(mask),
            Family::Inet6 => Netmask::V6(u32::from_ne_bytes(mask)),
        };
        let flags = Flags { value: flags.0, mask: flags.1 };
        let config = ServiceConfig { scheduler, flags, timeout, netmask, persistence_engine };
        Service { key, config, stats, unknown }
    }
}

fn forward() -> impl Strategy<Value = Forward> {
    let kind = prop_oneof![
        Just(TunnelKind::Ipip),
        any::<NonZeroU16>().prop_map(|port| TunnelKind::Gue { port }),
        Just(TunnelKind::Gre),
        (3u8.., any::<u16>()).prop_map(|(kind, port)| TunnelKind::Other { kind, port }),
    ];
    let checksum = prop_oneof![
        Just(TunnelChecksum::None),
        Just(TunnelChecksum::Full),
        Just(TunnelChecksum::Remote),
        (3u16..).prop_map(TunnelChecksum::Other),
    ];
    prop_oneof![
        Just(Forward::Masquerade),
        Just(Forward::Local),
        (kind, checksum).prop_map(|(kind, checksum)| Forward::Tunnel(Tunnel { kind, checksum })),
        Just(Forward::Direct),
        Just(Forward::Bypass),
        Just(Forward::Unnamed(UnnamedForward::Five)),
        Just(Forward::Unnamed(UnnamedForward::Seven)),
    ]
}

prop_compose! {
    fn any_destination()(
        key in address(),
        forward in forward(),
        numbers in any::<[u32; 6]>(),
        stats in stats(),
        unknown in unknown(),
    ) -> Destination {
        let [weight, upper_threshold, lower_threshold, active, inactive, persistent] = numbers;
        Destination {
            key: DestinationKey(key),
            config: DestinationConfig { forward, weight, upper_threshold, lower_threshold },
            active_connections: active,
            inactive_connections: inactive,
            persistent_connections: persistent,
            stats,
            unknown,
        }
    }
}

prop_compose! {
    fn any_daemon()(
        role in any::<u32>(),
        interface in name(),
        sync_id in any::<u32>(),
        numbers in any::<(u16, u16, u8)>(),
        group in any::<Option<IpAddr>>(),
        unknown in unknown(),
    ) -> Daemon {
        let (sync_maxlen, port, ttl) = numbers;
        let config = DaemonConfig { interface, sync_id, sync_maxlen, group, port, ttl };
        Daemon { role: role.into(), config, unknown }
    }
}

prop_compose! {
    fn any_timeouts()(seconds in any::<[Option<u32>; 3]>(), unknown in unknown()) -> Timeouts {
        let [tcp, tcp_fin, udp] = seconds;
        Timeouts { tcp, tcp_fin, udp, unknown }
    }
}

/// Feeds `datagram` to everything that reads datagrams. All that is promised is that nothing panics.
fn feed_to_all(datagram: &[u8]) {
    fn exchange<R: Answer>(request: Request<R>, datagram: &[u8]) {
        for frame in frames(datagram).map_while(|frame| frame.ok()) {
            let _ = Exchange::new(&request, frame.sequence).feed(datagram);
        }
    }
    exchange(request::delete_service(&key()), datagram);
    exchange(request::get_service(&key()), datagram);
    exchange(request::list_services(), datagram);
    exchange(request::list_destinations(&key()), datagram);
    exchange(request::list_daemons(), datagram);
    exchange::<Timeouts>(request::get_timeouts(), datagram);
    exchange::<Info>(request::get_info(), datagram);
    exchange::<FamilyId>(request::resolve_family(), datagram);
    let first = frames(datagram).next().and_then(|frame| frame.ok()).map_or(0, |frame| frame.sequence);
    Window::new(&[request::delete_service(&key())], FAMILY, first).0.feed(datagram);
}

/// What a kernel has said: whole netlink messages.
fn answers() -> Vec<Vec<u8>> {
    let captured = golden::SERVICES.into_iter().chain(golden::DESTINATIONS).chain([golden::INFO]);
    let written = [ack(1, 0), ack(1, 22), done(1, 0), done(1, 12), family(1, FAMILY)];
    let quoted = request::delete_service(&key()).encode(FAMILY, 1);
    let texts = [true, false].map(|capped| ack_with_text(1, 22, "no", &quoted, capped));
    captured.map(golden::hex).chain(written).chain(texts).chain(kernels::everything()).collect()
}

/// What a dump of this one entry comes to.
fn dumped<R: Answer>(request: Request<R>, entry: Vec<u8>) -> R {
    Exchange::new(&request, 1).feed(&[entry, done(1, 0)].concat()).unwrap().unwrap()
}

/// The attributes as bytes, parsed again.
fn through_bytes(message: &Message) -> Message {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    let parsed =
        Message::parse_with_param(&bytes[..], GenlHeader { cmd: message.command.into(), version: 1 })
            .unwrap();
    let mut again = vec![0; parsed.buffer_len()];
    parsed.emit(&mut again);
    assert_eq!(again, bytes);
    parsed
}

/// Fuzzing found that it was not emitted as it came: netlink-packet-core loses one of the flags.
#[test]
fn an_attribute_is_not_both_a_nest_and_in_network_byte_order() {
    for (kind, fits) in
        [(NLA_F_NESTED, true), (NLA_F_NET_BYTEORDER, true), (NLA_F_NESTED | NLA_F_NET_BYTEORDER, false)]
    {
        let [low, high] = (100 | kind).to_ne_bytes();
        let attribute = [5u16.to_ne_bytes(), [low, high], [7, 0], [0, 0]].concat();
        let mut nest = 12u16.to_ne_bytes().to_vec();
        nest.extend([2, 0]);
        nest.extend_from_slice(&attribute);
        for bytes in [attribute, nest] {
            let header = GenlHeader { cmd: Command::NewDestination.into(), version: 1 };
            assert_eq!(Message::parse_with_param(&bytes[..], header).is_ok(), fits, "{kind:x}");
        }
    }
}

proptest! {
    #[test]
    fn a_service_survives_its_bytes(service in any_service()) {
        let attributes = vec![Attribute::Service(service.clone().into())];
        let message = Message { command: Command::NewService, attributes };
        let parsed = through_bytes(&message);
        prop_assert_eq!(&parsed, &message);
        let Some(Attribute::Service(attributes)) = parsed.attributes.into_iter().next() else { panic!() };
        prop_assert_eq!(&Service::try_from(attributes).unwrap(), &service);
        prop_assert_eq!(dumped(request::list_services(), service_message(1, 0, &service)), [service]);
    }

    #[test]
    fn a_destination_survives_its_bytes(destination in any_destination()) {
        let attributes = vec![Attribute::Destination(destination.clone().into())];
        let message = Message { command: Command::NewDestination, attributes };
        let parsed = through_bytes(&message);
        prop_assert_eq!(&parsed, &message);
        let Some(Attribute::Destination(attributes)) = parsed.attributes.into_iter().next() else { panic!() };
        prop_assert_eq!(&Destination::try_from(attributes).unwrap(), &destination);
        let entry = destination_message(1, 0, &destination);
        prop_assert_eq!(dumped(request::list_destinations(&key()), entry), [destination]);
    }

    #[test]
    fn a_sync_daemon_survives_its_bytes(daemon in any_daemon()) {
        let attributes = vec![Attribute::Daemon(daemon.clone().into())];
        let message = Message { command: Command::NewDaemon, attributes };
        let parsed = through_bytes(&message);
        prop_assert_eq!(&parsed, &message);
        let Some(Attribute::Daemon(attributes)) = parsed.attributes.into_iter().next() else { panic!() };
        prop_assert_eq!(Daemon::try_from(attributes).unwrap(), daemon);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn the_values_survive_being_written_down(
        service in any_service(),
        destination in any_destination(),
        daemon in any_daemon(),
        timeouts in any_timeouts(),
    ) {
        fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
            serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
        }
        let without = |stats: Stats| Stats { unknown: Vec::new(), ..stats };
        let service = Service { stats: without(service.stats), unknown: Vec::new(), ..service };
        prop_assert_eq!(through_json(&service), service);
        let destination = Destination { stats: without(destination.stats), unknown: Vec::new(), ..destination };
        prop_assert_eq!(through_json(&destination), destination);
        let daemon = Daemon { unknown: Vec::new(), ..daemon };
        prop_assert_eq!(through_json(&daemon), daemon);
        let timeouts = Timeouts { unknown: Vec::new(), ..timeouts };
        prop_assert_eq!(through_json(&timeouts), timeouts);
    }

    #[test]
    fn timeouts_and_information_survive_their_bytes(timeouts in any_timeouts(), numbers in any::<(u32, u32)>()) {
        let info =
            Info { version: Version(numbers.0), connection_table_size: numbers.1, unknown: timeouts.unknown.clone() };
        prop_assert_eq!(Timeouts::from(through_bytes(&timeouts.clone().into())), timeouts);
        prop_assert_eq!(Info::try_from(through_bytes(&info.clone().into())).unwrap(), info);
    }

    #[test]
    fn a_request_is_the_attributes_of_its_value(service in any_service(), destination in any_destination()) {
        let header = GenlHeader { cmd: Command::NewDestination.into(), version: 1 };
        let request = request::add_destination(&service.key, &destination.key, &destination.config);
        let bytes = request.encode(FAMILY, 1);
        let message = Message::parse_with_param(&bytes[20..], header).unwrap();
        let mut emitted = vec![0; message.buffer_len()];
        message.emit(&mut emitted);
        prop_assert_eq!(&emitted, &bytes[20..]);
        let Some(Attribute::Destination(sent)) = message.attributes.get(1) else { panic!() };
        let whole: Vec<_> = destination.into();
        prop_assert_eq!(&whole[..sent.len()], &sent[..]);
    }

    #[test]
    fn unknown_commands_and_attributes_are_emitted_as_they_came(command in any::<u8>(), unknown in unknown()) {
        let attributes = unknown.into_iter().map(Attribute::Other).collect();
        let message = Message { command: command.into(), attributes };
        prop_assert_eq!(u8::from(message.command), command);
        prop_assert_eq!(through_bytes(&message), message);
    }

    #[test]
    fn no_bytes_make_it_panic(datagram in vec(any::<u8>(), 0..200)) {
        feed_to_all(&datagram);
    }

    #[test]
    fn no_damage_to_an_answer_makes_it_panic(
        answer in prop::sample::select(answers()),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = answer;
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        feed_to_all(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        feed_to_all(&bytes);
        // The header's length corrected, what is inside is reached.
        if let Some(length) = bytes.get(..16).map(|_| bytes.len() as u32) {
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            feed_to_all(&bytes);
        }
    }
}

/// An attribute of the number `kind`.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [4 + value.len() as u16, kind].map(u16::to_ne_bytes).concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// As a kernel lists them: 32 bits that have wrapped, and 64 that have not.
#[test]
fn the_counters_of_64_bits_are_those_that_count() {
    let number = |kind: u16| 5_000_000_000 + u64::from(kind);
    let wide: Vec<u8> = (1..=10).flat_map(|kind| attribute(kind, &number(kind).to_ne_bytes())).collect();
    let narrow: Vec<u8> = (1..=10)
        .flat_map(|kind| match kind {
            IPVS_STATS_ATTR_INBYTES | IPVS_STATS_ATTR_OUTBYTES => {
                attribute(kind, &number(kind).to_ne_bytes())
            }
            _ => attribute(kind, &(number(kind) as u32).to_ne_bytes()),
        })
        .collect();
    let with = |stats: [u64; 10]| {
        let [connections, packets_in, packets_out, bytes_in, bytes_out, rates @ ..] = stats;
        let [connections_rate, packets_in_rate, packets_out_rate, bytes_in_rate, bytes_out_rate] = rates;
        Stats {
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
    };
    let numbers: [u64; 10] = std::array::from_fn(|index| number(index as u16 + 1));
    let wrapped = numbers.map(|number| u64::from(number as u32));
    let old = [wrapped[0], wrapped[1], wrapped[2], numbers[3], numbers[4]];
    let old: [u64; 10] = std::array::from_fn(|index| *old.get(index).unwrap_or(&wrapped[index]));
    for (nests, expected) in [
        (vec![(IPVS_SVC_ATTR_STATS, &narrow), (IPVS_SVC_ATTR_STATS64, &wide)], numbers),
        (vec![(IPVS_SVC_ATTR_STATS64, &wide), (IPVS_SVC_ATTR_STATS, &narrow)], numbers),
        (vec![(IPVS_SVC_ATTR_STATS, &narrow)], old),
    ] {
        // Both numbers are those of a destination, too.
        let nests: Vec<u8> = nests.into_iter().flat_map(|(kind, nest)| attribute(kind, nest)).collect();
        let mut attributes: Vec<_> = service().into();
        attributes.retain(|attribute| !matches!(attribute, ServiceAttribute::Stats64(_)));
        attributes.extend(ServiceAttribute::all(&nests).map(|attribute| attribute.unwrap()));
        assert_eq!(Service::try_from(attributes).unwrap().stats, with(expected));
        let mut attributes: Vec<_> = destination(1).into();
        attributes.retain(|attribute| !matches!(attribute, DestinationAttribute::Stats64(_)));
        attributes.extend(DestinationAttribute::all(&nests).map(|attribute| attribute.unwrap()));
        assert_eq!(Destination::try_from(attributes).unwrap().stats, with(expected));
    }
}

/// Four bytes of an address are emitted as 16, and a counter that is left out as 0: a nest can grow beyond its length.
#[test]
fn what_cannot_be_emitted_again_is_malformed() {
    let addresses = attribute(IPVS_DEST_ATTR_ADDR, &[10, 0, 0, 1]).repeat(8000);
    let stats = attribute(IPVS_DEST_ATTR_STATS64, &attribute(100, &vec![7; 65_500]));
    for nest in [addresses, stats] {
        assert!(nest.len() < usize::from(u16::MAX));
        let header = GenlHeader { cmd: Command::NewDestination.into(), version: 1 };
        Message::parse_with_param(&attribute(IPVS_CMD_ATTR_DEST, &nest)[..], header).unwrap_err();
    }
}
