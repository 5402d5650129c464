//! What is to be run, here or in the guest: plain data that travels to the guest as JSON.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};

/// Commands to run in this order; one that fails does not stop the others.
#[derive(Serialize, Deserialize)]
pub struct Job {
    /// The commands.
    pub commands: Vec<Command>,
}

/// One command.
#[derive(Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// Working directory, the same path on the host and in the guest.
    pub cwd: PathBuf,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
}

impl Command {
    /// A command without variables of its own.
    pub fn new(argv: Vec<String>, cwd: &Path) -> Command {
        Command { argv, cwd: cwd.to_owned(), env: Vec::new() }
    }

    /// Ready to spawn.
    pub fn process(&self) -> std::process::Command {
        let mut process = crate::tool(&self.argv[0]);
        process.args(&self.argv[1..]).current_dir(&self.cwd).envs(self.env.iter().cloned());
        process
    }

    /// Runs it on this machine, echoing each line of its standard output and handing it to `line`; true = exit 0.
    pub fn run_here(&self, line: &mut dyn FnMut(&str)) -> Result<bool, String> {
        let said = |error| format!("{}: {error}", self.argv.join(" "));
        let mut child = self.process().stdout(Stdio::piped()).stdin(Stdio::null()).spawn().map_err(said)?;
        for text in BufReader::new(child.stdout.take().ok_or("no stdout")?).split(b'\n') {
            let text = String::from_utf8_lossy(&text.map_err(said)?).into_owned();
            println!("{text}");
            line(&text);
        }
        Ok(child.wait().map_err(said)?.success())
    }
}
