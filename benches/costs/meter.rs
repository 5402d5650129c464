//! Counting: under `-icount shift=0` a nanosecond on the processor is one instruction.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// What `work` costs on this thread, with what the kernel does in its system calls.
pub fn instructions<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("this thread's clock");
    let start = now();
    let result = work();
    (result, Duration::from(now() - start).as_nanos() as u64)
}

/// Counts a process with all its threads and children.
pub struct Meter(PathBuf);

impl Meter {
    /// From now on; children that it has already are left out.
    pub fn of(process: u32) -> Meter {
        let group = PathBuf::from(format!("/sys/fs/cgroup/meter-{process}"));
        fs::create_dir(&group).expect("a control group");
        fs::write(group.join("cgroup.procs"), process.to_string()).expect("a process in a control group");
        Meter(group)
    }

    /// What it costs in each second while nobody does anything, taken over `time`.
    pub fn each_second(&self, time: Duration) -> u64 {
        let before = self.read();
        std::thread::sleep(time);
        (self.read() - before) / time.as_secs()
    }

    /// What it has cost so far.
    pub fn read(&self) -> u64 {
        let text = fs::read_to_string(self.0.join("cpu.stat")).expect("cpu.stat");
        let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<u64>().ok());
        usage.expect("usage_usec in cpu.stat") * 1000
    }
}

/// One figure of a table, in millions.
pub fn figure(what: &str, instructions: u64, target: &str) {
    println!("{what:<60} {:>9.1} M  {target}", instructions as f64 / 1e6);
}

static MISSED: AtomicBool = AtomicBool::new(false);

/// Whether a target was missed.
pub fn missed() -> bool {
    MISSED.load(Ordering::Relaxed)
}

/// One figure of a table that has a target.
pub fn row(what: &str, figure: &str, target: &str, met: bool) {
    MISSED.fetch_or(!met, Ordering::Relaxed);
    println!("{what:<60} {figure:>20}  target {target}: {}", if met { "met" } else { "MISSED" });
}
