//! What one verb takes, and many: with a kernel that answers from a function.

use netlink_packet_core::{NLM_F_DUMP_INTR, NLM_F_MULTIPART};

use super::fake::{Asked, CONTROLLER, Event, TIMEOUT, client};
use super::*;
use crate::uapi::*;
use crate::{Error, Verb, request};

/// The controller's part: the family has this id.
fn resolved(asked: Asked, id: u16) -> Vec<Event> {
    vec![family(asked.sequence, id).into(), ack(asked.sequence, 0).into()]
}

fn acked(asked: Asked, errno: i32) -> Vec<Event> {
    vec![ack(asked.sequence, errno).into()]
}

#[test]
fn the_family_is_resolved_once() {
    let mut client = client(|asked| match asked.family {
        CONTROLLER => resolved(asked, FAMILY),
        _ => acked(asked, 0),
    });
    client.session.family = None;
    client.ask(request::add_service(&key(), &config()).unwrap()).unwrap();
    client.ask(request::add_service(&key(), &config()).unwrap()).unwrap();
    let add = (FAMILY, IPVS_CMD_NEW_SERVICE);
    assert_eq!(client.transport.asked, [(CONTROLLER, 3), add, add]);
    assert!(!client.session.unread);
}

#[test]
fn a_kernel_without_the_family_has_no_ipvs() {
    let mut client = client(|asked| acked(asked, 2));
    client.session.family = None;
    assert!(matches!(client.ask(request::list_services()), Err(Error::NotInKernel)));
}

#[test]
fn a_family_that_moved_is_followed() {
    let mut moved = 0x30;
    let mut client = client(|asked| match asked.family {
        CONTROLLER => {
            moved += 1;
            resolved(asked, moved)
        }
        0x32 => acked(asked, 0),
        _ => acked(asked, 2),
    });
    client.session.family = Some(0x31);
    client.ask(request::add_service(&key(), &config()).unwrap()).unwrap_err();
    client.ask(request::add_service(&key(), &config()).unwrap()).unwrap();
    assert_eq!(client.session.family, Some(0x32));
}

#[test]
fn many_changes_follow_a_family_that_moved() {
    let mut client = client(|asked| match asked.family {
        CONTROLLER => resolved(asked, 0x32),
        0x32 => acked(asked, 0),
        _ => acked(asked, 2),
    });
    let results = client.ask_all(&[request::delete_service(&key()), request::zero_all()]);
    assert!(matches!(&results[..], [Ok(()), Ok(())]), "{results:?}");
}

/// Asked again behind the one that adds it, the deletion would take what is to stay.
#[test]
fn a_refused_change_among_many_is_not_made_after_later_ones() {
    let mut client = client(|asked| match (asked.family, asked.command) {
        (CONTROLLER, _) => resolved(asked, FAMILY),
        (_, IPVS_CMD_DEL_DEST) => acked(asked, 2),
        _ => acked(asked, 0),
    });
    let results = client.ask_all(&[
        request::delete_destination(&key(), &server(1)),
        request::add_destination(&key(), &server(1), &weight(1)),
    ]);
    assert!(matches!(&results[..], [Err(Error::NoSuchDestination(_)), Ok(())]), "{results:?}");
    let expected = [(FAMILY, IPVS_CMD_DEL_DEST), (FAMILY, IPVS_CMD_NEW_DEST), (CONTROLLER, 3)];
    assert_eq!(client.transport.asked, expected);
}

#[test]
fn many_changes_without_the_family_have_no_ipvs() {
    let mut client = client(|asked| acked(asked, 2));
    let results = client.ask_all(&[request::delete_service(&key()), request::zero_all()]);
    assert!(matches!(&results[..], [Err(Error::NotInKernel), Err(Error::NotInKernel)]), "{results:?}");
}

#[test]
fn enoent_of_a_family_that_stayed_is_meant() {
    let mut client = client(|asked| match asked.family {
        CONTROLLER => resolved(asked, FAMILY),
        _ => acked(asked, 2),
    });
    let result = client.ask(request::add_service(&key(), &config()).unwrap());
    assert!(matches!(result, Err(Error::NoSuchScheduler(_))), "{result:?}");
    assert_eq!(client.transport.asked, [(FAMILY, IPVS_CMD_NEW_SERVICE), (CONTROLLER, 3)]);
}

#[test]
fn an_interrupted_dump_is_asked_for_again_a_few_times() {
    for failures in 0..6 {
        let mut left = failures;
        let mut client = client(|asked| {
            let flags = NLM_F_MULTIPART | if left > 0 { NLM_F_DUMP_INTR } else { 0 };
            left -= 1;
            let first = service_message(asked.sequence, flags, &service());
            vec![first.into(), done(asked.sequence, 0).into()]
        });
        let result = client.ask(request::list_services());
        match failures {
            0..4 => assert_eq!(result.unwrap(), [service()]),
            _ => assert!(matches!(result, Err(Error::Interrupted { .. })), "{result:?}"),
        }
        assert_eq!(client.session.unread, failures >= 4);
    }
}

#[test]
fn a_dump_that_ran_over_is_asked_for_again_on_an_empty_socket() {
    let mut first = true;
    let mut client = client(|asked| {
        let rest = [
            service_message(asked.sequence, NLM_F_MULTIPART, &service()).into(),
            done(asked.sequence, 0).into(),
        ];
        let overrun = std::mem::take(&mut first).then_some(Event::Overrun);
        overrun.into_iter().chain(rest).collect()
    });
    assert_eq!(client.ask(request::list_services()).unwrap(), [service()]);
    assert_eq!((client.transport.asked.len(), client.transport.drained), (2, 2));
}

#[test]
fn a_change_that_ran_over_is_not_made_twice() {
    let mut client = client(|_| vec![Event::Overrun]);
    let result = client.ask(request::delete_service(&key()));
    assert!(matches!(result, Err(Error::Interrupted { .. })), "{result:?}");
    assert_eq!(client.transport.asked.len(), 1);
}

#[test]
fn a_dump_that_the_kernel_breaks_off_failed_and_leaves_nothing() {
    let mut client = client(|asked| {
        let first = service_message(asked.sequence, NLM_F_MULTIPART, &service());
        vec![first.into(), done(asked.sequence, 12).into()]
    });
    let error = client.ask(request::list_services()).unwrap_err();
    assert!(matches!(&error, Error::Kernel(refusal) if refusal.errno == 12), "{error:?}");
    assert!(!client.session.unread);
}

#[test]
fn what_a_timed_out_request_left_behind_harms_no_other() {
    let mut late = None;
    let mut client = client(|asked| match late.take() {
        None => {
            late = Some(asked.sequence);
            vec![Event::Silence]
        }
        // The answer to the first comes only now, and it is a refusal.
        Some(sequence) => vec![ack(sequence, 3).into(), ack(asked.sequence, 0).into()],
    });
    let error = client.ask(request::delete_service(&key())).unwrap_err();
    assert!(matches!(error, Error::Timeout { after: TIMEOUT, .. }), "{error:?}");
    assert_eq!(error.operation().unwrap().service, Some(key()));
    client.ask(request::delete_service(&key())).unwrap();
}

#[test]
fn a_window_that_times_out_or_runs_over_has_what_was_answered() {
    for (event, expected) in [(Event::Silence, "no answer"), (Event::Overrun, "ran over")] {
        let mut seen = 0;
        let mut client = client(|asked| {
            seen += 1;
            match seen {
                1 => acked(asked, 0),
                2 => vec![event.clone(), ack(asked.sequence, 0).into()],
                _ => acked(asked, 17),
            }
        });
        let results =
            client.ask_all(&[1, 2].map(|number| request::delete_destination(&key(), &server(number))));
        let [Ok(()), Err(error)] = &results[..] else { panic!("{results:?}") };
        assert!(error.to_string().contains(expected), "{error}");
        // The late answer to the second is dropped, and not taken for the next one's.
        assert!(matches!(
            client.ask(request::add_service(&key(), &config()).unwrap()),
            Err(Error::AlreadyExists(_))
        ));
        assert_eq!(client.transport.drained, 1);
    }
}

#[test]
fn what_follows_a_datagram_that_cannot_be_read_harms_no_other() {
    let mut client = client(|asked| match asked.command {
        IPVS_CMD_ZERO => vec![vec![1, 2, 3].into(), ack(asked.sequence, 0).into()],
        _ => acked(asked, 17),
    });
    let results = client.ask_all(&[request::zero_all()]);
    assert!(matches!(&results[..], [Err(Error::Decode { .. })]), "{results:?}");
    let result = client.ask(request::add_service(&key(), &config()).unwrap());
    assert!(matches!(result, Err(Error::AlreadyExists(_))), "{result:?}");
    assert_eq!(client.transport.drained, 1);
}

#[test]
fn windows_are_bounded_and_their_results_in_order() {
    let refuse = |asked: Asked| acked(asked, if asked.command == IPVS_CMD_ZERO { 3 } else { 0 });
    let mut client = client(refuse);
    let requests: Vec<_> = (0..200)
        .map(|number| match number % 50 {
            7 => request::zero_service(&key()),
            _ => request::delete_destination(&key(), &server(number)),
        })
        .collect();
    let failed: Vec<_> = client
        .ask_all(&requests)
        .iter()
        .enumerate()
        .filter_map(|(index, result)| matches!(result, Err(Error::NoSuchService(_))).then_some(index))
        .collect();
    assert_eq!(failed, [7, 57, 107, 157]);
    assert_eq!((client.transport.asked.len(), client.transport.largest_send), (200, 64));
    assert!(!client.session.unread);
}

#[test]
fn an_empty_list_of_destinations_is_confirmed() {
    for exists in [true, false] {
        let mut client = client(|asked| match (asked.command, exists) {
            (IPVS_CMD_GET_DEST, _) => vec![done(asked.sequence, 0).into()],
            (IPVS_CMD_GET_SERVICE, true) => {
                vec![service_message(asked.sequence, 0, &service()).into(), ack(asked.sequence, 0).into()]
            }
            _ => acked(asked, 3),
        });
        let result = client.ask(request::list_destinations(&key()));
        assert_eq!(client.transport.asked, [(FAMILY, IPVS_CMD_GET_DEST), (FAMILY, IPVS_CMD_GET_SERVICE)]);
        match (exists, result) {
            (true, result) => assert_eq!(result.unwrap(), []),
            (false, Err(Error::NoSuchService(refusal))) => {
                assert_eq!(refusal.operation.verb, Verb::ListDestinations);
                assert_eq!(refusal.operation.service, Some(key()));
            }
            (false, other) => panic!("{other:?}"),
        }
        assert!(!client.session.unread);
    }
}
