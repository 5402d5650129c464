//! Tests of the crate without a kernel, and the answers that a kernel would give.

mod conversation;
mod exchange;
mod fake;
mod golden;
mod header;
mod kernels;
mod properties;
mod verbs;
mod window;

use netlink_packet_core::{
    Emitable, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader,
};
use netlink_packet_generic::GenlMessage;

use crate::wire::{Attribute, Command, Message};
use crate::{
    Destination, DestinationConfig, DestinationKey, Flags, Forward, Service, ServiceConfig, ServiceKey, Stats,
};

/// The family's id in these tests.
const FAMILY: u16 = 0x25;

/// A netlink message, padded as the kernel pads it.
fn netlink(message_type: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.length = 16 + payload.len() as u32;
    header.message_type = message_type;
    header.flags = flags;
    header.sequence_number = sequence;
    let mut bytes = vec![0; 16];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An acknowledgement: 0, or a refusal with `errno`.
fn ack(sequence: u32, errno: i32) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend(netlink(FAMILY, 0, sequence, &[]));
    netlink(NLMSG_ERROR, NLM_F_CAPPED, sequence, &payload)
}

/// A refusal with the extended acknowledgement's text, as the kernel gives it when it quotes `quoted` whole or capped.
fn ack_with_text(sequence: u32, errno: i32, text: &str, quoted: &[u8], capped: bool) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend_from_slice(if capped { &quoted[..16] } else { quoted });
    payload.extend(text_attribute(text));
    let capped = if capped { NLM_F_CAPPED } else { 0 };
    netlink(NLMSG_ERROR, NLM_F_ACK_TLVS | capped, sequence, &payload)
}

/// `NLMSGERR_ATTR_MSG`, behind an attribute that must be skipped (`NLMSGERR_ATTR_OFFS`).
fn text_attribute(text: &str) -> Vec<u8> {
    let mut bytes = vec![8, 0, 2, 0, 20, 0, 0, 0];
    bytes.extend((5 + text.len() as u16).to_ne_bytes());
    bytes.extend([1, 0]);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The end of a dump: 0, or a failure with `errno`.
fn done(sequence: u32, errno: i32) -> Vec<u8> {
    netlink(NLMSG_DONE, NLM_F_MULTIPART, sequence, &(-errno).to_ne_bytes())
}

/// The controller's answer to GETFAMILY: the attributes around the id must be skipped.
fn family(sequence: u32, id: u16) -> Vec<u8> {
    let mut payload = vec![1, 2, 0, 0, 9, 0, 2, 0, b'I', b'P', b'V', b'S', 0, 0, 0, 0, 6, 0, 1, 0];
    payload.extend(id.to_ne_bytes());
    payload.extend([0, 0]);
    netlink(0x10, 0, sequence, &payload)
}

/// A message of the family, with these netlink flags.
fn ipvs(sequence: u32, flags: u16, message: Message) -> Vec<u8> {
    let message = GenlMessage::from_payload(message);
    let mut payload = vec![0; message.buffer_len()];
    message.emit(&mut payload);
    netlink(FAMILY, flags, sequence, &payload)
}

fn service_message(sequence: u32, flags: u16, service: &Service) -> Vec<u8> {
    let attributes = vec![Attribute::Service(service.clone().into())];
    ipvs(sequence, flags, Message { command: Command::NewService, attributes })
}

fn destination_message(sequence: u32, flags: u16, destination: &Destination) -> Vec<u8> {
    let attributes = vec![Attribute::Destination(destination.clone().into())];
    ipvs(sequence, flags, Message { command: Command::NewDestination, attributes })
}

fn key() -> ServiceKey {
    ServiceKey::udp("192.0.2.53:53".parse().unwrap())
}

fn config() -> ServiceConfig {
    let flags = Flags::exactly(Flags::ONE_PACKET);
    ServiceConfig { flags, ..ServiceConfig::new("rr".parse().unwrap(), key().family()) }
}

fn service() -> Service {
    Service { key: key(), config: config(), stats: Stats::default(), unknown: Vec::new() }
}

/// The server `number`.
fn server(number: u8) -> DestinationKey {
    DestinationKey(([10, 0, 0, number], 5300).into())
}

fn weight(weight: u32) -> DestinationConfig {
    DestinationConfig { forward: Forward::Masquerade, weight, upper_threshold: 0, lower_threshold: 0 }
}

fn destination(number: u8) -> Destination {
    Destination {
        key: server(number),
        config: weight(1),
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats::default(),
        unknown: Vec::new(),
    }
}
