//! Counts what passed, failed and was skipped, over every executable, here and in the guest, and says it in one line.

use std::time::Instant;

use crate::job::Command;

/// The sum so far.
#[derive(Default)]
pub struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Closing lines of test executables seen.
    results: u64,
    /// Steps that failed without a test that did.
    broken: Vec<String>,
    /// VMs that did not come to the end of their job.
    vms_died: u64,
    /// Seconds and names.
    times: Vec<(f32, String)>,
}

impl Tally {
    /// Reads one line of a test executable's output: its closing line, and `took SECONDS s NAME` of kernel tests.
    pub fn line(&mut self, line: &str) {
        if let Some(result) = line.find("test result: ").map(|at| &line[at..]) {
            let count = |word: &str| {
                let before = &result[..result.find(word)?];
                before.trim_end().rsplit(' ').next()?.parse::<u64>().ok()
            };
            self.results += 1;
            self.passed += count("passed").unwrap_or(0);
            self.failed += count("failed").unwrap_or(0);
            self.skipped += count("ignored").unwrap_or(0);
        } else if let Some((seconds, name)) =
            line.strip_prefix("took ").and_then(|rest| rest.split_once(" s "))
            && let Ok(seconds) = seconds.parse()
        {
            self.times.push((seconds, name.to_owned()));
        }
    }

    /// Runs a test executable here and counts it.
    pub fn run_here(&mut self, command: &Command) -> Result<(), String> {
        let (start, failed, results) = (Instant::now(), self.failed, self.results);
        let good = command.run_here(&mut |line| self.line(line))?;
        let name = command.argv[0].rsplit('/').next().unwrap_or_default();
        if !good && self.failed == failed {
            self.broken.push(format!("{name} ended with a failure that no test explains"));
        }
        if good && self.results == results && name != "cargo" {
            self.broken.push(format!("{name} printed no result"));
        }
        self.times.push((start.elapsed().as_secs_f32(), format!("{name} (all of it)")));
        Ok(())
    }

    /// Notes a step that is not a test.
    pub fn step(&mut self, name: &str, good: bool) {
        if !good {
            self.broken.push(name.to_owned());
        }
    }

    /// Notes what could not be run; a failure where CI=true.
    pub fn skip_all(&mut self, reason: &str) {
        println!("skipped: {reason}");
        self.skipped += 1;
        if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
            self.broken.push(format!("skipped where CI=true: {reason}"));
        }
    }

    /// Notes that a VM died with tests to go; a failure unless another goes on with them.
    pub fn vm_died(&mut self, last: bool) {
        self.vms_died += 1;
        self.step(&format!("kernel tests: {} VMs died, the last words are above", self.vms_died), !last);
    }

    /// Prints the slowest and the closing line; true if nothing failed.
    pub fn finish(mut self) -> bool {
        self.times.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!("\nslowest:");
        for (seconds, name) in self.times.iter().take(10) {
            println!("{seconds:8.1} s  {name}");
        }
        for what in &self.broken {
            println!("FAILED: {what}");
        }
        if self.vms_died > 0 {
            println!("VMs that died: {}; the theme each was at ran again in the next", self.vms_died);
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        self.failed == 0 && self.broken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn closing_lines_and_times_are_summed() {
        let mut tally = Tally::default();
        tally.line(
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        );
        tally.line("noise test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out");
        tally.line("took 1.500 s e2e spread");
        assert_eq!((tally.passed, tally.failed, tally.skipped, tally.results), (13, 2, 3, 2));
        assert_eq!(tally.times, [(1.5, "e2e spread".to_owned())]);
        assert!(!tally.finish());
    }

    #[test]
    fn a_broken_step_fails_the_run() {
        let mut tally = Tally::default();
        tally.step("clippy", true);
        assert!(Tally::default().finish());
        tally.step("fmt", false);
        assert!(!tally.finish());
    }
}
