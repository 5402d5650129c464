//! `ipvsd drain`, `undrain` and `weight`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::ask;
use super::words::span;
use crate::core::overrides::Override;

/// Which server.
#[derive(Args)]
pub struct Server {
    /// The service's name in the config.
    service: String,
    /// The server: its address, with the port where there are several.
    server: String,
}

/// For how long, and whether at any price.
#[derive(Args)]
pub struct Terms {
    /// For so long, and then as the config says: 10m, 1h30m; without it until `ipvsd undrain`.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
    /// Even if no server with weight is left, so that clients are refused.
    #[arg(long)]
    force: bool,
}

pub fn drain(server: &Server, terms: &Terms) -> ExitCode {
    act("/drain", server, Some(terms), None)
}

pub fn weight(server: &Server, weight: u32, terms: &Terms) -> ExitCode {
    act("/weight", server, Some(terms), Some(weight))
}

pub fn undrain(server: &Server) -> ExitCode {
    act("/undrain", server, None, None)
}

fn act(path: &str, server: &Server, terms: Option<&Terms>, weight: Option<u32>) -> ExitCode {
    let mut body = json!({ "service": server.service, "server": server.server });
    let lasts =
        terms.and_then(|terms| terms.lasts).map(|lasts| humantime::format_duration(lasts).to_string());
    let set = [
        ("weight", weight.map(Value::from)),
        ("for", lasts.map(Value::from)),
        ("force", terms.filter(|terms| terms.force).map(|_| Value::from(true))),
    ];
    for (name, value) in set {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    let answer = match ask::act(path, Some(&body)) {
        Ok(answer) => answer,
        Err(status) => return status,
    };
    let said = serde_json::from_value(answer.said["override"].clone());
    let (StatusCode::OK, Ok(it)) = (answer.status, said) else { return ask::refused(&answer) };
    let Override { service, server, weight, since, until, .. } = it;
    let lasts = match until {
        Some(until) => format!("for {}", span(until.saturating_sub(since))),
        None => format!("until `ipvsd undrain {service} {server}`"),
    };
    match (path, weight) {
        ("/undrain", _) => println!("{service} {server}: as the config says"),
        (_, 0) => println!("{service} {server}: drained {lasts}"),
        _ => println!("{service} {server}: weight {weight} {lasts}"),
    }
    ExitCode::SUCCESS
}
