//! One target at work: its machine, its protocol and its sockets.
//!
//! Every probe that waits for an answer has a socket of its own, and so a source port of its own; only the socket of an answered
//! probe is used again. A late answer thus finds its socket closed and is never taken for a new one. A target whose silence is a
//! success has one socket for good: an ICMP error may come seconds after the probe that it is about. Only a hinted probe has its
//! own there, too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::{Registry, Token};
use nix::errno::Errno;
use tokio::sync::mpsc::UnboundedSender;

use super::failure::Failure;
use super::machine::{Change, Machine, Step};
use super::protocol::{Judgement, Protocol, silence_succeeds};
use super::socket::{Socket, Trouble, control_buffer};
use crate::core::model::{Target, TargetId, Verdict};

/// So many datagrams are read from a socket at a time; who sends more has it closed.
const FLOOD: usize = 64;
/// The largest UDP payload.
const DATAGRAM: usize = 65_535;
/// How often the log says that probes could not be sent for want of something on the director.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// One target at work.
#[derive(Debug)]
pub struct Prober {
    id: TargetId,
    server: SocketAddr,
    machine: Machine,
    protocol: Arc<Protocol>,
    one_socket: bool,
    sockets: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    socket: Socket,
    /// The probe that waits here; `None` if the last one was answered, and always with `one_socket`.
    probe: Option<u64>,
    /// What the last request was marked with.
    id: u16,
}

/// What all probers share.
#[derive(Debug)]
pub struct Io {
    registry: Registry,
    verdicts: UnboundedSender<Verdict>,
    request: Vec<u8>,
    datagram: Vec<u8>,
    control: Vec<u8>,
    complained: Option<Duration>,
}

impl Io {
    /// Sockets are registered with `registry`, verdicts go to `verdicts`.
    pub fn new(registry: Registry, verdicts: UnboundedSender<Verdict>) -> Io {
        Io {
            registry,
            verdicts,
            request: Vec::new(),
            datagram: vec![0; DATAGRAM],
            control: control_buffer(),
            complained: None,
        }
    }

    /// Sends a verdict; if nobody listens any more, the daemon is about to end.
    pub fn report(&self, target: TargetId, change: Change) {
        let _ = self.verdicts.send(Verdict { target, up: change.up, reason: change.reason });
    }

    fn complain(&mut self, now: Duration, server: SocketAddr, errno: Errno) {
        if self.complained.is_none_or(|last| now >= last + COMPLAINT_INTERVAL) {
            self.complained = Some(now);
            tracing::warn!(
                %server,
                error = errno.desc(),
                "Probes are left out: the director lacks descriptors (raise LimitNOFILE), memory or local ports \
                 (net.ipv4.ip_local_port_range). Verdicts stand as they are."
            );
        }
    }
}

impl Prober {
    /// A target that is probed at `now` for the first time. `protocol` speaks for its check's probe.
    pub fn new(target: &Target, protocol: Arc<Protocol>, now: Duration) -> Prober {
        let phase = target.check.interval.mul_f64(rand::random());
        Prober {
            id: target.id,
            server: target.address,
            machine: Machine::new(&target.check, target.assumed_up, now, phase),
            protocol,
            one_socket: silence_succeeds(&target.check.probe),
            sockets: Vec::new(),
        }
    }

    /// When [`Prober::due`] has something to do next.
    pub fn deadline(&self) -> Duration {
        self.machine.deadline()
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
            while let Some(length) = self.sockets[index].socket.receive(&mut io.datagram) {
                self.datagram(index, length, io);
                read += 1;
                if read == FLOOD {
                    // Not read to its end it would hand old datagrams to the next probe: that one gets a new socket.
                    self.sockets[index].probe = Some(u64::MAX);
                    break;
                }
            }
        }
        self.close_unneeded();
    }

    fn probe(&mut self, now: Duration, probe: u64, alone: bool, io: &mut Io) {
        match self.send(probe, alone, io) {
            Ok(()) => {}
            Err(Trouble::Failed(why)) => {
                let change = self.machine.failed(probe, why);
                self.report(change, io);
            }
            Err(Trouble::Ours(errno)) => {
                self.machine.unsent(probe);
                io.complain(now, self.server, errno);
            }
        }
    }

    fn send(&mut self, probe: u64, alone: bool, io: &mut Io) -> Result<(), Trouble> {
        let id = rand::random();
        let alone = alone && self.one_socket;
        let index = match self.sockets.iter().position(|open| open.probe.is_none() && !alone) {
            Some(index) => index,
            None => {
                let socket = Socket::open(self.server, &io.registry, Token(self.id.0 as usize))?;
                self.sockets.push(Open { socket, probe: None, id });
                self.sockets.len() - 1
            }
        };
        let open = &mut self.sockets[index];
        open.id = id;
        if !self.one_socket || alone {
            open.probe = Some(probe);
        }
        self.protocol.request(id, &mut io.request);
        if open.socket.send(&io.request).is_ok() {
            return Ok(());
        }
        // It may have been an ICMP error about an earlier probe, which is taken off here.
        let mut errors = Vec::new();
        while let Some(error) = open.socket.next_error(&mut io.control) {
            errors.push(error);
        }
        let sent = open.socket.send(&io.request);
        if self.one_socket {
            for error in errors {
                self.icmp(index, Failure::Icmp(error), io);
            }
        }
        if sent.is_err() {
            self.sockets.remove(index);
        }
        sent
    }

    fn datagram(&mut self, index: usize, length: usize, io: &Io) {
        let open = &mut self.sockets[index];
        let judgement = self.protocol.judge(open.id, &io.datagram[..length]);
        let change = match (open.probe, judgement) {
            (None, Judgement::Right) if self.one_socket => self.machine.answered_any(),
            (Some(probe), Judgement::Right) => {
                open.probe = None;
                self.machine.answered(probe)
            }
            (Some(probe), Judgement::Wrong(what)) => self.machine.failed(probe, Failure::WrongAnswer(what)),
            (None, _) | (_, Judgement::NotOurs) => None,
        };
        self.report(change, io);
    }

    fn icmp(&mut self, index: usize, why: Failure, io: &Io) {
        let change = match self.sockets[index].probe {
            Some(probe) => self.machine.failed(probe, why),
            None if self.one_socket => self.machine.failed_any(why),
            None => None,
        };
        self.report(change, io);
    }

    fn report(&self, change: Option<Change>, io: &Io) {
        if let Some(change) = change {
            io.report(self.id, change);
        }
    }

    /// Keeps one socket for the next probe, and those whose probe still waits.
    fn close_unneeded(&mut self) {
        let mut kept = false;
        self.sockets.retain(|open| match open.probe {
            None => !std::mem::replace(&mut kept, true),
            Some(probe) => self.machine.waits_for(probe),
        });
    }
}
