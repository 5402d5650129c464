//! What an exchange makes of the datagrams that it is fed.

use netlink_packet_core::{
    NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
};

use super::*;
use crate::{DecodeError, Error, Exchange, Result, request};

const SEQUENCE: u32 = 7;

fn entry(number: u8) -> Vec<u8> {
    destination_message(SEQUENCE, NLM_F_MULTIPART, &destination(number))
}

/// What a dump of destinations comes to; no datagram before the last may end it.
fn dump(datagrams: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut exchange = Exchange::new(&request::list_destinations(&key()), SEQUENCE);
    let (last, first) = datagrams.split_last().unwrap();
    for datagram in first {
        assert!(exchange.feed(datagram).is_none(), "ended early");
    }
    let destinations = exchange.feed(last).expect("the last datagram ends it")?;
    Ok(destinations
        .iter()
        .map(|destination| match destination.key.0 {
            std::net::SocketAddr::V4(v4) => v4.ip().octets()[3],
            std::net::SocketAddr::V6(v6) => panic!("{v6}"),
        })
        .collect())
}

fn change(datagram: &[u8]) -> Option<Result<()>> {
    Exchange::new(&request::delete_service(&key()), SEQUENCE).feed(datagram)
}

fn is_interrupted<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Interrupted { .. }))
}

#[test]
fn a_dump_is_what_came_before_its_done() {
    let datagrams = [[entry(1), entry(2)].concat(), entry(3), done(SEQUENCE, 0)];
    assert_eq!(dump(&datagrams).unwrap(), [1, 2, 3]);
    assert_eq!(dump(&[[entry(1), done(SEQUENCE, 0)].concat()]).unwrap(), [1]);
    assert_eq!(dump(&[entry(1), netlink(NLMSG_DONE, 0, SEQUENCE, &[])]).unwrap(), [1]);
}

#[test]
fn a_dump_whose_done_carries_an_error_failed() {
    let error = dump(&[entry(1), done(SEQUENCE, 12)]).unwrap_err();
    assert!(matches!(&error, Error::Kernel(refusal) if refusal.errno == 12), "{error:?}");
    assert_eq!(error.operation().unwrap().service, Some(key()));
    assert!(matches!(dump(&[ack(SEQUENCE, 1)]), Err(Error::NotPermitted(_))));
}

#[test]
fn a_code_that_has_no_opposite_is_an_error_too() {
    let datagram = netlink(NLMSG_DONE, NLM_F_MULTIPART, SEQUENCE, &i32::MIN.to_ne_bytes());
    assert_eq!(dump(&[datagram]).unwrap_err().errno(), Some(i32::MAX));
    let datagram = netlink(NLMSG_ERROR, 0, SEQUENCE, &i32::MIN.to_ne_bytes());
    assert_eq!(change(&datagram).unwrap().unwrap_err().errno(), Some(i32::MAX));
}

#[test]
fn an_acknowledgement_does_not_end_a_dump_nor_done_a_change() {
    assert_eq!(dump(&[entry(1), ack(SEQUENCE, 0), entry(2), done(SEQUENCE, 0)]).unwrap(), [1, 2]);
    assert!(change(&done(SEQUENCE, 0)).is_none());
}

#[test]
fn a_dump_that_the_kernel_calls_interrupted_is() {
    let marked = destination_message(SEQUENCE, NLM_F_MULTIPART | NLM_F_DUMP_INTR, &destination(2));
    assert!(is_interrupted(dump(&[entry(1), marked])));
    let done = netlink(NLMSG_DONE, NLM_F_MULTIPART | NLM_F_DUMP_INTR, SEQUENCE, &0i32.to_ne_bytes());
    assert!(is_interrupted(dump(&[entry(1), done])));
    assert!(is_interrupted(dump(&[entry(1), netlink(NLMSG_OVERRUN, 0, SEQUENCE, &[])])));
}

#[test]
fn a_dump_with_an_entry_twice_is_interrupted() {
    assert!(is_interrupted(dump(&[entry(1), entry(2), entry(1), done(SEQUENCE, 0)])));
    let mut services = Exchange::new(&request::list_services(), SEQUENCE);
    let entry = service_message(SEQUENCE, NLM_F_MULTIPART, &service());
    assert!(services.feed(&entry).is_none());
    assert!(services.feed(&entry).is_none());
    assert!(is_interrupted(services.feed(&done(SEQUENCE, 0)).unwrap()));
}

#[test]
fn answers_to_something_else_are_skipped() {
    let stale = destination_message(SEQUENCE - 1, NLM_F_MULTIPART, &destination(9));
    let datagrams = [stale, ack(SEQUENCE - 1, 17), done(SEQUENCE - 1, 0), entry(1), done(SEQUENCE, 0)];
    assert_eq!(dump(&datagrams).unwrap(), [1]);
    assert!(change(&ack(SEQUENCE + 1, 0)).is_none());
    assert!(change(&netlink(NLMSG_NOOP, 0, SEQUENCE, &[])).is_none());
}

#[test]
fn a_truncated_datagram_cannot_be_read() {
    let whole = entry(1);
    for length in 1..whole.len() {
        let error = dump(&[whole[..length].to_vec()]).unwrap_err();
        assert!(matches!(error, Error::Decode { .. }), "{length}: {error:?}");
    }
}

#[test]
fn a_change_is_acknowledged_or_refused() {
    assert!(matches!(change(&ack(SEQUENCE, 0)), Some(Ok(()))));
    assert!(matches!(change(&ack(SEQUENCE, 3)), Some(Err(Error::NoSuchService(_)))));
    let message = service_message(SEQUENCE, 0, &service());
    assert!(matches!(change(&message), Some(Err(Error::Decode { .. }))));
}

#[test]
fn a_get_is_the_message_before_the_acknowledgement() {
    let mut exchange = Exchange::new(&request::get_service(&key()), SEQUENCE);
    assert!(exchange.feed(&service_message(SEQUENCE, 0, &service())).is_none());
    assert_eq!(exchange.feed(&ack(SEQUENCE, 0)).unwrap().unwrap(), service());

    let mut exchange = Exchange::new(&request::get_service(&key()), SEQUENCE);
    let error = exchange.feed(&ack(SEQUENCE, 0)).unwrap().unwrap_err();
    let missing = DecodeError::Missing("IPVS_CMD_ATTR_SERVICE");
    assert!(matches!(&error, Error::Decode { source, .. } if *source == missing), "{error:?}");
}

#[test]
fn a_missing_attribute_is_named() {
    use crate::wire::DestinationAttribute::Weight;
    let mut attributes: Vec<_> = destination(1).into();
    attributes.retain(|attribute| !matches!(attribute, Weight(_)));
    let attributes = vec![Attribute::Destination(attributes)];
    let message = ipvs(SEQUENCE, 0, Message { command: Command::NewDestination, attributes });
    assert_eq!(
        dump(&[message]).unwrap_err().to_string(),
        "cannot list the destinations of service UDP 192.0.2.53:53: the kernel's answer cannot be read: \
         the attribute IPVS_DEST_ATTR_WEIGHT is missing"
    );
}

#[test]
fn the_text_of_the_extended_acknowledgement_is_kept() {
    let request = request::delete_service(&key()).encode(FAMILY, SEQUENCE);
    for capped in [true, false] {
        let datagram = ack_with_text(SEQUENCE, 22, "Attribute failed policy validation", &request, capped);
        let error = change(&datagram).unwrap().unwrap_err();
        assert!(error.to_string().ends_with("(os error 22): Attribute failed policy validation"), "{error}");
    }
    let mut payload = (-22i32).to_ne_bytes().to_vec();
    payload.extend(text_attribute("no"));
    let error =
        dump(&[netlink(NLMSG_DONE, NLM_F_MULTIPART | NLM_F_ACK_TLVS, SEQUENCE, &payload)]).unwrap_err();
    assert!(error.to_string().ends_with("(os error 22): no"), "{error}");
}
