//! Runs the operator's commands: without a shell, without capabilities, with a fixed environment, and never for ever.
//!
//! Capabilities belong to threads, and a child has those of the thread that started it: a thread of its own, which has given them
//! up and can gain none again, starts all commands of one kind.

mod account;
mod runners;
mod trust;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};

pub use account::{Account, may_change};
pub use runners::Runners;
pub use trust::{Untrusted, trusted};

use crate::core::model::Command;

/// So much of what a command says is kept; the rest is read and dropped.
const KEPT: usize = 4096;
/// Where commands find commands.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a command may do beside what any process of the daemon's user may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// Nothing.
    None,
    /// `CAP_NET_ADMIN` and `CAP_NET_RAW`.
    Network,
    /// Nothing, as the user whom the command names.
    Others,
}

/// Runs commands of the same privileges. Dropping it kills those that still run.
#[derive(Debug)]
pub struct Runner {
    /// None once it is dropped.
    jobs: Option<UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    command: Arc<Command>,
    environment: Vec<(&'static str, String)>,
    answer: oneshot::Sender<Outcome>,
}

/// How a command ended, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The first 4096 bytes of its output and errors, as they came.
    pub said: Vec<u8>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exit(u8),
    /// By this signal.
    Signal(i32),
    /// It was killed, with all that it had started, since its time was over.
    Late(Duration),
    /// It could not be started or waited for.
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Late(limit) => write!(f, "killed after {limit:?}"),
            Self::Failed(error) => write!(f, "could not be run: {error}"),
        }
    }
}

impl Runner {
    /// Starts the thread; at most `at_once` commands run at a time, the others wait for their turn.
    ///
    /// # Errors
    /// The kernel gives no thread, or does not let it change its capabilities: the daemon itself lacks those of the network.
    pub fn start(privileges: Privileges, at_once: usize) -> io::Result<Self> {
        let (jobs, mut work) = unbounded_channel::<Job>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("commands".to_owned()).spawn(move || {
            // Ours close by themselves when a command begins; what the daemon itself was started with does not.
            close_fds::set_fds_cloexec_threadsafe(3, &[]);
            let confined = confine(privileges);
            let works = confined.is_ok();
            let _ = ready.send(confined);
            if !works {
                return;
            }
            let turns = Arc::new(Semaphore::new(at_once));
            runtime.block_on(async {
                while let Some(job) = work.recv().await {
                    let turns = Arc::clone(&turns);
                    tokio::spawn(async move {
                        // The semaphore is never closed.
                        let _turn = turns.acquire().await;
                        let outcome = run(privileges, &job.command, job.environment).await;
                        // Whoever asked may have gone.
                        let _ = job.answer.send(outcome);
                    });
                }
            });
        })?;
        is_ready.recv().map_err(io::Error::other)??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs a command to its end, with these variables beside `PATH`.
    pub async fn run(&self, command: Arc<Command>, environment: Vec<(&'static str, String)>) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        if let Some(jobs) = &self.jobs {
            // The thread ends with this struct only.
            let _ = jobs.send(Job { command, environment, answer });
        }
        outcome.await.unwrap_or_else(|_| Outcome {
            end: End::Failed("the thread that runs commands has ended".to_owned()),
            said: Vec::new(),
        })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A process that ended before it would leave its commands behind.
            let _ = thread.join();
        }
    }
}

/// Leaves the calling thread, and every child of it, no more than these privileges for good.
fn confine(privileges: Privileges) -> io::Result<()> {
    let network = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];
    // What the thread keeps, and what its children get of it.
    let (keep, give): (CapsHashSet, CapsHashSet) = match privileges {
        Privileges::None => Default::default(),
        Privileges::Network => (network.into_iter().collect(), network.into_iter().collect()),
        Privileges::Others => (account::CHANGES.into_iter().collect(), CapsHashSet::new()),
    };
    // No executable gives back what is given up here: neither a file's capabilities nor the user root.
    nix::sys::prctl::set_no_new_privs()?;
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    // What is inherited must be permitted, and what is ambient must be both.
    for (set, these) in [
        (CapSet::Effective, &keep),
        (CapSet::Inheritable, &give),
        (CapSet::Permitted, &keep),
        (CapSet::Ambient, &give),
    ] {
        caps::set(None, set, these).map_err(io::Error::other)?;
    }
    Ok(())
}

async fn run(privileges: Privileges, command: &Command, environment: Vec<(&'static str, String)>) -> Outcome {
    let failed = |error: io::Error| Outcome { end: End::Failed(error.to_string()), said: Vec::new() };
    let (mut child, mut output) = match start(privileges, command, environment) {
        Ok(started) => started,
        Err(error) => return failed(error),
    };
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let mut said = Vec::new();
    let ended = tokio::time::timeout(command.timeout, async {
        let mut buffer = [0; KEPT];
        loop {
            tokio::select! {
                status = child.wait() => return status,
                read = output.read(&mut buffer) => match read {
                    Ok(read) if read > 0 => keep(&mut said, &buffer[..read]),
                    // All ends of the pipe are closed.
                    _ => return child.wait().await,
                },
            }
        }
    })
    .await;
    let end = match ended {
        Ok(Ok(status)) => of(status),
        Ok(Err(error)) => End::Failed(error.to_string()),
        Err(_) => End::Late(command.timeout),
    };
    drop(group);
    let _ = child.wait().await;
    let mut buffer = [0; KEPT];
    while let Ok(read) = output.try_read(&mut buffer) {
        if read == 0 {
            break;
        }
        keep(&mut said, &buffer[..read]);
    }
    Outcome { end, said }
}

/// The process group of a command: whatever it started goes with it, also when the daemon ends first.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

fn start(
    privileges: Privileges,
    command: &Command,
    environment: Vec<(&'static str, String)>,
) -> io::Result<(tokio::process::Child, pipe::Receiver)> {
    let (executable, arguments) =
        command.argv.split_first().ok_or_else(|| io::Error::other("the command has no executable"))?;
    let (output, input) = io::pipe()?;
    let mut process = tokio::process::Command::new(executable);
    if privileges == Privileges::Others {
        let user = command.user.as_deref().unwrap_or_default();
        let account =
            Account::named(user).ok_or_else(|| io::Error::other(format!("there is no user {user}")))?;
        // Of the groups that root has beside its own, nothing is left either: that is std's doing.
        process.uid(account.user).gid(account.group);
    }
    let child = process
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(output))?))
}

fn keep(said: &mut Vec<u8>, bytes: &[u8]) {
    let room = KEPT.saturating_sub(said.len()).min(bytes.len());
    said.extend_from_slice(&bytes[..room]);
}

fn of(status: std::process::ExitStatus) -> End {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code as u8),
        (None, Some(signal)) => End::Signal(signal),
        (None, None) => End::Failed(status.to_string()),
    }
}

#[cfg(test)]
mod tests;
