//! Kernel tests as a test executable: names, filters, honest skips, times; and waiting for a condition.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Trial};

use crate::{agent_main, can_run, in_vm, netns};

static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// A test that needs a kernel with IPVS; it fails by panicking. Without such a kernel it is skipped with the reason.
pub fn case(name: &str, test: fn()) -> Trial {
    case_if(name, can_run, test)
}

/// A test that changes the machine itself (its modules): it runs in the VM only.
pub fn case_in_vm(name: &str, test: fn()) -> Trial {
    let vm = || if in_vm() { can_run() } else { Err("it changes the machine: in the VM only".into()) };
    case_if(name, vm, test)
}

fn case_if(name: &str, can_run: fn() -> Result<(), String>, test: fn()) -> Trial {
    let title = name.to_owned();
    Trial::ignorable_test(name, move || {
        if let Err(why) = can_run() {
            return Ok(Completion::ignored_with(why));
        }
        let start = Instant::now();
        test();
        TIMES.lock().map_err(|_| "a test died while it noted its time")?.push((start.elapsed(), title));
        Ok(Completion::Completed)
    })
}

/// The whole `main` of a test executable. Ends with a line `took SECONDS s NAME` for each test that passed.
pub fn suite(tests: Vec<Trial>) -> ExitCode {
    agent_main();
    netns::remove_stale();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), tests);
    for (time, name) in TIMES.lock().iter().flat_map(|times| times.iter()) {
        println!("took {:.3} s {name}", time.as_secs_f32());
    }
    conclusion.exit_code()
}

/// Waits until `holds`, asking every few milliseconds.
///
/// # Panics
/// After `limit`, with `what`.
pub fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
