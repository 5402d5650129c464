//! A transport whose kernel is a function: it sees each message and says what is received.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkBuffer;

use super::*;
use crate::Request;
use crate::Result;
use crate::answer::Answer;
use crate::client::Failure;
use crate::conversation::Session;
use crate::drive::{Link, Transport};

pub const CONTROLLER: u16 = 0x10;
pub const TIMEOUT: Duration = Duration::from_millis(1500);

/// One message that the kernel gets to see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    pub family: u16,
    pub command: u8,
    pub sequence: u32,
}

/// What a socket can have for its owner.
#[derive(Clone, Debug)]
pub enum Event {
    Datagram(Vec<u8>),
    /// ENOBUFS.
    Overrun,
    /// Nothing until the deadline.
    Silence,
}

impl From<Vec<u8>> for Event {
    fn from(datagram: Vec<u8>) -> Self {
        Self::Datagram(datagram)
    }
}

pub struct Fake<K> {
    kernel: K,
    received: VecDeque<Event>,
    /// The one that the client is reading.
    current: Vec<u8>,
    /// Family and command of all that was asked.
    pub asked: Vec<(u16, u8)>,
    /// The messages of the largest send.
    pub largest_send: usize,
    /// How many datagrams were dropped unread.
    pub drained: usize,
}

impl<K: FnMut(Asked) -> Vec<Event>> Transport for Fake<K> {
    async fn send(&mut self, bytes: &[u8]) -> std::result::Result<(), Failure> {
        let mut rest = bytes;
        let before = self.asked.len();
        while !rest.is_empty() {
            let header = NetlinkBuffer::new_checked(rest).unwrap();
            let (family, sequence) = (header.message_type(), header.sequence_number());
            let asked = Asked { family, command: rest[16], sequence };
            self.asked.push((family, asked.command));
            self.received.extend((self.kernel)(asked));
            rest = &rest[header.length() as usize..];
        }
        self.largest_send = self.largest_send.max(self.asked.len() - before);
        Ok(())
    }

    async fn receive(&mut self, deadline: Instant) -> std::result::Result<&[u8], Failure> {
        assert!(deadline <= Instant::now() + TIMEOUT);
        match self.received.pop_front().expect("the kernel says enough") {
            Event::Datagram(datagram) => self.current = datagram,
            Event::Overrun => return Err(Failure::Overrun),
            Event::Silence => return Err(Failure::Timeout),
        }
        Ok(&self.current)
    }

    fn drain(&mut self) {
        self.drained += self.received.drain(..).count();
    }
}

/// A client of `kernel` that knows the family's id already.
pub fn client<K: FnMut(Asked) -> Vec<Event>>(kernel: K) -> Link<Fake<K>> {
    let mut session = Session::default();
    session.family = Some(FAMILY);
    let transport = Fake {
        kernel,
        received: VecDeque::new(),
        current: Vec::new(),
        asked: Vec::new(),
        largest_send: 0,
        drained: 0,
    };
    Link { session, transport, timeout: TIMEOUT }
}

impl<K: FnMut(Asked) -> Vec<Event>> Link<Fake<K>> {
    pub fn ask<R: Answer>(&mut self, request: Request<R>) -> Result<R> {
        at_once(self.converse(request))
    }

    pub fn ask_all(&mut self, requests: &[Request<()>]) -> Vec<Result<()>> {
        at_once(self.change(requests.iter().cloned()))
    }
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the fake never waits"),
    }
}
