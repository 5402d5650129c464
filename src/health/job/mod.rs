//! What takes a task: one file for each kind of job.

mod exec;
mod file;
mod http;
mod template;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

pub use exec::{Commands, Exec};
pub use file::File;
pub use http::Http;

use super::failure::Failure;
use super::socket::Trouble;

/// Larger factors of a weight are a mistake.
const MAX_FACTOR: u32 = 1_000;

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
    /// Runs it once for a server; gives the factor of the weight in percent. It is dropped after `timeout`.
    pub async fn run(
        &self,
        server: SocketAddr,
        timeout: Duration,
        commands: &Commands,
    ) -> Result<u32, Trouble> {
        match self {
            Self::File(file) => file.run(server).await.map_err(Trouble::Failed),
            Self::Http(http) => http.run(server).await.map_err(Trouble::Failed),
            Self::Exec(exec) => exec.run(server, timeout, commands).await,
        }
    }
}

/// The factor of a weight in percent, written as a number from 0 to 1000.
fn factor(what: &str, text: &str) -> Result<u32, Failure> {
    match text.parse() {
        Ok(factor) if factor <= MAX_FACTOR => Ok(factor),
        _ => {
            let text = super::protocol::printable(text);
            Err(Failure::Said(format!("{what} is \"{text}\", not a number from 0 to {MAX_FACTOR}")))
        }
    }
}
