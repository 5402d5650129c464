//! What one verb takes, with a kernel that answers from a function.

use netlink_packet_core::{NLM_F_DUMP_INTR, NLM_F_MULTIPART, NetlinkBuffer};

use super::*;
use crate::answer::Answer;
use crate::conversation::{Conversation, Session, Step};
use crate::{Error, Request, Result, Verb, request};

/// What the kernel gets to see: the message type, the command and the sequence number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Asked {
    family: u16,
    command: u8,
    sequence: u32,
}

const CONTROLLER: u16 = 0x10;
const GET_SERVICE: u8 = 4;
const NEW_SERVICE: u8 = 1;
const GET_DEST: u8 = 8;

/// Has a conversation with `kernel`, which answers each message with datagrams; all that was asked is noted.
struct Talk<K> {
    session: Session,
    kernel: K,
    asked: Vec<(u16, u8)>,
}

impl<K: FnMut(Asked) -> Vec<Vec<u8>>> Talk<K> {
    fn new(kernel: K) -> Self {
        Self { session: Session::default(), kernel, asked: Vec::new() }
    }

    fn about<R: Answer>(&mut self, request: Request<R>) -> Result<R> {
        let (mut conversation, mut bytes) = Conversation::start(&mut self.session, request);
        loop {
            let header = NetlinkBuffer::new_checked(&bytes[..]).unwrap();
            let (family, sequence) = (header.message_type(), header.sequence_number());
            let asked = Asked { family, command: bytes[16], sequence };
            self.asked.push((asked.family, asked.command));
            conversation.sent();
            let mut datagrams = (self.kernel)(asked).into_iter();
            bytes = loop {
                let datagram = datagrams.next().expect("the kernel answers enough");
                match conversation.feed(&datagram) {
                    Step::Send(bytes) => break bytes,
                    Step::Receive => {}
                    Step::End(result) => return result,
                }
            };
        }
    }
}

/// The controller's part: the family has this id.
fn resolved(asked: Asked, id: u16) -> Vec<Vec<u8>> {
    vec![family(asked.sequence, id), ack(asked.sequence, 0)]
}

#[test]
fn the_family_is_resolved_once() {
    let mut talk = Talk::new(|asked| match asked.family {
        CONTROLLER => resolved(asked, FAMILY),
        _ => vec![ack(asked.sequence, 0)],
    });
    talk.about(request::add_service(&key(), &config())).unwrap();
    talk.about(request::add_service(&key(), &config())).unwrap();
    assert_eq!(talk.asked, [(CONTROLLER, 3), (FAMILY, NEW_SERVICE), (FAMILY, NEW_SERVICE)]);
    assert!(!talk.session.unread);
}

#[test]
fn a_kernel_without_the_family_has_no_ipvs() {
    let mut talk = Talk::new(|asked| vec![ack(asked.sequence, 2)]);
    assert!(matches!(talk.about(request::list_services()), Err(Error::NotInKernel)));
}

#[test]
fn a_family_that_moved_is_followed() {
    let mut moved = 0x30;
    let mut talk = Talk::new(|asked| match asked.family {
        CONTROLLER => {
            moved += 1;
            resolved(asked, moved)
        }
        0x32 => vec![ack(asked.sequence, 0)],
        _ => vec![ack(asked.sequence, 2)],
    });
    talk.session.family = Some(0x31);
    talk.about(request::add_service(&key(), &config())).unwrap_err();
    talk.about(request::add_service(&key(), &config())).unwrap();
    assert_eq!(talk.session.family, Some(0x32));
}

#[test]
fn enoent_of_a_family_that_stayed_is_meant() {
    let mut talk = Talk::new(|asked| match asked.family {
        CONTROLLER => resolved(asked, FAMILY),
        _ => vec![ack(asked.sequence, 2)],
    });
    talk.session.family = Some(FAMILY);
    let result = talk.about(request::add_service(&key(), &config()));
    assert!(matches!(result, Err(Error::NoSuchScheduler(_))), "{result:?}");
    assert_eq!(talk.asked, [(FAMILY, NEW_SERVICE), (CONTROLLER, 3)]);
}

#[test]
fn an_interrupted_dump_is_asked_for_again_a_few_times() {
    for failures in 0..6 {
        let mut left = failures;
        let mut talk = Talk::new(|asked| {
            let flags = NLM_F_MULTIPART | if left > 0 { NLM_F_DUMP_INTR } else { 0 };
            left -= 1;
            vec![service_message(asked.sequence, flags, &service()), done(asked.sequence, 0)]
        });
        talk.session.family = Some(FAMILY);
        let result = talk.about(request::list_services());
        match failures {
            0..4 => assert_eq!(result.unwrap(), [service()]),
            _ => assert!(matches!(result, Err(Error::Interrupted { .. })), "{result:?}"),
        }
        assert_eq!(talk.session.unread, failures >= 4);
    }
}

#[test]
fn an_overrun_asks_again_for_a_dump_and_never_for_a_change() {
    let mut session = Session::default();
    session.family = Some(FAMILY);
    let (mut dump, _) = Conversation::start(&mut session, request::list_services());
    dump.sent();
    assert!(matches!(dump.overrun(), Step::Send(_)));
    assert!(dump.must_drain());
    let (mut change, _) = Conversation::start(&mut session, request::delete_service(&key()));
    change.sent();
    assert!(matches!(change.overrun(), Step::End(Err(Error::Interrupted { .. }))));
}

#[test]
fn an_empty_list_of_destinations_is_confirmed() {
    for exists in [true, false] {
        let mut talk = Talk::new(|asked| match (asked.command, exists) {
            (GET_DEST, _) => vec![done(asked.sequence, 0)],
            (GET_SERVICE, true) => {
                vec![service_message(asked.sequence, 0, &service()), ack(asked.sequence, 0)]
            }
            _ => vec![ack(asked.sequence, 3)],
        });
        talk.session.family = Some(FAMILY);
        let result = talk.about(request::list_destinations(&key()));
        assert_eq!(talk.asked, [(FAMILY, GET_DEST), (FAMILY, GET_SERVICE)]);
        match (exists, result) {
            (true, result) => assert_eq!(result.unwrap(), []),
            (false, Err(Error::NoSuchService(refusal))) => {
                assert_eq!(refusal.operation.verb, Verb::ListDestinations);
                assert_eq!(refusal.operation.service, Some(key()));
            }
            (false, other) => panic!("{other:?}"),
        }
        assert!(!talk.session.unread);
    }
}
