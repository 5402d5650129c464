//! The `exec` probe: a command of the operator's asks the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::Semaphore;

use super::percentage;
use super::template::fill;
use crate::command::{End, Outcome, Runners};
use crate::core::model::{Command, ExecProbe, ExecWeight, Factor};
use crate::health::failure::Failure;
use crate::health::protocol::printable;
use crate::health::socket::{Lack, Trouble};

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
    runners: Runners,
    turns: Semaphore,
}

impl Commands {
    /// Nothing is started until a command needs it.
    pub fn new() -> Commands {
        Commands { runners: Runners::new(AT_ONCE), turns: Semaphore::new(AT_ONCE) }
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
    ) -> Result<Factor, Trouble> {
        let turn = tokio::time::timeout(timeout / 2, commands.turns.acquire()).await;
        // The semaphore is never closed.
        let Ok(_turn) = turn else { return Err(Trouble::Ours(Lack::Of(Errno::EBUSY))) };
        let ExecProbe { argv, network, user, .. } = &self.probe;
        let argv = argv.iter().map(|word| fill(word, server)).collect();
        let command = Arc::new(Command { argv, timeout, network: *network, user: user.clone() });
        let runner = commands.runners.of(&command).await.map_err(|error| Trouble::ours(&error))?;
        let environment =
            vec![("IPVSD_SERVER", server.ip().to_string()), ("IPVSD_PORT", server.port().to_string())];
        self.judge(&runner.run(command, environment).await).map_err(Trouble::Failed)
    }

    fn judge(&self, outcome: &Outcome) -> Result<Factor, Failure> {
        let said = String::from_utf8_lossy(&outcome.said);
        let line = said.trim_start().lines().next().unwrap_or_default().trim_end();
        match (&outcome.end, self.probe.weight) {
            (End::Exit(0), ExecWeight::Printed) => percentage("what the command says", line),
            (End::Exit(0), _) => Ok(Factor::FULL),
            (End::Exit(status @ 2..), ExecWeight::Status) => {
                Ok(Factor::Weight { weight: u32::from(status - 2) })
            }
            (end, _) if line.is_empty() => Err(Failure::Said(format!("command: {end}"))),
            (end, _) => Err(Failure::Said(format!("command: {end}: {}", printable(line)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(weight: ExecWeight, end: End, said: &[u8]) -> Result<Factor, String> {
        let probe = ExecProbe { argv: vec!["/bin/x".to_owned()], network: false, user: None, weight };
        Exec::new(&probe).judge(&Outcome { end, said: said.to_vec() }).map_err(|why| why.to_string())
    }

    #[test]
    fn the_exit_status_tells() {
        assert_eq!(judge(ExecWeight::None, End::Exit(0), b"whatever\n"), Ok(Factor::FULL));
        assert_eq!(judge(ExecWeight::None, End::Exit(2), b""), Err("command: exit status 2".to_owned()));
        let why = "command: exit status 2: CRITICAL - no answer".to_owned();
        assert_eq!(judge(ExecWeight::None, End::Exit(2), b"\nCRITICAL - no answer\nmore\n"), Err(why));
        assert_eq!(
            judge(ExecWeight::None, End::Signal(9), b""),
            Err("command: ended by signal 9".to_owned())
        );
    }

    #[test]
    fn the_first_line_is_the_weight_where_it_is_asked_for() {
        assert_eq!(judge(ExecWeight::Printed, End::Exit(0), b"30\nload is high\n"), Ok(Factor::Percent(30)));
        assert_eq!(judge(ExecWeight::Printed, End::Exit(0), b"0\n"), Ok(Factor::Percent(0)));
        let why = "what the command says is \"\", not a number from 0 to 1000".to_owned();
        assert_eq!(judge(ExecWeight::Printed, End::Exit(0), b""), Err(why));
        assert_eq!(
            judge(ExecWeight::Printed, End::Exit(1), b"30\n"),
            Err("command: exit status 1: 30".to_owned())
        );
    }

    #[test]
    fn the_exit_status_is_the_weight_where_it_is_asked_for() {
        let judge = |status| judge(ExecWeight::Status, End::Exit(status), b"40\n");
        assert_eq!(judge(0), Ok(Factor::FULL));
        assert_eq!(judge(1), Err("command: exit status 1: 40".to_owned()));
        assert_eq!(judge(2), Ok(Factor::Weight { weight: 0 }));
        assert_eq!(judge(255), Ok(Factor::Weight { weight: 253 }));
        let killed = super::tests::judge(ExecWeight::Status, End::Signal(9), b"");
        assert_eq!(killed, Err("command: ended by signal 9".to_owned()));
    }

    proptest! {
        #[test]
        fn garbage_gives_a_short_printable_reason(said: Vec<u8>, status: u8, printed: bool) {
            let weight = if printed { ExecWeight::Printed } else { ExecWeight::None };
            match judge(weight, End::Exit(status), &said) {
                Ok(Factor::Percent(percent)) => prop_assert!(percent <= 1000 && status == 0),
                Ok(factor) => prop_assert!(false, "{factor:?}"),
                Err(why) => prop_assert!(why.chars().all(|c| !c.is_control()) && why.len() < 1000, "{why:?}"),
            }
        }
    }
}
