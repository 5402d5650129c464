//! A process in a namespace whose output is collected line by line; killed when dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Netns, wait_until};

/// A running process. On a panic of the test it prints what the process said.
pub struct Process {
    child: Child,
    name: String,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it in the namespace, without input.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(netns: &Netns, command: &mut Command) -> Process {
        let mut child =
            netns.spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|from| Box::new(from) as _),
            child.stderr.take().map(|from| Box::new(from) as _),
        ];
        let collect = |from: Box<dyn Read + Send>| {
            let lines = Arc::clone(&lines);
            thread::spawn(move || {
                for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            })
        };
        let readers = outputs.into_iter().flatten().map(collect).collect();
        let name = command.get_program().to_string_lossy().into_owned();
        Process { child, name, lines, readers }
    }

    /// All lines of its standard output and standard error so far, in the order in which they came.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line that contains `text`, also among those that came already, and returns it.
    ///
    /// # Panics
    /// If none comes within `limit`.
    pub fn wait_for(&self, text: &str, limit: Duration) -> String {
        let mut found = None;
        wait_until(limit, &format!("a line with {text:?} from {}", self.name), || {
            found = self.lines().into_iter().find(|line| line.contains(text));
            found.is_some()
        });
        found.unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has been waited for already.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .unwrap_or_else(|errno| panic!("{signal} to {}: {errno}", self.name));
    }

    /// Waits for its end; all that it said has been collected then.
    ///
    /// # Panics
    /// If it goes on after `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => assert!(Instant::now() < end, "{} goes on after {limit:?}", self.name),
                Err(error) => panic!("waiting for {}: {error}", self.name),
            }
            thread::sleep(Duration::from_millis(5));
        };
        // A process that it left behind may keep the pipe open: not longer than this.
        let end = Instant::now() + Duration::from_secs(2);
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.lines().join("\n"));
        }
    }
}
