//! The library against a real kernel: each case in a network namespace of its own.
//!
//! Needs root and a kernel with IPVS; says `skipped: …` and why where there is neither.

mod cases;

use std::process::{Command, ExitCode};
use std::thread;

use ipvs_netlink::blocking::Client;
use ipvs_netlink::{Error, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sched::{CloneFlags, unshare};

/// Set for the child that asks the kernel without any capability.
const UNPRIVILEGED: &str = "IPVS_NETLINK_LIVE_UNPRIVILEGED";

fn main() -> ExitCode {
    if std::env::var_os(UNPRIVILEGED).is_some() {
        return ask_unprivileged();
    }
    let arguments = Arguments::from_args();
    let obstacle = in_namespace(|| Client::connect().map(drop).map_err(|error| error.to_string()))
        .and_then(|result| result)
        .err();
    if let (Some(reason), false) = (&obstacle, arguments.list) {
        println!("skipped: {reason}");
    }
    let trial = |&(name, case): &(&str, fn())| {
        let run = move || in_namespace(case).map_err(Failed::from);
        Trial::test(name, run).with_ignored_flag(obstacle.is_some())
    };
    let trials = cases::ALL.iter().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs `work` on a thread with a fresh network namespace; an error if there can be none, or `work` panicked.
///
/// Its `lo` is up: a namespace that never had an IPv4 address has no table of local routes, and the kernel then
/// takes every IPv4 destination for a broadcast address and refuses it.
fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> std::result::Result<T, String> {
    let enter = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("no network namespace: {errno}"))?;
        match Command::new("ip").args(["link", "set", "lo", "up"]).status() {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("cannot set lo up with ip: {other:?}")),
        }
    };
    thread::scope(|scope| scope.spawn(|| enter().map(|()| work())).join())
        .unwrap_or_else(|_| Err("panicked: the message is above".to_owned()))
}

/// The child's part of the case `without_privilege_nothing_is_told`: exit status 0 is the error that should be.
fn ask_unprivileged() -> ExitCode {
    let answer: Result<_> = Client::connect().and_then(|mut client| client.list_services());
    match answer {
        Err(Error::NotPermitted(_)) => ExitCode::SUCCESS,
        other => {
            eprintln!("an unprivileged process got {other:?}");
            ExitCode::FAILURE
        }
    }
}
