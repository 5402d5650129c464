//! Many changes in one send.

use super::*;
use crate::frame::frames;
use crate::window::Window;
use crate::{Error, Operation, Request, Result, request};

const FIRST: u32 = u32::MAX - 1;

fn requests() -> Vec<Request<()>> {
    (0..4).map(|number| request::add_destination(&key(), &server(number), &weight(1))).collect()
}

fn timeout(operation: Operation) -> Error {
    Error::Timeout { operation, after: std::time::Duration::from_secs(1) }
}

/// Feeds the acknowledgements (index, errno) one a datagram.
fn answered(acks: &[(u32, i32)]) -> (bool, Vec<Result<()>>) {
    let (mut window, _) = Window::new(&requests(), FAMILY, FIRST);
    for (index, errno) in acks {
        assert!(!window.is_complete());
        window.feed(&ack(FIRST.wrapping_add(*index), *errno));
    }
    (window.is_complete(), window.results(timeout))
}

#[test]
fn the_bytes_are_whole_messages_one_after_the_other() {
    let (_, bytes) = Window::new(&requests(), FAMILY, FIRST);
    let sequences: Vec<_> = frames(&bytes).map(|frame| frame.unwrap().sequence).collect();
    assert_eq!(sequences, [FIRST, u32::MAX, 0, 1]);
}

#[test]
fn each_request_has_its_own_result() {
    let (complete, results) = answered(&[(0, 0), (1, 17), (2, 3), (3, 0)]);
    assert!(complete);
    assert!(
        matches!(&results[..], [Ok(()), Err(Error::AlreadyExists(_)), Err(Error::NoSuchService(_)), Ok(())]),
        "{results:?}"
    );
    assert_eq!(results[1].as_ref().unwrap_err().operation().unwrap().destination, Some(server(1)));
}

#[test]
fn what_the_kernel_passes_over_is_not_waited_for() {
    let (complete, results) = answered(&[(0, 0), (3, 0)]);
    assert!(complete);
    assert!(
        matches!(
            &results[..],
            [Ok(()), Err(Error::Interrupted { .. }), Err(Error::Interrupted { .. }), Ok(())]
        ),
        "{results:?}"
    );
}

#[test]
fn what_is_never_answered_gets_the_reason() {
    let (complete, results) = answered(&[(0, 0), (1, 0)]);
    assert!(!complete);
    assert!(matches!(&results[..], [Ok(()), Ok(()), Err(Error::Timeout { .. }), Err(Error::Timeout { .. })]));
}

#[test]
fn foreign_and_malformed_datagrams_harm_nobody_who_is_answered() {
    let (mut window, _) = Window::new(&requests(), FAMILY, FIRST);
    window.feed(&ack(FIRST.wrapping_add(4), 0));
    window.feed(&ack(FIRST - 1, 17));
    assert!(!window.is_complete());
    window.feed(&ack(FIRST, 0));
    window.feed(&[1, 2, 3]);
    assert!(window.is_complete());
    let results = window.results(timeout);
    assert!(results[0].is_ok());
    assert!(results[1..].iter().all(|result| matches!(result, Err(Error::Decode { .. }))));
}
