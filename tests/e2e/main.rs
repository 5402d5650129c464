//! End-to-end tests: real packets through a real kernel with IPVS. `tests/run` gives them one.
//! One file for each theme; a test fails by panicking, and what the kernel held then is printed.

mod admin;
mod lab_itself;
mod rewrite;
mod setup;

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::suite([lab_itself::tests(), rewrite::tests(), admin::tests()].into_iter().flatten().collect())
}
