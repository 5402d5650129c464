//! What a kernel answers becomes the values that were made, and goes back into the same bytes.

use netlink_packet_core::Emitable;

use super::*;
use crate::answer::Answer;
use crate::wire::{DestinationAttribute, ServiceAttribute};
use crate::{Error, Exchange, Info, Name, Request, Result, Version, request};

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
