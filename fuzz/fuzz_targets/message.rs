//! Any bytes that are a message of the family are the same message again once they were emitted, and so are the values.

#![no_main]

use ipvs_netlink::wire::{Attribute, Message};
use ipvs_netlink::{Daemon, Destination, Info, Service, Timeouts};
use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::GenlHeader;

fn parse(command: u8, bytes: &[u8]) -> Option<Message> {
    Message::parse_with_param(bytes, GenlHeader { cmd: command, version: 1 }).ok()
}

fn emit(message: &Message) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// Whether a value survives being attributes.
fn survives<A: Clone, V: TryFrom<Vec<A>> + Into<Vec<A>> + Clone + PartialEq>(attributes: &[A]) -> bool {
    match V::try_from(attributes.to_vec()) {
        Ok(value) => V::try_from(value.clone().into()).is_ok_and(|again| again == value),
        Err(_) => true,
    }
}

libfuzzer_sys::fuzz_target!(|input: (u8, Vec<u8>)| {
    let (command, bytes) = input;
    let Some(message) = parse(command, &bytes) else { return };
    assert!(parse(command, &emit(&message)).is_some_and(|again| again == message), "{message:?}");
    for attribute in &message.attributes {
        assert!(match attribute {
            Attribute::Service(nest) => survives::<_, Service>(nest),
            Attribute::Destination(nest) => survives::<_, Destination>(nest),
            Attribute::Daemon(nest) => survives::<_, Daemon>(nest),
            _ => true,
        });
    }
    if let Ok(info) = Info::try_from(message.clone()) {
        assert!(Info::try_from(Message::from(info.clone())).is_ok_and(|again| again == info));
    }
    let timeouts = Timeouts::from(message);
    assert_eq!(Timeouts::from(Message::from(timeouts.clone())), timeouts);
});
