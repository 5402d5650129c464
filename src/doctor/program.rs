//! Running a program that only reads, and what it printed.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// So long may one take.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs it to its end; what it printed, as text.
///
/// # Errors
/// Why there is no answer, in words: not installed, what it said, or how it ended.
pub async fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = output(program, arguments, "").await?;
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

/// Runs it to its end with this input; what it printed, whether it succeeded or not.
///
/// # Errors
/// It could not be run, in words.
pub async fn feed(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let output = output(program, arguments, input).await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn output(program: &str, arguments: &[&str], input: &str) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("`{program}` is not installed"),
        _ => format!("`{program}` cannot be run: {error}"),
    })?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that ends before it has read all says why itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    // Both at once: it may print before it has read all.
    let both = async { tokio::join!(write, child.wait_with_output()).1 };
    match tokio::time::timeout(LIMIT, both).await {
        Err(_) => Err(format!("`{program}` was not done after {} s", LIMIT.as_secs())),
        Ok(output) => output.map_err(|error| format!("`{program}` cannot be run: {error}")),
    }
}
