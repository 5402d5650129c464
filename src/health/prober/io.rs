//! What all probers share: where they register, what they read into, and whom they tell.

use std::net::SocketAddr;
use std::time::Duration;

use mio::Registry;
use tokio::sync::mpsc::UnboundedSender;

use crate::core::model::{TargetId, Verdict};
use crate::core::probes::Ended;
use crate::health::machine::{Change, Machine};
use crate::health::ping::Pings;
use crate::health::record::{Record, Tallies};
use crate::health::socket::{Lack, control_buffer};
use crate::health::tasks::Tasks;

/// The largest UDP payload.
const DATAGRAM: usize = 65_535;
/// How often the log says that probes could not be sent for want of something on the director.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// What all probers share.
#[derive(Debug)]
pub struct Io {
    /// Where sockets are registered.
    pub registry: Registry,
    /// The echo requests of all targets.
    pub pings: Pings,
    /// The tasks of all targets.
    pub tasks: Tasks,
    verdicts: UnboundedSender<Verdict>,
    pub(super) request: Vec<u8>,
    pub(super) datagram: Vec<u8>,
    pub(super) control: Vec<u8>,
    complained: Option<Duration>,
    /// The engine's time, as of the last look at the clock.
    pub now: Duration,
    /// How long the answer took that is being dealt with, where that is known better than by when it is dealt with.
    pub took: Option<Duration>,
    /// What became of all probes.
    pub tallies: Tallies,
}

impl Io {
    /// Sockets are registered with `registry`, verdicts go to `verdicts`.
    pub fn new(registry: Registry, tasks: Tasks, verdicts: UnboundedSender<Verdict>) -> Io {
        Io {
            registry,
            pings: Pings::new(),
            tasks,
            verdicts,
            request: Vec::new(),
            datagram: vec![0; DATAGRAM],
            control: control_buffer(),
            complained: None,
            now: Duration::ZERO,
            took: None,
            tallies: Tallies::default(),
        }
    }

    /// Counts the probe of this machine that has just ended, if one has. If nobody knows better how long its answer took, and
    /// `by_sight`, the answer came now.
    pub fn count(&mut self, machine: &mut Machine, record: &mut Record, by_sight: bool) {
        let Some((ended, sent)) = machine.take_ended() else { return };
        let took = self.took.or_else(|| by_sight.then(|| self.now.saturating_sub(sent)));
        record.count(self.now, ended, took.filter(|_| ended == Ended::Answered), &mut self.tallies);
    }

    /// Sends a verdict; if nobody listens any more, the daemon is about to end.
    pub fn report(&self, target: TargetId, change: Change) {
        let _ = self.verdicts.send(Verdict {
            target,
            up: change.up,
            factor: change.factor,
            reason: change.reason,
        });
    }

    /// Says now and then that probes are left out for want of something on the director.
    pub fn complain(&mut self, now: Duration, server: SocketAddr, lack: &Lack) {
        if self.complained.is_none_or(|last| now >= last + COMPLAINT_INTERVAL) {
            self.complained = Some(now);
            tracing::warn!(%server, "Probes are left out: {lack}. Verdicts stand as they are.");
        }
    }
}
