//! Asking the running daemon, for the commands that do.

use std::process::ExitCode;

use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::Access;
use crate::admin::client::{self, Answer, Error};

/// How things stand: what `GET target` is answered.
pub fn tell(target: &str) -> Result<Answer, ExitCode> {
    wait(client::tell(target))
}

/// As [`tell`], read as a `T`; what the daemon refuses is printed.
pub fn told<T: DeserializeOwned>(target: &str) -> Result<(T, Value), ExitCode> {
    let answer = tell(target)?;
    if answer.status != StatusCode::OK {
        return Err(refused(&answer));
    }
    match serde_json::from_value(answer.said.clone()) {
        Ok(told) => Ok((told, answer.said)),
        Err(error) => {
            eprintln!(
                "ipvsd: the daemon says what this command does not understand ({error}): is it of another version?"
            );
            Err(ExitCode::from(super::FAILED))
        }
    }
}

/// Lets the daemon do something: what `POST target` with this body is answered.
pub fn act(target: &str, body: Option<&Value>) -> Result<Answer, ExitCode> {
    wait(client::act(&Access::Control.socket(), target, body))
}

/// Prints why the daemon does not do it.
pub fn refused(answer: &Answer) -> ExitCode {
    for line in answer.text().lines() {
        eprintln!("ipvsd: {line}");
    }
    ExitCode::from(super::FAILED)
}

fn wait(answer: impl Future<Output = Result<Answer, Error>>) -> Result<Answer, ExitCode> {
    super::runtime()?.block_on(answer).map_err(|error| {
        eprintln!("ipvsd: {error}");
        ExitCode::from(super::FAILED)
    })
}

/// A target with these arguments.
pub fn target(path: &str, arguments: &[(&str, Option<&str>)]) -> String {
    let given: Vec<(&str, &str)> =
        arguments.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
    match serde_urlencoded::to_string(given) {
        Ok(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path.to_owned(),
    }
}
