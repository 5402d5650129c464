//! One request and its answer, without I/O: datagrams go in, the result comes out.

use crate::answer::{Answer, Flaw};
use crate::frame::{Content, Frame, frames};
use crate::{Error, Operation, Refusal, Request, Result};

/// Reads the answer to one [`Request`] out of the datagrams that a netlink socket receives.
///
/// Messages that carry another sequence number (late answers to something earlier) are skipped.
#[derive(Debug)]
pub struct Exchange<R: Answer> {
    operation: Operation,
    sequence: u32,
    dump: bool,
    partial: R::Partial,
}

impl<R: Answer> Exchange<R> {
    /// For the answer to `request`, which was sent with `sequence`.
    pub fn new(request: &Request<R>, sequence: u32) -> Self {
        Self {
            operation: request.operation(),
            sequence,
            dump: request.is_dump(),
            partial: R::Partial::default(),
        }
    }

    /// Takes one datagram; some result ends the exchange.
    ///
    /// After [`Error::Interrupted`] or [`Error::Decode`] more of the answer may be on its way; what then still
    /// comes must be received before a dump is asked for on the same socket (the kernel allows one at a time).
    pub fn feed(&mut self, datagram: &[u8]) -> Option<Result<R>> {
        for frame in frames(datagram) {
            let result = match frame {
                Ok(frame) if frame.sequence != self.sequence => None,
                Ok(frame) => self.take(frame),
                Err(source) => Some(Err(Error::Decode { operation: self.operation, source })),
            };
            if result.is_some() {
                return result;
            }
        }
        None
    }

    /// Takes one frame that is known to carry the sequence number.
    pub(crate) fn take(&mut self, frame: Frame<'_>) -> Option<Result<R>> {
        if frame.interrupted {
            return Some(Err(self.interrupted("the table changed while it was dumped")));
        }
        match (frame.content, self.dump) {
            (Content::Ack { errno, text } | Content::Done { errno, text }, _) if errno != 0 => {
                Some(Err(Error::refused(Refusal { operation: self.operation, errno, message: text })))
            }
            // Only its own kind of end ends an answer: an early one would make a dump look short.
            (Content::Ack { .. }, false) | (Content::Done { .. }, true) => {
                let partial = std::mem::take(&mut self.partial);
                Some(R::finish(partial).map_err(|flaw| self.flawed(flaw)))
            }
            (Content::Ack { .. } | Content::Done { .. } | Content::Nothing, _) => None,
            (Content::Overrun, _) => Some(Err(self.interrupted("the kernel dropped a part of it"))),
            (Content::Payload(payload), _) => {
                R::gather(&mut self.partial, payload).err().map(|flaw| Err(self.flawed(flaw)))
            }
        }
    }

    /// What is asked.
    pub(crate) fn operation(&self) -> Operation {
        self.operation
    }

    fn interrupted(&self, reason: &'static str) -> Error {
        Error::Interrupted { operation: self.operation, reason }
    }

    fn flawed(&self, flaw: Flaw) -> Error {
        match flaw {
            Flaw::Decode(source) => Error::Decode { operation: self.operation, source },
            Flaw::Repeated => self.interrupted("an entry came twice"),
        }
    }
}
