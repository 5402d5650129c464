//! End-to-end tests: real packets through a real kernel with IPVS. `tests/run` gives them one.
//! One file for each theme; a test fails by panicking, and what the kernel held then is printed.

mod admin;

mod beside;
mod capability;
mod change;
mod commands;
mod connections;
mod crash;
mod dns;
mod doctor;
mod drift;
mod experiments;
mod faults;
mod firewall;
mod forwarding;
mod health;
mod history;
mod keepalived;
mod lab_itself;
mod metrics;
mod operate;
mod package;
mod passive;
mod policy;
mod probes;
mod real;
mod rewrite;
mod setup;
mod start;
mod supervise;
mod takeover;
mod terminal;
mod told;
mod traffic;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let themes = [
        admin::tests(),
        beside::tests(),
        change::tests(),
        commands::tests(),
        connections::tests(),
        crash::tests(),
        dns::tests(),
        doctor::tests(),
        drift::tests(),
        experiments::tests(),
        faults::tests(),
        firewall::tests(),
        forwarding::tests(),
        health::tests(),
        history::tests(),
        keepalived::tests(),
        lab_itself::tests(),
        metrics::tests(),
        operate::tests(),
        package::tests(),
        passive::tests(),
        policy::tests(),
        probes::tests(),
        real::tests(),
        rewrite::tests(),
        start::tests(),
        supervise::tests(),
        takeover::tests(),
        terminal::tests(),
        told::tests(),
    ];
    lab::suite(themes.into_iter().flatten().collect())
}
