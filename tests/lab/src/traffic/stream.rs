//! Requests at a rate: a sender that keeps absolute deadlines and a receiver on threads of their own.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Answered, any_of, reply, request};
use crate::Netns;
use crate::udp::Udp;

/// A stream to be sent.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Where to.
    pub to: SocketAddr,
    /// Requests a second, over all ports.
    pub rate: u32,
    /// How many client ports take turns.
    pub ports: usize,
    /// Payload bytes of a request, at least.
    pub size: usize,
}

impl Stream {
    /// 1 000 small requests a second from 8 ports.
    pub fn new(to: SocketAddr) -> Stream {
        Stream { to, rate: 1000, ports: 8, size: 0 }
    }

    /// Starts it in this namespace; it goes on until [`Running::stop`].
    ///
    /// # Panics
    /// If a socket cannot be made.
    pub fn start(&self, netns: &Netns) -> Running {
        let bind = || Udp::bind(SocketAddr::new(any_of(self.to), 0), false);
        let sockets: io::Result<Vec<Udp>> = netns.run(|| (0..self.ports).map(|_| bind()).collect());
        let sockets = Arc::new(sockets.unwrap_or_else(|error| panic!("stream to {}: {error}", self.to)));
        let shared = Arc::new(Shared::default());
        let sender = {
            let (stream, sockets, shared) = (self.clone(), Arc::clone(&sockets), Arc::clone(&shared));
            thread::spawn(move || stream.send(&sockets, &shared))
        };
        let receiver = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || receive(&sockets, &shared))
        };
        Running { shared, sender, receiver }
    }

    fn send(&self, sockets: &[Udp], shared: &Shared) -> io::Result<Vec<Instant>> {
        let start = Instant::now();
        let mut sent = Vec::new();
        while !shared.stop_sending.load(Ordering::Relaxed) {
            let number = sent.len() as u64;
            // Deadlines from the start: a late wake-up is made up for, the rate holds.
            let due = start + Duration::from_nanos(number * 1_000_000_000 / u64::from(self.rate));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            sent.push(Instant::now());
            sockets[sent.len() % sockets.len()].send_to(&request(number, self.size), self.to)?;
            shared.sent.store(number + 1, Ordering::Relaxed);
        }
        Ok(sent)
    }
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    received: AtomicU64,
    stop_sending: AtomicBool,
    stop_receiving: AtomicBool,
}

/// A stream on its way.
pub struct Running {
    shared: Arc<Shared>,
    sender: JoinHandle<io::Result<Vec<Instant>>>,
    receiver: JoinHandle<io::Result<Answered>>,
}

/// What became of a stream.
#[derive(Clone, Debug)]
pub struct Flow {
    /// When each request left, by its number.
    pub sent: Vec<Instant>,
    /// What came back; `lost` in the order of sending.
    pub answered: Answered,
    /// The longest time between two replies that came one after the other.
    pub longest_gap: Duration,
}

impl Running {
    /// Requests sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Datagrams received so far.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Stops sending, waits until every request is answered, or none was for a second, and reports.
    ///
    /// # Panics
    /// If a socket call failed on the way.
    pub fn stop(self) -> Flow {
        self.shared.stop_sending.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender").unwrap_or_else(|error| panic!("sending: {error}"));
        // On a busy machine the receiver may be behind: what waits in its sockets is not lost.
        let (mut received, mut heard) = (0, Instant::now());
        while received < sent.len() as u64 && heard.elapsed() < Duration::from_secs(1) {
            thread::sleep(Duration::from_millis(10));
            let now = self.shared.received.load(Ordering::Relaxed);
            if now > received {
                (received, heard) = (now, Instant::now());
            }
        }
        self.shared.stop_receiving.store(true, Ordering::Relaxed);
        let answered = self.receiver.join().expect("the receiver");
        let mut answered = answered.unwrap_or_else(|error| panic!("receiving: {error}"));
        let seen: HashSet<u64> = answered.replies.iter().map(|reply| reply.number).collect();
        answered.lost = (0..sent.len() as u64).filter(|number| !seen.contains(number)).collect();
        let pairs = answered.replies.windows(2);
        let longest_gap = pairs.map(|pair| pair[1].at - pair[0].at).max().unwrap_or_default();
        Flow { sent, answered, longest_gap }
    }
}

fn receive(sockets: &[Udp], shared: &Shared) -> io::Result<Answered> {
    let mut answered = Answered::default();
    let mut seen = HashSet::new();
    while !shared.stop_receiving.load(Ordering::Relaxed) {
        let mut polled: Vec<PollFd> =
            sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut polled, PollTimeout::from(50u8))?;
        for (socket, polled) in sockets.iter().zip(&polled) {
            if polled.any() != Some(true) {
                continue;
            }
            let Some((payload, source)) = socket.receive(Duration::ZERO)? else { continue };
            match reply(&payload, source) {
                Some(reply) if seen.insert(reply.number) => answered.replies.push(reply),
                Some(_) => answered.duplicates += 1,
                None => answered.strange.push(payload),
            }
            shared.received.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(answered)
}
