//! What takes a task: one file for each kind of job.

mod exec;
mod file;
mod http;
mod template;
mod tls;

use std::net::SocketAddr;

pub use exec::{Commands, Exec};
pub use file::File;
pub use http::Http;

use super::failure::Failure;
use super::socket::Trouble;
use crate::core::model::{Check, Factor};

/// Larger percentages of a weight are a mistake.
const MOST: u32 = 1_000;

/// A probe that takes a task.
#[derive(Debug)]
pub enum Job {
    /// A number in a file.
    File(File),
    /// A command.
    Exec(Exec),
    /// A request of HTTP.
    Http(Box<Http>),
}

impl Job {
    /// Runs it once for a server; gives what it makes of the weight. It is dropped after the check's timeout.
    pub async fn run(
        &self,
        server: SocketAddr,
        check: &Check,
        commands: &Commands,
    ) -> Result<Factor, Trouble> {
        match self {
            Self::File(file) => file.run(server).await.map_err(Trouble::Failed),
            Self::Http(http) => http.run(server, &check.origin).await,
            Self::Exec(exec) => exec.run(server, check.timeout, commands).await,
        }
    }
}

/// A percentage of the weight, written as a number from 0 to 1000.
fn percentage(what: &str, text: &str) -> Result<Factor, Failure> {
    match text.parse() {
        Ok(percent) if percent <= MOST => Ok(Factor::Percent(percent)),
        _ => {
            let text = super::protocol::printable(text);
            Err(Failure::Said(format!("{what} is \"{text}\", not a number from 0 to {MOST}")))
        }
    }
}
