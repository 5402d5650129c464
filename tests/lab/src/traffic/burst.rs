//! Requests in lockstep: one client port, each request waits for its reply.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Answered, any_of, reply, request};
use crate::Netns;
use crate::udp::Udp;

/// A burst to be sent.
#[derive(Clone, Debug)]
pub struct Burst {
    /// Where to.
    pub to: SocketAddr,
    /// How many requests.
    pub count: u64,
    /// The client's port; 0 = any.
    pub port: u16,
    /// Payload bytes of a request, at least.
    pub size: usize,
    /// Requests carry no UDP checksum (IPv4 only).
    pub zero_checksum: bool,
    /// How long to wait for a reply.
    pub patience: Duration,
}

impl Burst {
    /// `count` small requests from any one port.
    pub fn new(to: SocketAddr, count: u64) -> Burst {
        Burst { to, count, port: 0, size: 0, zero_checksum: false, patience: Duration::from_secs(1) }
    }

    /// Sends it from this namespace; returns when the last request is answered or lost.
    ///
    /// # Panics
    /// If a socket call fails.
    pub fn run(&self, netns: &Netns) -> Answered {
        netns.run(|| self.exchange()).unwrap_or_else(|error| panic!("burst to {}: {error}", self.to))
    }

    fn exchange(&self) -> std::io::Result<Answered> {
        let socket = Udp::bind(SocketAddr::new(any_of(self.to), self.port), self.zero_checksum)?;
        let mut answered = Answered::default();
        for number in 0..self.count {
            socket.send_to(&request(number, self.size), self.to)?;
            let end = Instant::now() + self.patience;
            loop {
                let Some((payload, source)) =
                    socket.receive(end.saturating_duration_since(Instant::now()))?
                else {
                    answered.lost.push(number);
                    break;
                };
                match reply(&payload, source) {
                    Some(reply) if reply.number == number => {
                        answered.replies.push(reply);
                        break;
                    }
                    // Of an earlier request: it was too late for it, or it is a second one.
                    Some(late) if answered.lost.contains(&late.number) => {
                        answered.lost.retain(|lost| *lost != late.number);
                        answered.replies.push(late);
                    }
                    Some(_) => answered.duplicates += 1,
                    None => answered.strange.push(payload),
                }
            }
        }
        Ok(answered)
    }
}
