//! One target at work: its machine, its protocol and its sockets.
//!
//! Every probe that waits for an answer has a socket of its own, and so a source port of its own; only the socket of an answered
//! probe is used again. A late answer thus finds its socket closed and is never taken for a new one. A target whose silence is a
//! success has one socket for good: an ICMP error may come seconds after the probe that it is about. Only a hinted probe has its
//! own there, too.

mod io;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mio::Token;
use smallvec::SmallVec;

pub use self::io::Io;
use super::failure::Failure;
use super::machine::{Change, Machine, Step};
use super::origin;
use super::protocol::{Ask, Judgement, Protocol, silence_succeeds};
use super::record::Record;
use super::socket::{Ports, Received, Socket, Trouble};
use super::stream::Stream;
use crate::core::model::{Target, TargetId};
use crate::core::probes::Ended;

/// So many datagrams are read from a socket at a time; who sends more has it closed.
const FLOOD: usize = 64;

/// Of so many probes of a target one is timed: that costs as much as a tenth of all the rest.
const TIMED: u64 = 8;

/// No answer takes longer.
const MOST: Duration = Duration::from_secs(60 * 60);

/// No probe has this number: a socket that waits for it is closed.
const NEVER: u64 = u64::MAX;

/// One target at work.
#[derive(Debug)]
pub struct Prober {
    id: TargetId,
    /// Where it is probed.
    pub server: SocketAddr,
    machine: Machine,
    /// What became of its probes.
    pub record: Record,
    protocol: Arc<dyn Protocol>,
    one_socket: bool,
    /// Most targets never need another one.
    sockets: SmallVec<[Open; 1]>,
    streams: Vec<Overflow>,
}

#[derive(Debug)]
struct Open {
    socket: Socket,
    /// The probe that waits here, or [`NEVER`]; `None` if the last one was answered, and always with `one_socket`.
    probe: Option<u64>,
    /// That of the last request.
    nonce: u128,
    /// The Unix time at which that was sent, while its answer is to be timed.
    sent: Option<Duration>,
}

/// A probe whose answer did not fit into a datagram, and goes on over TCP.
#[derive(Debug)]
struct Overflow {
    stream: Stream,
    probe: u64,
    ask: Ask,
}

impl Open {
    fn ask(&self, server: SocketAddr) -> Ask {
        Ask { nonce: self.nonce, local: self.socket.local, server }
    }
}

impl Prober {
    /// A target that is probed at `now` for the first time. `protocol` speaks for its check's probe.
    pub fn new(target: &Target, protocol: Arc<dyn Protocol>, record: Record, now: Duration) -> Prober {
        let phase = target.check.interval.mul_f64(rand::random());
        Prober {
            id: target.id,
            server: target.address,
            machine: Machine::new(Arc::clone(&target.check), target.assumed_up, now, phase),
            record,
            protocol,
            one_socket: silence_succeeds(&target.check.probe),
            sockets: SmallVec::new(),
            streams: Vec::new(),
        }
    }

    /// When [`Prober::due`] has something to do next.
    pub fn deadline(&self) -> Duration {
        self.machine.deadline()
    }

    /// Whether it is up, as far as is known.
    pub fn is_up(&self) -> bool {
        self.machine.is_up()
    }

    /// Client traffic to the target's address was refused at `now`.
    pub fn hint(&mut self, now: Duration, io: &mut Io) {
        self.machine.hint(now);
        self.due(now, io);
    }

    /// Does what is due at `now`.
    pub fn due(&mut self, now: Duration, io: &mut Io) {
        while let Some(step) = self.machine.tick(now) {
            match step {
                Step::Send(probe) => self.probe(now, probe, false, io),
                Step::SendAlone(probe) => self.probe(now, probe, true, io),
                Step::Expired(change) => self.report(change, io),
            }
        }
        self.close_unneeded();
    }

    /// Reads what has come on any of the sockets: ICMP errors if there may be some, then datagrams.
    pub fn readable(&mut self, errors: bool, io: &mut Io) {
        for index in 0..self.sockets.len() {
            if errors {
                while let Some(error) = self.sockets[index].socket.next_error(&mut io.control) {
                    self.icmp(index, Failure::Icmp(error), io);
                }
            }
            let mut read = 0;
            while let Some(received) = self.receive(index, io) {
                if received.from.ip() == self.server.ip() {
                    self.datagram(index, received, io);
                }
                read += 1;
                if read == FLOOD {
                    // Not read to its end it would hand old datagrams to the next probe: that one gets a new socket.
                    self.sockets[index].probe = Some(NEVER);
                    break;
                }
            }
        }
        self.go_on_over_tcp(io);
        self.close_unneeded();
    }

    fn receive(&self, index: usize, io: &mut Io) -> Option<Received> {
        let Open { socket, sent, .. } = &self.sockets[index];
        let control = sent.is_some().then_some(&mut io.control[..]);
        socket.receive(&mut io.datagram, control, self.server)
    }

    fn probe(&mut self, now: Duration, probe: u64, alone: bool, io: &mut Io) {
        match self.send(probe, alone, io) {
            Ok(()) => {}
            Err(Trouble::Failed(why)) => {
                let change = self.machine.failed(probe, why);
                self.report(change, io);
            }
            Err(Trouble::Ours(lack)) => {
                self.machine.unsent(probe);
                self.record.count(io.now, Ended::LeftOut, None, &mut io.tallies);
                io.complain(now, self.server, &lack);
            }
        }
    }

    fn send(&mut self, probe: u64, alone: bool, io: &mut Io) -> Result<(), Trouble> {
        let nonce = rand::random();
        let alone = alone && self.one_socket;
        let index = match self.sockets.iter().position(|open| open.probe.is_none() && !alone) {
            Some(index) => index,
            None => {
                let ports = if self.protocol.answers_from_any_port() { Ports::Any } else { Ports::One };
                let (origin, token) = (&self.machine.check().origin, Token(self.id.0 as usize));
                let socket = Socket::open(self.server, ports, origin, &io.registry, token)?;
                self.sockets.push(Open { socket, probe: None, nonce, sent: None });
                self.sockets.len() - 1
            }
        };
        let open = &mut self.sockets[index];
        open.nonce = nonce;
        if !self.one_socket || alone {
            open.probe = Some(probe);
        }
        io.request.clear();
        self.protocol.request(&open.ask(self.server), &mut io.request);
        open.sent = probe.is_multiple_of(TIMED).then(unix_time);
        if open.socket.send(&io.request, self.server).is_ok() {
            return Ok(());
        }
        // It may have been an ICMP error about an earlier probe, which is taken off here.
        let mut errors = Vec::new();
        while let Some(error) = open.socket.next_error(&mut io.control) {
            errors.push(error);
        }
        let sent = open.socket.send(&io.request, self.server);
        if self.one_socket {
            for error in errors {
                self.icmp(index, Failure::Icmp(error), io);
            }
        }
        if sent.is_err() {
            self.sockets.remove(index);
            origin::still_there(self.server, &self.machine.check().origin)?;
        }
        sent
    }

    fn datagram(&mut self, index: usize, Received { length, from, at }: Received, io: &mut Io) {
        let index = self.meant(index, &io.datagram[..length]);
        let open = &mut self.sockets[index];
        let mut judgement = self.protocol.judge(&open.ask(self.server), &io.datagram[..length]);
        if let Judgement::RightAnd(thanks) = judgement {
            open.socket.answer(thanks, from);
            judgement = Judgement::Right;
        }
        // The clock may have been set in between.
        let took = at.zip(open.sent.take()).and_then(|(at, sent)| at.checked_sub(sent));
        io.took = took.filter(|took| *took < MOST);
        let change = match (open.probe, judgement) {
            (None, Judgement::Right) if self.one_socket => self.machine.answered_any(),
            (Some(probe), Judgement::Right) => {
                // What the server may send again must not answer the next probe.
                open.probe = self.protocol.answers_from_any_port().then_some(NEVER);
                self.machine.answered(probe)
            }
            (Some(probe), Judgement::Truncated) => {
                open.probe = Some(NEVER);
                let ask = open.ask(self.server);
                self.ask_over_tcp(probe, ask, io)
            }
            (Some(probe), Judgement::Wrong(what)) => self.machine.failed(probe, Failure::WrongAnswer(what)),
            (_, Judgement::NotOurs) => {
                self.machine.strayed();
                None
            }
            (None, _) | (_, Judgement::RightAnd(_)) => None,
        };
        self.report(change, io);
        io.took = None;
    }

    /// The place of the socket whose probe a datagram answers. With one source port for all of them, what comes is the newest
    /// one's, and may answer any.
    fn meant(&self, index: usize, datagram: &[u8]) -> usize {
        if !self.machine.check().origin.has_port() {
            return index;
        }
        let answers = |open: &Open| {
            let waits = open.probe.is_some_and(|probe| self.machine.waits_for(probe));
            waits && !matches!(self.protocol.judge(&open.ask(self.server), datagram), Judgement::NotOurs)
        };
        self.sockets.iter().position(answers).unwrap_or(index)
    }

    fn ask_over_tcp(&mut self, probe: u64, ask: Ask, io: &Io) -> Option<Change> {
        let mut request = Vec::new();
        self.protocol.request(&ask, &mut request);
        let (origin, token) = (&self.machine.check().origin, Token(self.id.0 as usize));
        match Stream::open(self.server, origin, &request, &io.registry, token) {
            Ok(stream) => {
                self.streams.push(Overflow { stream, probe, ask });
                None
            }
            Err(Trouble::Failed(why)) => self.machine.failed(probe, over_tcp(why)),
            Err(Trouble::Ours(_)) => {
                self.machine.unsent(probe);
                None
            }
        }
    }

    fn go_on_over_tcp(&mut self, io: &mut Io) {
        for index in (0..self.streams.len()).rev() {
            let Overflow { stream, probe, ask } = &mut self.streams[index];
            let outcome = match stream.advance() {
                Ok(None) => continue,
                Ok(Some(answer)) => match self.protocol.judge(ask, &answer) {
                    Judgement::Right | Judgement::RightAnd(_) => Ok(()),
                    Judgement::Wrong(what) => Err(over_tcp(Failure::WrongAnswer(what))),
                    Judgement::NotOurs => Err(over_tcp(Failure::WrongAnswer("for another query".to_owned()))),
                    Judgement::Truncated => Err(over_tcp(Failure::WrongAnswer("truncated again".to_owned()))),
                },
                Err(why) => Err(over_tcp(why)),
            };
            let change = match outcome {
                Ok(()) => self.machine.answered(*probe),
                Err(why) => self.machine.failed(*probe, why),
            };
            self.streams.swap_remove(index);
            self.report(change, io);
        }
    }

    fn icmp(&mut self, index: usize, why: Failure, io: &mut Io) {
        let change = match self.sockets[index].probe {
            Some(probe) => self.machine.failed(probe, why),
            None if self.one_socket => self.machine.failed_any(why),
            None => None,
        };
        self.report(change, io);
    }

    fn report(&mut self, change: Option<Change>, io: &mut Io) {
        io.count(&mut self.machine, &mut self.record, false);
        if let Some(change) = change {
            io.report(self.id, change);
        }
    }

    /// Keeps one socket for the next probe, and those whose probe still waits.
    fn close_unneeded(&mut self) {
        if let ([open], []) = (&self.sockets[..], &self.streams[..])
            && open.probe.is_none_or(|probe| self.machine.waits_for(probe))
        {
            return;
        }
        let mut kept = false;
        self.sockets.retain(|open| match open.probe {
            None => !std::mem::replace(&mut kept, true),
            Some(probe) => self.machine.waits_for(probe),
        });
        self.streams.retain(|overflow| self.machine.waits_for(overflow.probe));
    }
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What went wrong after a truncated answer.
fn over_tcp(why: Failure) -> Failure {
    let what = match why {
        Failure::WrongAnswer(what) => what,
        other => other.to_string(),
    };
    Failure::WrongAnswer(format!("truncated, and over TCP: {what}"))
}
