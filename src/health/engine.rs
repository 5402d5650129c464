//! The engine: one thread that sends the probes of all targets and reads what comes back.
//!
//! ```text
//! Checker::set ── targets ──┐
//!                           ├──> engine thread (one epoll, one ordered set of deadlines) ── verdicts ──> the daemon
//! Hints::refused ── hints ──┘
//! ```

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc::UnboundedSender;

use super::machine::{Change, FULL};
use super::ping::{Family, Pinged};
use super::prober::Io;
use super::socket::Trouble;
use super::tasks::{Done, Tasks};
use super::way::Way;
use super::work::Work;
use crate::core::model::{Check, Probe, Target, TargetId, Verdict};

/// No target has this token, nor those of [`Family`]: it would be the four billionth.
const WAKE: Token = Token(usize::MAX);
/// From one first probe to the next, at most.
const SPACING: Duration = Duration::from_micros(50);
/// A wait lasts a multiple of this: probes that are due close to each other leave at one waking, which costs a quarter of what a
/// probe does. For it no probe is later than this.
const GRAIN: Duration = Duration::from_millis(4);
/// So many targets are served before the sockets are looked at again.
const BATCH: usize = 256;

/// The running engine. Dropping it ends the thread and closes all sockets.
#[derive(Debug)]
pub struct Checker {
    orders: Sender<Order>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the engine what was seen of the servers elsewhere.
#[derive(Clone, Debug)]
pub struct Hints {
    orders: Sender<Order>,
    waker: Arc<Waker>,
}

#[derive(Debug)]
enum Order {
    Set(Vec<Target>),
    Hint(SocketAddr),
    End,
}

/// Starts the engine, without targets, in the network namespace of the calling thread. Verdicts go to `verdicts`: the first one of
/// each target, and then those that change. The channel is closed when the engine has ended.
///
/// The soft limit of open files is raised to the hard one: a target needs one descriptor, and a few more while it is silent.
///
/// # Errors
/// The kernel gives no epoll, event or thread.
pub fn start(verdicts: UnboundedSender<Verdict>) -> io::Result<Checker> {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| match soft < hard {
        true => setrlimit(Resource::RLIMIT_NOFILE, hard, hard),
        false => Ok(()),
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "The limit of open files cannot be raised to its hard value: it bounds the number of targets.");
    }
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let (sender, receiver) = channel();
    let (to_done, done) = channel();
    let tasks = Tasks::new(to_done, Arc::clone(&waker));
    let mut engine = Engine {
        io: Io::new(poll.registry().try_clone()?, tasks, verdicts),
        poll,
        started: Instant::now(),
        orders: receiver,
        done,
        probers: HashMap::new(),
        places: HashMap::new(),
        ways: HashMap::new(),
        deadlines: BTreeSet::new(),
    };
    let thread = std::thread::Builder::new().name("health".to_owned()).spawn(move || engine.run())?;
    Ok(Checker { orders: sender, waker, thread: Some(thread) })
}

impl Checker {
    /// Probes these targets and no others. A target whose id is known goes on untouched, whatever else it says; one that is
    /// missing is stopped without a verdict; a new one is probed at once, or, where they are many, within half a timeout.
    pub fn set(&self, targets: Vec<Target>) {
        give(Order::Set(targets), &self.orders, &self.waker);
    }

    /// For whoever sees more of the servers than the probes do.
    pub fn hints(&self) -> Hints {
        Hints { orders: self.orders.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl Hints {
    /// A server refused client traffic to its address and port. A hint only, which may be forged: the targets that are probed
    /// right there and are up are probed at once, each at most every 100 ms, and the refusal of that probe is a down verdict
    /// whatever `fall` is. For other targets it means nothing.
    pub fn refused(&self, server: SocketAddr) {
        give(Order::Hint(server), &self.orders, &self.waker);
    }
}

fn give(order: Order, orders: &Sender<Order>, waker: &Waker) {
    // An engine that has ended has closed the channel of verdicts: there it is seen.
    let _ = orders.send(order);
    if let Err(error) = waker.wake() {
        tracing::error!(%error, "The health engine cannot be woken.");
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        give(Order::End, &self.orders, &self.waker);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Engine {
    poll: Poll,
    io: Io,
    started: Instant,
    orders: Receiver<Order>,
    done: Receiver<Done>,
    probers: HashMap<TargetId, Work>,
    /// Who is probed at an address and port.
    places: HashMap<SocketAddr, Vec<TargetId>>,
    /// Those in use: a compiled regular expression is far larger than all else that a target needs.
    ways: HashMap<Probe, Way>,
    /// The deadline of each prober.
    deadlines: BTreeSet<(Duration, TargetId)>,
}

impl Engine {
    fn run(&mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = self.started.elapsed();
            let timeout = self.deadlines.first().map(|(deadline, _)| wait(now, *deadline));
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                tracing::error!(%error, "Health checks have ended: epoll failed.");
                return;
            }
            for event in &events {
                if event.token() == WAKE {
                    if !self.take_orders() {
                        return;
                    }
                    let now = self.started.elapsed();
                    while let Ok(Done { target, probe, outcome }) = self.done.try_recv() {
                        self.with(target, |work, io| work.outcome(now, probe, outcome, io));
                    }
                    continue;
                }
                if let Some(family) =
                    [Family::V4, Family::V6].into_iter().find(|f| f.token() == event.token())
                {
                    self.pinged(family);
                    continue;
                }
                let id = TargetId(event.token().0 as u32);
                self.with(id, |prober, io| prober.ready(event.is_error(), io));
            }
            // The sockets are looked at after this moment and before anything that is due at it: an answer that waits here
            // because this thread is late is never taken for silence. The last look of a wait without events is after its end.
            let looked = if events.is_empty() { now + timeout.unwrap_or_default() } else { now };
            if events.iter().count() < events.capacity() {
                self.due(looked);
            }
        }
    }

    fn pinged(&mut self, family: Family) {
        let now = self.started.elapsed();
        for Pinged { target, probe, outcome } in self.io.pings.read(family) {
            self.with(target, |work, io| {
                work.outcome(now, probe, outcome.map(|()| FULL).map_err(Trouble::Failed), io)
            });
        }
    }

    /// Takes all orders that wait; false when the checker has been dropped.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Set(targets)) => self.set(targets),
                Ok(Order::Hint(server)) => self.hint(server),
                Err(TryRecvError::Empty) => return true,
                Ok(Order::End) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn hint(&mut self, server: SocketAddr) {
        let now = self.started.elapsed();
        for id in self.places.get(&server).cloned().unwrap_or_default() {
            self.with(id, |prober, io| prober.hint(now, io));
        }
    }

    fn set(&mut self, targets: Vec<Target>) {
        // Not the time before the wait: that may be long ago.
        let now = self.started.elapsed();
        let wanted: HashSet<TargetId> = targets.iter().map(|target| target.id).collect();
        self.probers.retain(|id, prober| {
            wanted.contains(id) || {
                self.deadlines.remove(&(prober.deadline(), *id));
                false
            }
        });
        self.places.clear();
        for target in &targets {
            self.places.entry(target.address).or_default().push(target.id);
        }
        let new: Vec<_> =
            targets.into_iter().filter(|target| !self.probers.contains_key(&target.id)).collect();
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        self.io.pings.keep(&wanted);
        for (number, target) in (0..).zip(new) {
            let first = now + first_probe(number, count, &target.check);
            match self.way(&target.check.probe) {
                Ok(way) => {
                    let prober = Work::new(&target, way, first);
                    self.deadlines.insert((prober.deadline(), target.id));
                    self.probers.insert(target.id, prober);
                }
                Err(reason) => self.io.report(target.id, Change { up: false, factor: FULL, reason }),
            }
        }
        self.ways.retain(|_, way| way.in_use());
    }

    fn way(&mut self, probe: &Probe) -> Result<Way, String> {
        if let Some(way) = self.ways.get(probe) {
            return Ok(way.clone());
        }
        let way = Way::new(probe)?;
        self.ways.insert(probe.clone(), way.clone());
        Ok(way)
    }

    fn due(&mut self, now: Duration) {
        for _ in 0..BATCH {
            match self.deadlines.first() {
                Some(&(deadline, id)) if deadline <= now => self.with(id, |prober, io| prober.due(now, io)),
                _ => break,
            }
        }
    }

    /// Lets a prober, if it still exists, do something, and keeps its deadline.
    fn with(&mut self, id: TargetId, act: impl FnOnce(&mut Work, &mut Io)) {
        if let Some(prober) = self.probers.get_mut(&id) {
            let before = prober.deadline();
            act(prober, &mut self.io);
            let after = prober.deadline();
            if before != after {
                self.deadlines.remove(&(before, id));
                self.deadlines.insert((after, id));
            }
        }
    }
}

/// How long to wait at `now` for this deadline.
fn wait(now: Duration, deadline: Duration) -> Duration {
    let grains = deadline.saturating_sub(now).as_nanos().div_ceil(GRAIN.as_nanos());
    GRAIN.saturating_mul(u32::try_from(grains).unwrap_or(u32::MAX))
}

/// How long the first probe of the target with this number, of `count` new ones, waits: so that many do not make a burst, and
/// a few wait for nothing.
fn first_probe(number: u32, count: u32, check: &Check) -> Duration {
    let longest = check.interval.min(check.timeout) / 2;
    SPACING.saturating_mul(count).min(longest).mul_f64(f64::from(number) / f64::from(count))
}

#[cfg(test)]
mod tests;
