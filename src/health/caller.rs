//! One target at work whose probes are calls: each has a life of its own and ends with one outcome.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::Token;

use super::connection::Connection;
use super::job::Job;
use super::machine::{Change, Machine, Step};
use super::prober::Io;
use super::record::Record;
use super::socket::Trouble;
use super::tasks::Call;
use super::tcp::Tcp;
use crate::core::model::{Factor, Target, TargetId};
use crate::core::probes::Ended;

/// One target at work.
#[derive(Debug)]
pub struct Caller {
    id: TargetId,
    /// Where it is probed.
    pub server: SocketAddr,
    machine: Machine,
    /// What became of its probes.
    pub record: Record,
    calls: Calls,
}

/// How a target is called, and the calls that wait for their outcome, each with the number of its probe.
#[derive(Debug)]
pub enum Calls {
    /// By TCP connections.
    Connect(Arc<Tcp>, Vec<(u64, Connection)>),
    /// By ICMP echo requests, each with its own number.
    Ping(Vec<(u64, u16)>),
    /// By tasks, each of which ends by itself after the check's timeout.
    Task(Arc<Job>),
}

impl Caller {
    /// A target that is probed at `first` for the first time.
    pub fn new(target: &Target, calls: Calls, record: Record, first: Duration) -> Caller {
        let phase = target.check.interval.mul_f64(rand::random());
        Caller {
            id: target.id,
            server: target.address,
            machine: Machine::new(Arc::clone(&target.check), target.assumed_up, first, phase),
            record,
            calls,
        }
    }

    /// When [`Caller::due`] has something to do next.
    pub fn deadline(&self) -> Duration {
        self.machine.deadline()
    }

    /// Does what is due at `now`.
    pub fn due(&mut self, now: Duration, io: &mut Io) {
        while let Some(step) = self.machine.tick(now) {
            match step {
                Step::Send(probe) | Step::SendAlone(probe) => {
                    if let Err(trouble) = self.call(probe, io) {
                        self.trouble(now, probe, trouble, io);
                    }
                }
                Step::Expired(change) => self.report(change, io),
            }
        }
        self.hang_up(io);
    }

    /// Goes on with its connections as far as they can go now.
    pub fn ready(&mut self, io: &mut Io) {
        let Calls::Connect(tcp, connections) = &mut self.calls else { return };
        let tcp = Arc::clone(tcp);
        let outcomes: Vec<_> = connections
            .iter_mut()
            .filter_map(|(probe, connection)| {
                let outcome = connection.advance(|received, end| tcp.outcome(received, end));
                Some((*probe, outcome.unwrap_or_else(|why| Some(Err(why)))?))
            })
            .collect();
        for (probe, outcome) in outcomes {
            let change = match outcome {
                Ok(()) => self.machine.answered(probe),
                Err(why) => self.machine.failed(probe, why),
            };
            self.report(change, io);
        }
        self.hang_up(io);
    }

    /// A probe has ended: with what it makes of the weight, or with the trouble that it had.
    pub fn outcome(&mut self, now: Duration, probe: u64, outcome: Result<Factor, Trouble>, io: &mut Io) {
        match outcome {
            Ok(factor) => {
                let change = self.machine.weighed(probe, factor);
                self.report(change, io);
            }
            Err(trouble) => self.trouble(now, probe, trouble, io),
        }
        self.hang_up(io);
    }

    fn trouble(&mut self, now: Duration, probe: u64, trouble: Trouble, io: &mut Io) {
        match trouble {
            Trouble::Failed(why) => {
                let change = self.machine.failed(probe, why);
                self.report(change, io);
            }
            Trouble::Ours(lack) => {
                self.machine.unsent(probe);
                self.record.count(io.now, Ended::LeftOut, None, &mut io.tallies);
                io.complain(now, self.server, &lack);
            }
        }
    }

    fn call(&mut self, probe: u64, io: &mut Io) -> Result<(), Trouble> {
        match &mut self.calls {
            Calls::Connect(tcp, connections) => {
                let token = Token(self.id.0 as usize);
                let origin = &self.machine.check().origin;
                let connection = Connection::open(self.server, origin, tcp.request(), &io.registry, token)?;
                connections.push((probe, connection));
            }
            Calls::Ping(requests) => {
                let origin = &self.machine.check().origin;
                let number = io.pings.send((self.id, probe), self.server, origin, &io.registry)?;
                requests.push((probe, number));
            }
            Calls::Task(job) => {
                let (check, job) = (Arc::clone(self.machine.check()), Arc::clone(job));
                io.tasks.run(Call { target: self.id, probe, server: self.server, check, job })?;
            }
        }
        Ok(())
    }

    /// Ends the calls whose outcome is clear.
    fn hang_up(&mut self, io: &mut Io) {
        let waits = |probe: &u64| self.machine.waits_for(*probe);
        match &mut self.calls {
            Calls::Connect(_, connections) => connections.retain(|(probe, _)| waits(probe)),
            Calls::Ping(requests) => {
                for (_, number) in requests.extract_if(.., |(probe, _)| !waits(probe)) {
                    io.pings.forget(self.server.ip(), number);
                }
            }
            Calls::Task(_) => {}
        }
    }

    fn report(&mut self, change: Option<Change>, io: &mut Io) {
        io.count(&mut self.machine, &mut self.record, true);
        if let Some(change) = change {
            io.report(self.id, change);
        }
    }
}
