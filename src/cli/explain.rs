//! `ipvsd explain`.

use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use super::ask;
use super::status::{BOLD, verdict, weight};
use super::words::{milliseconds, span};
use crate::core::Time;
use crate::core::history::Note;
use crate::core::model::{Factor, WhenAllDown};
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
    for Note { at, vip, server, what, by, .. } in history {
        let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + *at)
            .to_string()
            .replace('T', " ")
            .replace('Z', "");
        let of = server.map(|server| server.to_string()).or_else(|| vip.clone());
        let of = of.map_or_else(String::new, |of| format!("{of}  "));
        let by = by.map_or_else(String::new, |user| format!(", by user {user}"));
        text += &format!("  {time}  {of}{what}{by}\n");
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
    if it.suspended {
        said.push("suspended: none of its VIPs is here, its servers are not probed".to_owned());
    }
    if !it.slow_start.is_zero() {
        said.push(format!("slow start over {}", span(it.slow_start)));
    }
    said.join("; ")
}

fn explain(server: &ServerStatus, now: Time) -> String {
    let ago = |time: Time| span(now.saturating_sub(time));
    let mut lines = vec![format!("weight    {}: {}", weight(server), server.why)];
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
    lines.extend(server.checks.iter().map(|check| format!("check     {}", asked(check, now))));
    let head = format!("  {BOLD}{}{BOLD:#}\n", server.address);
    lines.into_iter().fold(head, |text, line| text + "    " + &line + "\n")
}

/// A check, and what it says.
pub fn asked(it: &CheckStatus, now: Time) -> String {
    let says = match it.up {
        Some(true) if it.factor != Factor::FULL => format!("up, {} ({})", it.reason, it.factor),
        Some(true) => format!("up, {}", it.reason),
        Some(false) => format!("down, {}", it.reason),
        None => "nothing yet".to_owned(),
    };
    let every = humantime::format_duration(it.interval);
    let timeout = humantime::format_duration(it.timeout);
    let last = it.last.map_or_else(String::new, |last| {
        let took = last
            .latency
            .map_or_else(String::new, |it| format!(", the last answer took {}", milliseconds(it)));
        format!(
            "; last probe {} ago: {}{took}",
            span(now.saturating_sub(last.at)),
            last.ended.word().replace('_', " ")
        )
    });
    format!(
        "{} of {}: {says}{last}; every {every}, {timeout} for an answer, fall {}, rise {}",
        it.check, it.address, it.fall, it.rise
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_decides_and_what_happened() {
        let status = super::super::status::tests::status();
        let note = |seconds, server: Option<&str>, what: &str| Note {
            at: status.now + Duration::from_secs(seconds),
            service: Some("dns".to_owned()),
            vip: Some("UDP 192.0.2.53:53".to_owned()),
            server: server.map(|server| server.parse().expect("an address")),
            what: what.to_owned(),
            by: None,
        };
        let history = [
            note(0, None, "service added"),
            note(1, Some("10.0.1.13:53"), "weight changed weight=1 → 0 why=silent for 250ms, 3 in a row"),
        ];
        let text = render(&status) + &happened(&history);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
        assert!(happened(&[]).contains("nothing is recorded"));
    }
}
