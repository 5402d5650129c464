//! Many changes in one send, without I/O: one result for each.

use crate::exchange::Exchange;
use crate::frame::frames;
use crate::{Error, Operation, Request, Result};

/// How many changes a client sends at once before it reads the answers.
///
/// An acknowledgement takes up to 1 KiB of the socket's receive buffer (200 KiB unless configured), so that the
/// answers of a window always fit.
pub(crate) const WINDOW: usize = 64;

pub(crate) struct Window {
    first: u32,
    slots: Vec<Slot>,
}

enum Slot {
    Waiting(Exchange<()>),
    Answered(Result<()>),
}

impl Window {
    /// The window for `requests`, numbered from `first` on, and what to send.
    pub fn new(requests: &[Request<()>], family: u16, first: u32) -> (Self, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut slots = Vec::with_capacity(requests.len());
        for (request, index) in requests.iter().zip(0..) {
            let sequence = first.wrapping_add(index);
            bytes.extend(request.encode(family, sequence));
            slots.push(Slot::Waiting(Exchange::new(request, sequence)));
        }
        (Self { first, slots }, bytes)
    }

    /// Whether every request has its result.
    pub fn is_complete(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Answered(_)))
    }

    /// Takes one datagram.
    pub fn feed(&mut self, datagram: &[u8]) {
        for frame in frames(datagram) {
            match frame {
                Ok(frame) => {
                    let index = frame.sequence.wrapping_sub(self.first) as usize;
                    if let Some(Slot::Waiting(exchange)) = self.slots.get_mut(index)
                        && let Some(result) = exchange.take(frame)
                    {
                        self.slots[index] = Slot::Answered(result);
                        // The kernel works in order, and stays silent about a request that a signal broke off.
                        let reason = "the kernel passed it over";
                        self.fail(index, |operation| Error::Interrupted { operation, reason });
                    }
                }
                Err(source) => {
                    self.fail(self.slots.len(), |operation| Error::Decode {
                        operation,
                        source: source.clone(),
                    });
                }
            }
        }
    }

    /// The results, in the order of the requests; `unanswered` is that of a request without an answer.
    pub fn results(self, unanswered: impl Fn(Operation) -> Error) -> Vec<Result<()>> {
        let result = |slot| match slot {
            Slot::Answered(result) => result,
            Slot::Waiting(exchange) => Err(unanswered(exchange.operation())),
        };
        self.slots.into_iter().map(result).collect()
    }

    /// Gives every request before `end` that has no result yet this error.
    fn fail(&mut self, end: usize, error: impl Fn(Operation) -> Error) {
        for slot in &mut self.slots[..end] {
            if let Slot::Waiting(exchange) = slot {
                *slot = Slot::Answered(Err(error(exchange.operation())));
            }
        }
    }
}
