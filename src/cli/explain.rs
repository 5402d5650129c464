//! `ipvsd explain`.

use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use super::ask;
use super::status::{BOLD, verdict, weight};
use super::words::span;
use crate::core::Time;
use crate::core::history::Note;
use crate::core::model::WhenAllDown;
use crate::core::status::{CheckStatus, ServerStatus, ServiceStatus, Status};

pub fn main(service: &str, server: Option<&str>, json: bool) -> ExitCode {
    let target = ask::target("/explain", &[("service", Some(service)), ("server", server)]);
    let (told, said) = match ask::told::<Told>(&target) {
        Ok(told) => told,
        Err(status) => return status,
    };
    super::say(std::io::stderr(), &told.text);
    match json {
        true => super::say(std::io::stdout(), &format!("{said:#}\n")),
        false => super::say(anstream::stdout(), &(render(&told.status) + &happened(&told.history))),
    }
    ExitCode::SUCCESS
}

#[derive(Deserialize)]
struct Told {
    status: Status,
    history: Vec<Note>,
    text: String,
}

/// What happened, the newest last.
fn happened(history: &[Note]) -> String {
    let mut text = format!("{BOLD}History{BOLD:#}, times in UTC\n");
    for Note { at, vip, server, what, .. } in history {
        let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + *at)
            .to_string()
            .replace('T', " ")
            .replace('Z', "");
        let of = server.map(|server| server.to_string()).or_else(|| vip.clone());
        let of = of.map_or_else(String::new, |of| format!("{of}  "));
        text += &format!("  {time}  {of}{what}\n");
    }
    if history.is_empty() {
        text += "  nothing is recorded\n";
    }
    text
}

fn render(status: &Status) -> String {
    let mut text = String::new();
    for service in &status.services {
        text += &format!("{BOLD}{}{BOLD:#} at {}\n", service.name, service.vip);
        text += &format!("  {}\n", policy(service));
        for server in &service.servers {
            text += &explain(server, status.now);
        }
        text.push('\n');
    }
    text
}

/// What the service does with verdicts.
pub fn policy(it: &ServiceStatus) -> String {
    let servers = it.servers.iter().filter(|server| !server.fallback && server.configured.is_some()).count();
    let mut said = vec![format!("scheduler {}, {}", it.scheduler, it.forward)];
    said.push(format!("{} of {servers} servers up", it.up));
    said.push(
        match it.minimum {
            1 => "none up".to_owned(),
            minimum => format!("fewer than {minimum} up"),
        } + match it.when_all_down {
            WhenAllDown::Keep => ": the last healthy ones keep their weight",
            WhenAllDown::Refuse => ": clients are refused",
            WhenAllDown::Fallback => ": the fallback gets its weight",
        },
    );
    if !it.slow_start.is_zero() {
        said.push(format!("slow start over {}", span(it.slow_start)));
    }
    said.join("; ")
}

fn explain(server: &ServerStatus, now: Time) -> String {
    let ago = |time: Time| span(now.saturating_sub(time));
    let mut lines = vec![format!("weight    {}, since {}", weight(server), server.why)];
    if let (Some(due), true) = (server.due, server.due != server.weight) {
        lines.push(format!("          it is to be {due}: that is under way, or was reported only"));
    }
    lines.push(match server.configured {
        Some(configured) => {
            format!("config    weight {configured}{}", if server.fallback { ", the fallback" } else { "" })
        }
        None => "config    does not have it: it leaves when it has been drained".to_owned(),
    });
    if let Some(it) = &server.operator {
        let until = it.until.map_or("until it is taken back".to_owned(), |until| {
            format!("for {} more", span(until.saturating_sub(now)))
        });
        lines.push(format!(
            "operator  weight {} by user {} {} ago, {until}",
            it.weight,
            it.by,
            ago(it.since)
        ));
    }
    let (verdict, style) = verdict(server);
    let since = server.since.map_or_else(String::new, |since| format!(" for {}", ago(since)));
    lines.push(format!("verdict   {style}{verdict}{style:#}{since}"));
    lines.extend(server.checks.iter().map(|check| format!("check     {}", asked(check))));
    let head = format!("  {BOLD}{}{BOLD:#}\n", server.address);
    lines.into_iter().fold(head, |text, line| text + "    " + &line + "\n")
}

/// A check, and what it says.
pub fn asked(it: &CheckStatus) -> String {
    let says = match it.up {
        Some(true) if it.factor != 100 => format!("up, {} ({} % of the weight)", it.reason, it.factor),
        Some(true) => format!("up, {}", it.reason),
        Some(false) => format!("down, {}", it.reason),
        None => "nothing yet".to_owned(),
    };
    let every = humantime::format_duration(it.interval);
    let timeout = humantime::format_duration(it.timeout);
    format!(
        "{} of {}: {says}; every {every}, {timeout} for an answer, fall {}, rise {}",
        it.check, it.address, it.fall, it.rise
    )
}
