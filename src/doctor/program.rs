//! Running a program that only reads, and what it printed.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// So long may one take.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs it to its end; what it printed, as text.
///
/// # Errors
/// Why there is no answer, in words: not installed, what it said, or how it ended.
pub async fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(LIMIT, command.output()).await {
        Err(_) => return Err(format!("`{program}` was not done after {} s", LIMIT.as_secs())),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("`{program}` is not installed"));
        }
        Ok(Err(error)) => return Err(format!("`{program}` cannot be run: {error}")),
        Ok(Ok(output)) => output,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.split_whitespace().collect();
    let arguments = arguments.join(" ");
    Err(match said.is_empty() {
        true => format!("`{program} {arguments}`: {}", output.status),
        false => format!("`{program} {arguments}` says: {}", said.join(" ")),
    })
}
