//! What systemd is told, in the order in which it is told: a socket of the test stands where its own would be.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use lab::{Family, Network, Process, case, reading};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::setup::{IPVSD, LIMIT, PATIENT, command, config, echoes};

const FAMILY: Family = Family::V4;

pub fn tests() -> Vec<Trial> {
    vec![
        case("supervise::systemd_is_told_what_happens", told),
        case("supervise::what_fails_is_a_status_and_not_readiness", failing),
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
        let dir = tempfile::tempdir().expect("a directory");
        let (file, address) = (dir.path().join("ipvsd.toml"), dir.path().join("notify"));
        fs::write(&file, text).expect("writing the config");
        let socket = UnixDatagram::bind(&address).expect("a socket");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut command = Command::new(IPVSD);
        command.arg("run").arg("--config").arg(file).env("NOTIFY_SOCKET", address);
        command.env("WATCHDOG_USEC", Duration::from_secs(120).as_micros().to_string());
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
