//! What systemd is told, in the order in which it is told: a socket of the test stands where its own would be.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use lab::{Family, Network, Process, case, reading, wait_until};
use libtest_mimic::Trial;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::setup::{IPVSD, LIMIT, PATIENT, command, config, echoes};

const FAMILY: Family = Family::V4;

pub fn tests() -> Vec<Trial> {
    vec![
        case("supervise::systemd_is_told_what_happens", told),
        case("supervise::what_fails_is_a_status_and_not_readiness", failing),
        case("supervise::the_watchdog_is_not_fed_while_the_checker_hangs", hanging),
    ]
}

/// ipvsd, and who hears what it tells systemd.
struct Supervised {
    process: Process,
    socket: UnixDatagram,
    dir: TempDir,
}

impl Supervised {
    /// With a watchdog of two minutes: it is fed every half.
    fn start(network: &Network, text: &str) -> Supervised {
        Supervised::watched(network, text, Duration::from_secs(120))
    }

    fn watched(network: &Network, text: &str, watchdog: Duration) -> Supervised {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, address) = (dir.path().join("ipvsd.toml"), dir.path().join("notify"));
        fs::write(&file, text).expect("writing the config");
        let socket = UnixDatagram::bind(&address).expect("a socket");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut command = Command::new(IPVSD);
        command.arg("run").arg("--config").arg(file).env("NOTIFY_SOCKET", address);
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        command.env("RUNTIME_DIRECTORY", network.director.runtime_directory());
        Supervised { process: Process::start(&network.director, &mut command), socket, dir }
    }

    /// Waits for a message with this line; every message until then, this one last.
    fn until(&self, line: &str) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            let mut bytes = [0; 4096];
            let length = self
                .socket
                .recv(&mut bytes)
                .unwrap_or_else(|error| panic!("no {line} after {messages:?}: {error}"));
            messages.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            if messages.last().is_some_and(|message| message.lines().any(|found| found.starts_with(line))) {
                return messages;
            }
        }
    }
}

fn told() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}\ndrain = \"7s\""));
    let mut daemon = Supervised::start(&network, &text);
    let before = daemon.until("READY=1");
    assert!(before[0].contains("STATUS=reading the kernel and making it as wanted"), "{before:?}");
    assert!(before.iter().any(|message| message.contains("WATCHDOG=1")), "{before:?}");
    assert_eq!(reading::services(&network.director).len(), 1, "ready before it was");
    assert!(before.last().is_some_and(|last| last.contains("STATUS=the kernel is as wanted")), "{before:?}");

    for good in [false, true] {
        let text = if good { text.as_str() } else { "on_stop = 1\n" };
        fs::write(daemon.dir.path().join("ipvsd.toml"), text).expect("writing the config");
        let (status, _, said) = command(&network.director, &["reload"]);
        assert_eq!(status, if good { 0 } else { 2 }, "{said}");
        let begun = daemon.until("RELOADING=1");
        assert!(begun.last().is_some_and(|last| last.contains("MONOTONIC_USEC=")), "{begun:?}");
        daemon.until("READY=1");
    }

    daemon.process.signal(Signal::SIGTERM);
    let end = daemon.until("STOPPING=1").pop().expect("a message");
    let asked = end.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC=")?.parse::<u64>().ok());
    let asked = asked.unwrap_or_else(|| panic!("{end}"));
    assert!((15_000_000..=17_000_000).contains(&asked), "the longest drain and ten seconds: {asked}");
    assert!(daemon.process.wait_exit(LIMIT).success());
}

fn failing() {
    let network = Network::new(2);
    let text = config(&network, FAMILY, 5300, "check = \"none\"\nscheduler = \"nosuch\"");
    let daemon = Supervised::start(&network, &text);
    let messages = daemon.until("STATUS=not as wanted, will be tried again: ");
    assert!(!messages.iter().any(|message| message.contains("READY=1")), "{messages:?}");
    assert!(messages.last().is_some_and(|last| last.contains("no such scheduler")), "{messages:?}");
}

/// One thread of it stands still, and all others go on.
fn hanging() {
    let network = Network::new(2);
    let _servers = echoes(&network, 5300);
    let text = config(&network, FAMILY, 5300, &format!("check = {PATIENT}"));
    let watchdog = Duration::from_secs(4);
    let daemon = Supervised::watched(&network, &text, watchdog);
    daemon.until("READY=1");
    daemon.until("WATCHDOG=1");
    let held = Held::thread(daemon.process.id(), "health");
    daemon.process.wait_for("the checker has said nothing for 4s", LIMIT);
    // What was said until then.
    daemon.socket.set_nonblocking(true).expect("a socket");
    while daemon.socket.recv(&mut [0; 4096]).is_ok() {}
    daemon.socket.set_nonblocking(false).expect("a socket");
    daemon.socket.set_read_timeout(Some(2 * watchdog)).expect("a limit");
    let fed = daemon.socket.recv(&mut [0; 4096]);
    assert!(fed.is_err(), "systemd is told nothing any more");
    network.director.check("ipvsadm", &["-C"]);
    wait_until(LIMIT, "the main loop turns", || reading::services(&network.director).len() == 1);
    daemon.socket.set_read_timeout(Some(LIMIT)).expect("a limit");
    drop(held);
    daemon.until("WATCHDOG=1");
}

/// A thread that a tracer has stopped: neither it nor its process notices. Goes on when dropped.
pub struct Held(Pid);

impl Held {
    /// Stops the thread of this name.
    pub fn thread(process: u32, name: &str) -> Held {
        let threads = fs::read_dir(format!("/proc/{process}/task")).expect("its threads").flatten();
        let is = |number: &String| {
            let path = format!("/proc/{process}/task/{number}/comm");
            fs::read_to_string(path).is_ok_and(|its| its.trim_end() == name)
        };
        let mut numbers = threads.filter_map(|entry| entry.file_name().into_string().ok()).filter(is);
        let number = numbers.next().unwrap_or_else(|| panic!("no thread {name} in {process}"));
        let thread = Pid::from_raw(number.parse().expect("a number"));
        ptrace::seize(thread, ptrace::Options::empty()).expect("tracing it");
        let held = Held(thread);
        ptrace::interrupt(thread).expect("stopping it");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
        held
    }

    /// Waits until its process has ended: before its tracer knows, nobody else does.
    pub fn wait_for_its_end(self) {
        wait_until(LIMIT, "the end of the thread", || {
            let state = waitpid(self.0, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)).expect("its state");
            if matches!(state, WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..)) {
                // Another stop on its way out.
                ptrace::cont(self.0, None).expect("going on");
            }
            matches!(state, WaitStatus::Exited(..) | WaitStatus::Signaled(..))
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None);
    }
}
