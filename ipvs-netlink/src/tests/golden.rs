//! Bytes against values, both ways.
//!
//! `captured/*.hex` are whole netlink messages seen on an nlmon device of Debian's kernel 6.1.176 while `ipvsadm`
//! listed a table that it had made (little-endian). The other bytes are written by hand from `linux/ip_vs.h`.

#![cfg(target_endian = "little")]

use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::GenlHeader;

use super::*;
use crate::{Info, Netmask, Tunnel, TunnelChecksum, TunnelKind, Version, request};

const HEADERS: usize = 20;

/// The bytes that a text in hexadecimal digits and white space stands for.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|character| character.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

pub(super) const SERVICES: [&str; 3] = [
    include_str!("captured/service_ipv4_ops.hex"),
    include_str!("captured/service_ipv6_persistent.hex"),
    include_str!("captured/service_fwmark.hex"),
];
pub(super) const DESTINATIONS: [&str; 2] =
    [include_str!("captured/destination_masquerade.hex"), include_str!("captured/destination_gue.hex")];
pub(super) const INFO: &str = include_str!("captured/info.hex");

fn parse(bytes: &[u8]) -> Message {
    let header = GenlHeader { cmd: bytes[16], version: bytes[17] };
    Message::parse_with_param(&bytes[HEADERS..], header).unwrap()
}

/// Checks that `message` is emitted as it was captured; the kernel leaves the flag off its nests, which start at `nests`.
fn assert_emitted_as_captured(message: &Message, captured: &[u8], nests: [usize; 3]) {
    let mut expected = captured.to_vec();
    for nest in nests {
        assert_eq!(expected[nest + 3], 0);
        expected[nest + 3] = 0x80;
    }
    let mut emitted = vec![0; message.buffer_len()];
    message.emit(&mut emitted);
    assert_eq!(emitted, expected[HEADERS..]);
}

fn captured_service(text: &str, nests: [usize; 3]) -> Service {
    let bytes = hex(text);
    let message = parse(&bytes);
    assert_eq!(message.command, Command::NewService);
    assert_emitted_as_captured(&message, &bytes, nests);
    match message.attributes.into_iter().next() {
        Some(Attribute::Service(attributes)) => attributes.try_into().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn captured_destination(text: &str) -> Destination {
    let bytes = hex(text);
    let message = parse(&bytes);
    assert_eq!(message.command, Command::NewDestination);
    assert_emitted_as_captured(&message, &bytes, [0x14, 0x8c, 0xe8]);
    match message.attributes.into_iter().next() {
        Some(Attribute::Destination(attributes)) => attributes.try_into().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn listed(key: ServiceKey, config: ServiceConfig) -> Service {
    Service { key, config, stats: Stats::default(), unknown: Vec::new() }
}

#[test]
fn the_services_that_a_kernel_listed() {
    let config = |scheduler: &str, family, flags| ServiceConfig {
        flags: Flags::exactly(flags | Flags::HASHED),
        ..ServiceConfig::new(scheduler.parse().unwrap(), family)
    };

    let expected = listed(key(), config("rr", key().family(), Flags::ONE_PACKET));
    assert_eq!(captured_service(SERVICES[0], [0x14, 0x68, 0xc4]), expected);

    let key = ServiceKey::udp("[2001:db8::53]:53".parse().unwrap());
    let config6 = config("wrr", key.family(), Flags::PERSISTENT);
    let expected = listed(key, ServiceConfig { timeout: 300, netmask: Netmask::V6(64), ..config6 });
    assert_eq!(captured_service(SERVICES[1], [0x14, 0x68, 0xc4]), expected);

    let key = ServiceKey::FwMark { family: crate::Family::Inet, mark: 7.try_into().unwrap() };
    let expected = listed(key, config("sh", key.family(), Flags::SCHED2));
    assert_eq!(captured_service(SERVICES[2], [0x14, 0x4c, 0xa8]), expected);
}

#[test]
fn the_destinations_that_a_kernel_listed() {
    let config = DestinationConfig { upper_threshold: 9, lower_threshold: 2, ..weight(3) };
    assert_eq!(captured_destination(DESTINATIONS[0]), Destination { config, ..destination(1) });

    let key = DestinationKey("[2001:db8:1::1]:53".parse().unwrap());
    let tunnel =
        Tunnel { kind: TunnelKind::Gue { port: 6080.try_into().unwrap() }, checksum: TunnelChecksum::Remote };
    let config = DestinationConfig { forward: Forward::Tunnel(tunnel), ..weight(0) };
    assert_eq!(captured_destination(DESTINATIONS[1]), Destination { key, config, ..destination(1) });
}

#[test]
fn the_information_that_a_kernel_gave() {
    let info = Info::try_from(parse(&hex(INFO))).unwrap();
    assert_eq!(
        info,
        Info { version: Version(0x0001_0201), connection_table_size: 4096, unknown: Vec::new() }
    );
}

#[test]
fn a_dump_of_destinations_is_asked_for_as_ipvsadm_does() {
    let captured = hex(include_str!("captured/request_destinations.hex"));
    let sequence = u32::from_le_bytes(captured[8..12].try_into().unwrap());
    let mut request = request::list_destinations(&key()).encode(0x20, sequence);
    // Its port number, which is left to the kernel here, and NLM_F_ACK, which a dump does not need.
    request[12..16].copy_from_slice(&captured[12..16]);
    request[6] |= 0x04;
    assert_eq!(request, captured);
}

#[test]
fn a_service_is_created_with_these_bytes() {
    let expected = hex("
        68000000 2500 0500 01000000 00000000  01 01 0000
        5400 0180
          0600 0100 0200 0000
          0600 0200 1100 0000
          1400 0300 c0000235 00000000 00000000 00000000
          0600 0400 0035 0000
          0700 0600 727200 00
          0c00 0700 04000000 ffffffff
          0800 0800 00000000
          0800 0900 ffffffff");
    assert_eq!(request::add_service(&key(), &config()).unwrap().encode(FAMILY, 1), expected);
}

#[test]
fn an_ipv6_service_has_a_prefix_length_and_its_engine() {
    let key = ServiceKey::udp("[2001:db8::53]:5060".parse().unwrap());
    let config = ServiceConfig {
        netmask: Netmask::V6(64),
        timeout: 300,
        persistence_engine: Some("sip".parse().unwrap()),
        ..ServiceConfig::new("wrr".parse().unwrap(), key.family())
    };
    let expected = hex("
        70000000 2500 0500 02000000 00000000  02 01 0000
        5c00 0180
          0600 0100 0a00 0000
          0600 0200 1100 0000
          1400 0300 20010db8 00000000 00000000 00000053
          0600 0400 13c4 0000
          0800 0600 77727200
          0c00 0700 00000000 ffffffff
          0800 0800 2c010000
          0800 0900 40000000
          0800 0b00 73697000");
    assert_eq!(request::set_service(&key, &config).unwrap().encode(FAMILY, 2), expected);
}

#[test]
fn a_destination_is_changed_with_these_bytes() {
    let config = DestinationConfig { upper_threshold: 9, lower_threshold: 2, ..weight(0) };
    let expected = hex("
        8c000000 2500 0500 03000000 00000000  06 01 0000
        3000 0180
          0600 0100 0200 0000
          0600 0200 1100 0000
          1400 0300 c0000235 00000000 00000000 00000000
          0600 0400 0035 0000
        4800 0280
          0600 0b00 0200 0000
          1400 0100 0a000001 00000000 00000000 00000000
          0600 0200 14b4 0000
          0800 0300 00000000
          0800 0400 00000000
          0800 0500 09000000
          0800 0600 02000000");
    assert_eq!(request::set_destination(&key(), &server(1), &config).encode(FAMILY, 3), expected);
}
