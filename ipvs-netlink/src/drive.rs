//! The loops of every client, written once: over a transport that is a socket or, in tests, a fake.

use std::time::{Duration, Instant};

use crate::answer::{Answer, FamilyId};
use crate::client::Failure;
use crate::conversation::{Conversation, Session, Step};
use crate::request::resolve_family;
use crate::window::{WINDOW, Window};
use crate::{Error, Request, Result};

/// What carries datagrams to the kernel and back.
pub(crate) trait Transport {
    /// Sends.
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = std::result::Result<(), Failure>>;

    /// The next datagram; [`Failure::Timeout`] if there is none before `deadline`.
    fn receive(&mut self, deadline: Instant) -> impl Future<Output = std::result::Result<&[u8], Failure>>;

    /// Drops what has been received and not been read.
    fn drain(&mut self);
}

/// A transport, and what a client knows besides.
pub(crate) struct Link<T> {
    pub session: Session,
    pub transport: T,
    /// How long one request, or one window of them, may take.
    pub timeout: Duration,
}

/// When a request that may take so long has to be over: within a year, for the clock has an end.
fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(Duration::from_secs(365 * 24 * 60 * 60))
}

impl<T: Transport> Link<T> {
    /// One request and all that it takes.
    pub async fn converse<R: Answer>(&mut self, request: Request<R>) -> Result<R> {
        let operation = request.operation();
        let Self { session, transport, timeout } = self;
        let failed = |failure: Failure| failure.of(operation, *timeout);
        let deadline = deadline(*timeout);
        let (mut conversation, mut bytes) = Conversation::start(session, request);
        loop {
            if conversation.must_drain() {
                transport.drain();
            }
            transport.send(&bytes).await.map_err(failed)?;
            conversation.sent();
            bytes = loop {
                let step = match transport.receive(deadline).await {
                    Ok(datagram) => conversation.feed(datagram),
                    Err(Failure::Overrun) => conversation.overrun(),
                    Err(failure) => return Err(failed(failure)),
                };
                match step {
                    Step::Send(bytes) => break bytes,
                    Step::Receive => {}
                    Step::End(result) => return result,
                }
            };
        }
    }

    /// Many changes, a window of them in one send; one result for each. They are taken as they are sent.
    pub async fn change(&mut self, requests: impl IntoIterator<Item = Request<()>>) -> Vec<Result<()>> {
        let mut requests = requests.into_iter();
        let (mut results, mut window) =
            (Vec::with_capacity(requests.size_hint().0), Vec::with_capacity(WINDOW));
        loop {
            window.clear();
            window.extend(requests.by_ref().take(WINDOW));
            match self.session.family {
                _ if window.is_empty() => return results,
                Some(family) => {
                    let answers = self.window(&window, family).await;
                    let doubtful =
                        |result: &Result<()>| result.as_ref().is_err_and(Error::may_be_stale_family);
                    // A refusal that was meant stands: asked again, the change would be made after later ones.
                    let moved = answers.iter().any(doubtful) && self.has_moved(family).await;
                    for (answer, request) in answers.into_iter().zip(&window) {
                        results.push(match moved && doubtful(&answer) {
                            true => self.converse(request.clone()).await,
                            false => answer,
                        });
                    }
                }
                None => {
                    for request in &window {
                        results.push(self.converse(request.clone()).await);
                    }
                }
            }
        }
    }

    /// Whether the kernel has the family by another id than this one, or no more.
    async fn has_moved(&mut self, family: u16) -> bool {
        match self.converse(resolve_family()).await {
            Ok(FamilyId(now)) => {
                self.session.family = Some(now);
                now != family
            }
            Err(error) => matches!(error, Error::NotInKernel),
        }
    }

    async fn window(&mut self, requests: &[Request<()>], family: u16) -> Vec<Result<()>> {
        let Self { session, transport, timeout } = self;
        let deadline = deadline(*timeout);
        let (mut window, bytes) = Window::new(requests, family, session.sequences(requests.len() as u32));
        if std::mem::replace(&mut session.unread, true) {
            transport.drain();
        }
        let mut outcome = transport.send(&bytes).await;
        while outcome.is_ok() && !window.is_complete() {
            outcome = transport.receive(deadline).await.map(|datagram| window.feed(datagram));
        }
        // Every request got its answer and nothing follows the last.
        session.unread = outcome.is_err() || window.is_torn();
        let failure = outcome.err().unwrap_or(Failure::Overrun);
        window.results(|operation| failure.of(operation, *timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_out_has_a_deadline() {
        assert!(deadline(Duration::MAX) > Instant::now() + Duration::from_secs(86_400));
        assert!(deadline(Duration::ZERO) <= Instant::now());
    }
}
