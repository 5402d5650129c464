//! The `exec` probe: a command of the operator's asks the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::{OnceCell, Semaphore};

use super::factor;
use super::template::fill;
use crate::command::{End, Outcome, Privileges, Runner};
use crate::core::model::{Command, ExecProbe};
use crate::health::failure::Failure;
use crate::health::machine::FULL;
use crate::health::protocol::printable;
use crate::health::socket::Trouble;

/// So many commands of all checks run at a time.
const AT_ONCE: usize = 32;

/// An `exec` probe.
#[derive(Debug)]
pub struct Exec {
    probe: ExecProbe,
}

/// What runs the commands of all probes.
#[derive(Debug)]
pub struct Commands {
    unprivileged: OnceCell<Runner>,
    network: OnceCell<Runner>,
    turns: Semaphore,
}

impl Commands {
    /// Nothing is started until a command needs it.
    pub fn new() -> Commands {
        Commands { unprivileged: OnceCell::new(), network: OnceCell::new(), turns: Semaphore::new(AT_ONCE) }
    }

    async fn runner(&self, network: bool) -> io::Result<&Runner> {
        let (runner, privileges) = match network {
            false => (&self.unprivileged, Privileges::None),
            true => (&self.network, Privileges::Network),
        };
        runner.get_or_try_init(async || Runner::start(privileges, AT_ONCE)).await
    }
}

impl Exec {
    /// Nothing is run yet.
    pub fn new(probe: &ExecProbe) -> Exec {
        Exec { probe: probe.clone() }
    }

    /// Runs the command for this server, for `timeout` at most from the moment of its turn. One that does not get its turn in
    /// half of that time says nothing about the server.
    pub async fn run(
        &self,
        server: SocketAddr,
        timeout: Duration,
        commands: &Commands,
    ) -> Result<u32, Trouble> {
        let turn = tokio::time::timeout(timeout / 2, commands.turns.acquire()).await;
        // The semaphore is never closed.
        let Ok(_turn) = turn else { return Err(Trouble::Ours(Errno::EBUSY)) };
        let runner = commands.runner(self.probe.network).await.map_err(|error| Trouble::ours(&error))?;
        let argv = self.probe.argv.iter().map(|word| fill(word, server)).collect();
        let command = Arc::new(Command { argv, timeout, network: self.probe.network, user: None });
        let environment =
            vec![("IPVSD_SERVER", server.ip().to_string()), ("IPVSD_PORT", server.port().to_string())];
        self.judge(&runner.run(command, environment).await).map_err(Trouble::Failed)
    }

    fn judge(&self, outcome: &Outcome) -> Result<u32, Failure> {
        let said = String::from_utf8_lossy(&outcome.said);
        let line = said.trim_start().lines().next().unwrap_or_default().trim_end();
        match outcome.end {
            End::Exit(0) if self.probe.weight => factor("what the command says", line),
            End::Exit(0) => Ok(FULL),
            ref end if line.is_empty() => Err(Failure::Said(format!("command: {end}"))),
            ref end => Err(Failure::Said(format!("command: {end}: {}", printable(line)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(weight: bool, end: End, said: &[u8]) -> Result<u32, String> {
        let probe = ExecProbe { argv: vec!["/bin/x".to_owned()], network: false, weight };
        Exec::new(&probe).judge(&Outcome { end, said: said.to_vec() }).map_err(|why| why.to_string())
    }

    #[test]
    fn the_exit_status_tells() {
        assert_eq!(judge(false, End::Exit(0), b"whatever\n"), Ok(100));
        assert_eq!(judge(false, End::Exit(2), b""), Err("command: exit status 2".to_owned()));
        let why = "command: exit status 2: CRITICAL - no answer".to_owned();
        assert_eq!(judge(false, End::Exit(2), b"\nCRITICAL - no answer\nmore\n"), Err(why));
        assert_eq!(judge(false, End::Signal(9), b""), Err("command: ended by signal 9".to_owned()));
    }

    #[test]
    fn the_first_line_is_the_weight_where_it_is_asked_for() {
        assert_eq!(judge(true, End::Exit(0), b"30\nload is high\n"), Ok(30));
        assert_eq!(judge(true, End::Exit(0), b"0\n"), Ok(0));
        let why = "what the command says is \"\", not a number from 0 to 1000".to_owned();
        assert_eq!(judge(true, End::Exit(0), b""), Err(why));
        assert_eq!(judge(true, End::Exit(1), b"30\n"), Err("command: exit status 1: 30".to_owned()));
    }

    proptest! {
        #[test]
        fn garbage_gives_a_short_printable_reason(said: Vec<u8>, status: u8, weight: bool) {
            match judge(weight, End::Exit(status), &said) {
                Ok(factor) => prop_assert!(factor <= 1000 && status == 0),
                Err(why) => prop_assert!(why.chars().all(|c| !c.is_control()) && why.len() < 1000, "{why:?}"),
            }
        }
    }
}
