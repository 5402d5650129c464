//! Many changes in one send, without I/O: one result for each.

use crate::exchange::Exchange;
use crate::frame::{Frame, frames};
use crate::{Error, Operation, Request, Result};

/// How many changes a client sends at once before it reads the answers.
///
/// An acknowledgement takes up to 1 KiB of the socket's receive buffer (200 KiB unless configured), so that the
/// answers of a window always fit.
pub(crate) const WINDOW: usize = 64;

pub(crate) struct Window {
    first: u32,
    exchanges: Vec<Exchange<()>>,
    /// Those of the first requests: the kernel works in order.
    results: Vec<Result<()>>,
    torn: bool,
}

impl Window {
    /// The window for `requests`, numbered from `first` on, and what to send.
    pub fn new(requests: &[Request<()>], family: u16, first: u32) -> (Self, Vec<u8>) {
        let mut bytes = Vec::with_capacity(requests.len() * 192);
        let mut exchanges = Vec::with_capacity(requests.len());
        for (request, index) in requests.iter().zip(0..) {
            let sequence = first.wrapping_add(index);
            request.encode_into(&mut bytes, family, sequence);
            exchanges.push(Exchange::new(request, sequence));
        }
        (Self { first, exchanges, results: Vec::with_capacity(requests.len()), torn: false }, bytes)
    }

    /// Whether every request has its result.
    pub fn is_complete(&self) -> bool {
        self.results.len() == self.exchanges.len()
    }

    /// Whether a datagram could not be read, so that more answers may follow.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Takes one datagram.
    pub fn feed(&mut self, datagram: &[u8]) {
        for frame in frames(datagram) {
            match frame {
                Ok(frame) => self.take(frame),
                Err(source) => {
                    self.torn = true;
                    let unread = |operation| Error::Decode { operation, source: source.clone() };
                    self.fail(self.exchanges.len(), unread);
                }
            }
        }
    }

    /// The results, in the order of the requests; `unanswered` is that of a request without an answer.
    pub fn results(mut self, unanswered: impl Fn(Operation) -> Error) -> Vec<Result<()>> {
        self.fail(self.exchanges.len(), unanswered);
        self.results
    }

    fn take(&mut self, frame: Frame<'_>) {
        let index = frame.sequence.wrapping_sub(self.first) as usize;
        if index < self.results.len() {
            return;
        }
        if let Some(result) = self.exchanges.get_mut(index).and_then(|exchange| exchange.take(frame)) {
            // It stays silent about a request that a signal broke off.
            let reason = "the kernel passed it over";
            self.fail(index, |operation| Error::Interrupted { operation, reason });
            self.results.push(result);
        }
    }

    /// Gives every request before `end` that has no result yet this error.
    fn fail(&mut self, end: usize, error: impl Fn(Operation) -> Error) {
        let without = self.exchanges[..end].iter().skip(self.results.len());
        self.results.extend(without.map(|exchange| Err(error(exchange.operation()))));
    }
}
