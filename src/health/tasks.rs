//! The calls that take a task: each probe runs as one on a thread of its own, and its outcome comes back to the engine.
//!
//! ```text
//! engine ── Tasks::run ──> thread "health-tasks" (tokio) ── Done, and a wake ──> engine
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::Waker;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::job::{Commands, Job};
use super::socket::Trouble;
use crate::core::model::{Check, Factor, TargetId};

/// So many threads read files at a time: one that hangs in a dead file system holds up few others.
const READERS: usize = 8;

/// Runs jobs. The thread is started for the first one; dropping this ends it, and what still runs, but for a file that hangs.
#[derive(Debug)]
pub struct Tasks {
    calls: Option<UnboundedSender<Call>>,
    thread: Option<JoinHandle<()>>,
    done: Sender<Done>,
    waker: Arc<Waker>,
}

/// A job to be run for a probe.
#[derive(Debug)]
pub struct Call {
    /// Whose probe.
    pub target: TargetId,
    /// Its number.
    pub probe: u64,
    /// Where the server is probed.
    pub server: SocketAddr,
    /// How long the job may take, and where its probe comes from.
    pub check: Arc<Check>,
    /// What is run.
    pub job: Arc<Job>,
}

/// A job that has ended in time, or could not be begun.
#[derive(Debug)]
pub struct Done {
    /// Whose probe.
    pub target: TargetId,
    /// Its number.
    pub probe: u64,
    /// What it makes of the weight, or why it failed.
    pub outcome: Result<Factor, Trouble>,
    /// How long it took.
    pub took: Duration,
}

impl Tasks {
    /// Outcomes go to `done`, with a wake each.
    pub fn new(done: Sender<Done>, waker: Arc<Waker>) -> Tasks {
        Tasks { calls: None, thread: None, done, waker }
    }

    /// Begins a job.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn run(&mut self, call: Call) -> Result<(), Trouble> {
        if self.calls.is_none() {
            self.start().map_err(|error| Trouble::ours(&error))?;
        }
        if let Some(calls) = &self.calls {
            // The thread lives as long as this sender.
            let _ = calls.send(call);
        }
        Ok(())
    }

    fn start(&mut self) -> io::Result<()> {
        let (calls, received) = unbounded_channel();
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(READERS).build()?;
        let (done, waker) = (self.done.clone(), Arc::clone(&self.waker));
        let thread = std::thread::Builder::new()
            .name("health-tasks".to_owned())
            .spawn(move || serve(runtime, received, &done, &waker))?;
        (self.calls, self.thread) = (Some(calls), Some(thread));
        Ok(())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(runtime: Runtime, mut calls: UnboundedReceiver<Call>, done: &Sender<Done>, waker: &Arc<Waker>) {
    let commands = Arc::new(Commands::new());
    runtime.block_on(async {
        while let Some(Call { target, probe, server, check, job }) = calls.recv().await {
            let (done, waker, commands) = (done.clone(), Arc::clone(waker), Arc::clone(&commands));
            tokio::spawn(async move {
                // The engine knows by itself when the time of a probe is over.
                let began = Instant::now();
                let outcome = job.run(server, &check, &commands);
                let Ok(outcome) = tokio::time::timeout(check.timeout, outcome).await else {
                    return;
                };
                // An engine that has ended wants nothing; one that cannot be woken looks at the next event.
                let _ = done.send(Done { target, probe, outcome, took: began.elapsed() });
                let _ = waker.wake();
            });
        }
    });
    // Not waiting for a file that hangs.
    runtime.shutdown_background();
}
