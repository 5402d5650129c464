//! All that one verb takes, without I/O: resolving the family, asking, asking again, making sure.
//!
//! ```text
//!             family unknown                            answer doubtful
//! start ──┬───────────────────> Resolve ──> Ask ──┬────────────────────> Confirm ──> end
//!         └───────────────────────────────> ↑  │  └──────────────────────────────> end
//!                                  Resolve <┴──┘ ENOENT: is the family's id still right? (once)
//!                                          Ask again: a dump was interrupted (a few times)
//! ```

use crate::answer::{Answer, FamilyId};
use crate::exchange::Exchange;
use crate::request::{Request, get_service, resolve_family};
use crate::{Error, Result, Service, Verb};

/// How often an interrupted dump is asked for before the interruption is the answer.
const ATTEMPTS: u32 = 4;

/// What a client remembers from one conversation to the next.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The id of the family; unknown before the first conversation.
    pub family: Option<u16>,
    /// Whether an answer was left unread: what is still in the socket must be received before the next request.
    pub unread: bool,
    sequence: u32,
}

impl Session {
    /// `count` fresh sequence numbers; the first of them.
    pub fn sequences(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }
}

/// What the client has to do next.
#[derive(Debug)]
pub(crate) enum Step<R> {
    /// Send this (after what is unread has been received), then receive.
    Send(Vec<u8>),
    /// Receive one more datagram.
    Receive,
    /// It is over.
    End(Result<R>),
}

pub(crate) struct Conversation<'a, R: Answer> {
    session: &'a mut Session,
    request: Request<R>,
    stage: Stage<R>,
    attempts: u32,
    resolved: bool,
}

enum Stage<R: Answer> {
    /// Resolving the family, because of this refusal if there is one.
    Resolve(Exchange<FamilyId>, Option<Error>),
    Ask(Exchange<R>),
    /// Asking for the service that this answer is about.
    Confirm(Exchange<Service>, R),
    Ended,
}

impl<'a, R: Answer> Conversation<'a, R> {
    /// The conversation, and what to send first.
    pub fn start(session: &'a mut Session, request: Request<R>) -> (Self, Vec<u8>) {
        let mut conversation = Self { session, request, stage: Stage::Ended, attempts: 0, resolved: false };
        let bytes = match conversation.session.family {
            Some(family) => conversation.ask(family),
            // The controller's own id is fixed.
            None if conversation.request.operation().verb == Verb::ResolveFamily => conversation.ask(0),
            None => conversation.resolve(None),
        };
        (conversation, bytes)
    }

    /// Whether what is in the socket must be received before the next send.
    pub fn must_drain(&self) -> bool {
        self.session.unread
    }

    /// The client has sent what it was given: there will be something to read.
    pub fn sent(&mut self) {
        self.session.unread = true;
    }

    /// One datagram was received.
    pub fn feed(&mut self, datagram: &[u8]) -> Step<R> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Resolve(mut exchange, doubt) => match exchange.feed(datagram) {
                None => self.stay(Stage::Resolve(exchange, doubt)),
                Some(result) => self.resolution(result, doubt),
            },
            Stage::Ask(mut exchange) => match exchange.feed(datagram) {
                None => self.stay(Stage::Ask(exchange)),
                Some(result) => self.answer(result),
            },
            Stage::Confirm(mut exchange, answer) => match exchange.feed(datagram) {
                None => self.stay(Stage::Confirm(exchange, answer)),
                Some(result) => self.end(result.map(|_| answer)),
            },
            Stage::Ended => Step::Receive,
        }
    }

    /// The socket's receive buffer ran over (ENOBUFS): the answer may be among what was dropped.
    pub fn overrun(&mut self) -> Step<R> {
        let reason = "the receive buffer ran over";
        self.answer(Err(Error::Interrupted { operation: self.request.operation(), reason }))
    }

    fn stay(&mut self, stage: Stage<R>) -> Step<R> {
        self.stage = stage;
        Step::Receive
    }

    fn ask(&mut self, family: u16) -> Vec<u8> {
        let sequence = self.session.sequences(1);
        self.attempts += 1;
        self.stage = Stage::Ask(Exchange::new(&self.request, sequence));
        self.request.encode(family, sequence)
    }

    fn resolve(&mut self, doubt: Option<Error>) -> Vec<u8> {
        let request = resolve_family();
        let sequence = self.session.sequences(1);
        self.resolved = true;
        self.stage = Stage::Resolve(Exchange::new(&request, sequence), doubt);
        request.encode(0, sequence)
    }

    fn resolution(&mut self, result: Result<FamilyId>, doubt: Option<Error>) -> Step<R> {
        let FamilyId(family) = match result {
            Ok(family) => family,
            Err(error) => {
                self.session.family = None;
                return self.end(Err(error));
            }
        };
        self.session.unread = false;
        match (self.session.family.replace(family), doubt) {
            // The id was right: the refusal was meant.
            (Some(before), Some(refusal)) if before == family => self.end(Err(refusal)),
            _ => Step::Send(self.ask(family)),
        }
    }

    fn answer(&mut self, result: Result<R>) -> Step<R> {
        match result {
            Err(refusal) if refusal.may_be_stale_family() && !self.resolved => {
                self.session.unread = false;
                Step::Send(self.resolve(Some(refusal)))
            }
            Err(Error::Interrupted { .. }) if self.request.is_dump() && self.attempts < ATTEMPTS => {
                match self.session.family {
                    Some(family) => Step::Send(self.ask(family)),
                    None => Step::Send(self.resolve(None)),
                }
            }
            Ok(answer) if answer.is_doubtful() => self.confirm(answer),
            result => self.end(result),
        }
    }

    fn confirm(&mut self, answer: R) -> Step<R> {
        let operation = self.request.operation();
        let (Some(service), Some(family)) = (operation.service, self.session.family) else {
            return self.end(Ok(answer));
        };
        self.session.unread = false;
        let request = get_service(&service).on_behalf_of(operation);
        let sequence = self.session.sequences(1);
        self.stage = Stage::Confirm(Exchange::new(&request, sequence), answer);
        Step::Send(request.encode(family, sequence))
    }

    fn end(&mut self, result: Result<R>) -> Step<R> {
        // A value and a refusal came last in their answers; after any other error there may be more to read.
        self.session.unread = result.as_ref().is_err_and(|error| error.errno().is_none());
        Step::End(result)
    }
}
