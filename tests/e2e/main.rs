//! End-to-end tests: real packets through a real kernel with IPVS. `tests/run` gives them one.
//! One file for each theme; a test fails by panicking, and what the kernel held then is printed.

mod change;
mod dns;
mod health;
mod lab_itself;
mod rewrite;
mod setup;
mod start;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::suite(
        [
            lab_itself::tests(),
            rewrite::tests(),
            health::tests(),
            change::tests(),
            start::tests(),
            dns::tests(),
        ]
        .into_iter()
        .flatten()
        .collect(),
    )
}
