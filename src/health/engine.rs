//! The engine: one thread that sends the probes of all targets and reads what comes back.
//!
//! ```text
//! Checker::set ── targets ──┐
//!                           ├──> engine thread (one epoll, deadlines in ticks) ── verdicts ──> the daemon
//! Hints::refused ── hints ──┘
//! ```
//! At a tick probes leave; the answers to them are looked at together at the next one. Between those it hears orders only.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::deadlines::{Deadlines, Tick};
use super::machine::Change;
use super::ping::Pinged;
use super::prober::Io;
use super::socket::Trouble;
use super::tasks::{Done, Tasks};
use super::way::Way;
use super::work::Work;
use crate::core::model::{Check, Factor, Probe, Target, TargetId, Verdict};
use crate::core::probes::Probes;

/// No target has this token, nor those of [`Pings`](super::ping::Pings): it would be the four billionth.
const WAKE: Token = Token(usize::MAX);
/// From one first probe to the next, at most.
const SPACING: Duration = Duration::from_micros(50);
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
    Answer(oneshot::Sender<()>),
    Report(oneshot::Sender<Probes>),
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
        at_work: FxHashMap::default(),
        places: Vec::new(),
        doubted: HashSet::new(),
        ways: HashMap::new(),
        deadlines: Deadlines::default(),
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

    /// What became of probes, as soon as the engine gets to it.
    pub fn report(&self) -> oneshot::Receiver<Probes> {
        let (answer, answered) = oneshot::channel();
        give(Order::Report(answer), &self.orders, &self.waker);
        answered
    }

    /// Answers as soon as the engine gets to it: it works.
    pub fn pulse(&self) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        give(Order::Answer(answer), &self.orders, &self.waker);
        answered
    }

    /// For whoever sees more of the servers than the probes do.
    pub fn hints(&self) -> Hints {
        Hints { orders: self.orders.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl Hints {
    /// A server refused client traffic to its address and port. A hint only, which may be forged: one of the targets that are
    /// probed right there by datagrams and are up is probed at once, at most every 100 ms, and the refusal of that probe is a
    /// down verdict whatever `fall` is; then it is the turn of the next one there. For other targets it means nothing.
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
    /// Each in a box: the map is moved when it grows, and half empty after that.
    at_work: FxHashMap<TargetId, Box<AtWork>>,
    /// All at work, in the order of the addresses and ports where they are probed.
    places: Vec<TargetId>,
    /// Where there was a hint, and none of those who are probed there has gone down since.
    doubted: HashSet<SocketAddr>,
    /// Those in use: a compiled regular expression is far larger than all else that a target needs.
    ways: HashMap<Probe, Way>,
    deadlines: Deadlines,
}

struct AtWork {
    work: Work,
    /// When it is to be served.
    tick: Tick,
}

impl Engine {
    fn run(&mut self) {
        let mut events = Events::with_capacity(1024);
        let mut served = false;
        loop {
            if served && !self.hear_orders_until_the_next_tick() {
                return;
            }
            let now = self.started.elapsed();
            let timeout = self.deadlines.first().map(|tick| tick.from(now));
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                tracing::error!(%error, "Health checks have ended: epoll failed.");
                return;
            }
            self.io.now = self.started.elapsed();
            for event in &events {
                if event.token() == WAKE {
                    if !self.take_orders() {
                        return;
                    }
                    let now = self.started.elapsed();
                    while let Ok(Done { target, probe, outcome, took }) = self.done.try_recv() {
                        self.io.took = Some(took);
                        self.with(target, |work, io| work.outcome(now, probe, outcome, io));
                        self.io.took = None;
                    }
                    continue;
                }
                if let Some(place) = self.io.pings.place(event.token()) {
                    self.pinged(place);
                    continue;
                }
                let id = TargetId(event.token().0 as u32);
                self.with(id, |work, io| work.ready(event.is_error(), io));
            }
            // The sockets are looked at after this moment and before anything that is due at it: an answer that waits here
            // because this thread is late is never taken for silence. The last look of a wait without events is after its end.
            let looked = if events.is_empty() { now + timeout.unwrap_or_default() } else { now };
            served = events.iter().count() < events.capacity() && self.due(looked);
        }
    }

    /// Answers come one by one soon after the probes: to wake for each would cost as much as to send it. False when the checker
    /// has been dropped.
    fn hear_orders_until_the_next_tick(&mut self) -> bool {
        let now = self.started.elapsed();
        match self.orders.recv_timeout(Tick::after(now).from(now)) {
            // The answer to a hinted probe is not to wait.
            Ok(order) => self.take(order),
            Err(error) => error == RecvTimeoutError::Timeout,
        }
    }

    fn pinged(&mut self, place: usize) {
        let now = self.started.elapsed();
        for Pinged { target, probe, outcome } in self.io.pings.read(place) {
            self.with(target, |work, io| {
                work.outcome(now, probe, outcome.map(|()| Factor::FULL).map_err(Trouble::Failed), io)
            });
        }
    }

    /// Takes all orders that wait; false when the checker has been dropped.
    fn take_orders(&mut self) -> bool {
        loop {
            let goes_on = match self.orders.try_recv() {
                Ok(order) => self.take(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => false,
            };
            if !goes_on {
                return false;
            }
        }
    }

    /// False when the checker has been dropped.
    fn take(&mut self, order: Order) -> bool {
        match order {
            Order::Set(targets) => self.set(targets),
            Order::Hint(server) => self.hint(server),
            // Whoever asked may have gone.
            Order::Answer(answer) => drop(answer.send(())),
            Order::Report(answer) => drop(answer.send(self.report())),
            Order::End => return false,
        }
        true
    }

    fn report(&self) -> Probes {
        let now = self.started.elapsed();
        let records = self.at_work.iter().map(|(id, at_work)| (id, at_work.work.record()));
        let last = records.filter_map(|(id, record)| Some((*id, record.last(now)?)));
        Probes { last: last.collect(), checks: self.io.tallies.0.clone() }
    }

    /// One of those that are probed there is enough to learn whether the hint is true: whoever forges it gets one probe.
    fn hint(&mut self, server: SocketAddr) {
        let now = self.started.elapsed();
        let work = |id: &TargetId| self.at_work.get(id).map(|at_work| &at_work.work);
        let place = |id: &TargetId| work(id).map(Work::server);
        let first = self.places.partition_point(|id| place(id) < Some(server));
        let mut there = self.places[first..].iter().take_while(|id| place(id) == Some(server));
        if let Some(id) = there.find(|id| work(id).is_some_and(Work::heeds_hints)).copied() {
            self.doubted.insert(server);
            self.with(id, |work, io| work.hint(now, io));
        }
    }

    fn set(&mut self, targets: Vec<Target>) {
        // Not the time before the wait: that may be long ago.
        let now = self.started.elapsed();
        let wanted: HashSet<TargetId> = targets.iter().map(|target| target.id).collect();
        self.at_work.retain(|id, at_work| {
            wanted.contains(id) || {
                self.deadlines.remove(at_work.tick, *id);
                false
            }
        });
        self.doubted.clear();
        let origins = targets.iter().map(|target| &target.check.origin).collect();
        self.io.pings.keep(&wanted, &origins);
        let new: Vec<_> =
            targets.into_iter().filter(|target| !self.at_work.contains_key(&target.id)).collect();
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        for (number, target) in (0..).zip(new) {
            let first = now + first_probe(number, count, &target.check);
            match self.way(&target.check.probe) {
                Ok(way) => {
                    let record = self.io.tallies.record(target.check.probe.name());
                    let work = Work::new(&target, way, record, first);
                    let tick = Tick::of(work.deadline());
                    self.deadlines.insert(tick, target.id);
                    self.at_work.insert(target.id, Box::new(AtWork { work, tick }));
                }
                Err(reason) => self
                    .io
                    .report(target.id, Change { up: false, factor: Factor::FULL, reason: reason.into() }),
            }
        }
        self.ways.retain(|_, way| way.in_use());
        self.places = self.at_work.keys().copied().collect();
        self.places.sort_by_cached_key(|id| (self.at_work.get(id).map(|at_work| at_work.work.server()), *id));
    }

    fn way(&mut self, probe: &Probe) -> Result<Way, String> {
        if let Some(way) = self.ways.get(probe) {
            return Ok(way.clone());
        }
        let way = Way::new(probe)?;
        self.ways.insert(probe.clone(), way.clone());
        Ok(way)
    }

    /// Serves those whose time has come; whether there were any.
    fn due(&mut self, now: Duration) -> bool {
        let mut served = false;
        for _ in 0..BATCH {
            let Some(id) = self.deadlines.pop(now) else { break };
            if let Some(at_work) = self.at_work.get_mut(&id) {
                at_work.work.due(now, &mut self.io);
                at_work.tick = Tick::of(at_work.work.deadline());
                self.deadlines.insert(at_work.tick, id);
                served = true;
            }
        }
        served
    }

    /// Lets a target, if it still exists, do something, and keeps its tick.
    fn with(&mut self, id: TargetId, act: impl FnOnce(&mut Work, &mut Io)) {
        let Some(at_work) = self.at_work.get_mut(&id) else { return };
        let heeded = at_work.work.heeds_hints();
        act(&mut at_work.work, &mut self.io);
        let tick = Tick::of(at_work.work.deadline());
        if tick != at_work.tick {
            self.deadlines.remove(at_work.tick, id);
            self.deadlines.insert(tick, id);
            at_work.tick = tick;
        }
        if heeded && !at_work.work.heeds_hints() {
            let server = at_work.work.server();
            if self.doubted.remove(&server) {
                // It was true: the others there are to learn it, too.
                self.hint(server);
            }
        }
    }
}

/// How long the first probe of the target with this number, of `count` new ones, waits: so that many do not make a burst, and
/// a few wait for nothing.
fn first_probe(number: u32, count: u32, check: &Check) -> Duration {
    let longest = check.interval.min(check.timeout) / 2;
    SPACING.saturating_mul(count).min(longest).mul_f64(f64::from(number) / f64::from(count))
}

#[cfg(test)]
mod tests;
