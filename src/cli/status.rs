//! `ipvsd status`.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use super::ask;
use super::table::{Cell, Column, rows};
use super::words::{quantity, span};
use crate::core::Time;
use crate::core::drift::Thing;
use crate::core::pool::{Health, Standing};
use crate::core::status::{ServerStatus, ServiceStatus, Status};
use crate::core::traffic::{Flow, Traffic};

/// From so many columns on there is room for figures.
const WIDE: usize = 80;

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const WARN: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const BOLD: Style = Style::new().bold();

pub fn main(service: Option<&str>, json: bool, check: bool) -> ExitCode {
    let told = ask::told::<Status>(&ask::target(
        "/status",
        &[("service", service), ("traffic", check.then_some("false"))],
    ));
    let (status, said) = match told {
        Ok(told) => told,
        Err(status) => return status,
    };
    if check {
        return self::check(&status);
    }
    if json {
        super::say(std::io::stdout(), &format!("{said:#}\n"));
    } else {
        super::say(anstream::stdout(), &render(&status, super::width()));
    }
    ExitCode::SUCCESS
}

/// Whether each service has its minimum, by its verdicts.
fn check(status: &Status) -> ExitCode {
    let below = |it: &&ServiceStatus| it.health != Health::Enough;
    for it in status.services.iter().filter(below) {
        eprintln!("ipvsd: {} at {}: {} up, at least {} must be", it.name, it.vip, it.up, it.minimum);
    }
    if status.services.is_empty() {
        eprintln!("ipvsd: no service yet: the daemon is starting");
    }
    match status.services.is_empty() || status.services.iter().any(|it| below(&it)) {
        true => ExitCode::from(super::FAILED),
        false => ExitCode::SUCCESS,
    }
}

/// For people, within so many columns.
pub fn render(status: &Status, width: usize) -> String {
    let mut text = String::new();
    for service in &status.services {
        text += &render_service(service, status.now, width);
        text.push('\n');
    }
    for it in &status.overrides {
        let known = status.services.iter().filter(|service| service.name == it.service);
        if !known.flat_map(|service| &service.servers).any(|server| server.operator.as_ref() == Some(it)) {
            let (service, server, weight) = (&it.service, it.server, it.weight);
            text += &format!(
                "an operator gave {server} of {service} weight {weight}; the config does not have it\n"
            );
        }
    }
    for failing in &status.failing {
        text += &format!("{BAD}failing{BAD:#}  {failing}\n");
    }
    text += &match status.read {
        Some(read) => format!("kernel read {} ago", span(status.now.saturating_sub(read))),
        None => "kernel not read yet".to_owned(),
    };
    if let Some(counted) = status.counted {
        text += &format!(", traffic counted {} ago", span(status.now.saturating_sub(counted)));
    }
    text += if status.ready { "\n" } else { "; not ready: verdicts or changes are under way\n" };
    text
}

fn render_service(it: &ServiceStatus, now: Time, width: usize) -> String {
    let (style, note) = match it.health {
        Health::Enough => (GOOD, String::new()),
        Health::TooFew => (WARN, format!(", at least {} must be: fails open", it.minimum)),
        Health::AllDown => (BAD, String::new()),
    };
    let ops = if it.ops { "ops, " } else { "" };
    let total = it.servers.iter().filter(|server| !server.fallback && server.configured.is_some()).count();
    let mut text = format!(
        "{BOLD}{}{BOLD:#}  {}  {}, {ops}{}  {style}{} of {total} up{style:#}{note}\n",
        it.name, it.vip, it.scheduler, it.forward, it.up
    );
    if let Some(traffic) = &it.traffic {
        let flow = |flow: Flow| {
            flow.rate.map_or_else(
                || format!("{} packets", quantity(flow.packets as f64)),
                |rate| format!("{}/s {}B/s", quantity(rate.packets), quantity(rate.bytes)),
            )
        };
        text += &format!("  in {}, out {}\n", flow(traffic.incoming), flow(traffic.outgoing));
    }
    if !it.present {
        text += &format!("  {BAD}not in the kernel{BAD:#}\n");
    }
    if it.quorum == Some(false) {
        text += &format!("  {WARN}quorum lost{WARN:#}\n");
    }
    let mut columns: Vec<Column> =
        vec![("SERVER", false), ("WEIGHT", true), ("VERDICT", false), ("SINCE", true), ("WHY", false)];
    let mut cells: Vec<Vec<Cell>> = it.servers.iter().map(|server| row(server, now)).collect();
    if width >= WIDE {
        columns.splice(4..4, [("IN/S", true), ("OUT/S", true), ("PROBE", true)]);
        for (row, server) in cells.iter_mut().zip(&it.servers) {
            row.splice(4..4, figures(server));
        }
    }
    text += &rows(&columns, &cells, "  ", width);
    if let Some(drift) = &it.drift {
        let of = match drift.thing {
            Thing::Service => "the service".to_owned(),
            Thing::Server(server) => server.to_string(),
        };
        let (style, done) = if drift.repaired { (Style::new(), "repaired") } else { (WARN, "not repaired") };
        let ago = span(now.saturating_sub(drift.at));
        text += &format!("  {style}drift {ago} ago of {of}: {}, {done}{style:#}\n", drift.what);
    }
    text
}

fn row(server: &ServerStatus, now: Time) -> Vec<Cell> {
    let (verdict, style) = verdict(server);
    let since = server.since.map(|since| span(now.saturating_sub(since))).unwrap_or_default();
    vec![
        Cell::new(server.address.to_string()),
        Cell::styled(weight(server), if server.weight == Some(0) { WARN } else { Style::new() }),
        Cell::styled(verdict, style),
        Cell::new(since),
        Cell::new(why(server, now)),
    ]
}

/// Packets a second in and out, and how long the last answers to its probes took at most.
fn figures(server: &ServerStatus) -> [Cell; 3] {
    let rate = |flow: fn(&Traffic) -> Flow| {
        let rate = server.traffic.as_ref().and_then(|traffic| flow(traffic).rate);
        Cell::new(rate.map(|rate| quantity(rate.packets)).unwrap_or_default())
    };
    let latency = server.checks.iter().filter_map(|check| check.last?.latency).max();
    let latency = latency.map(|latency| format!("{}s", quantity(latency.as_secs_f64()))).unwrap_or_default();
    [rate(|it| it.incoming), rate(|it| it.outgoing), Cell::new(latency)]
}

/// The weight now, and the config's if that is another: `0/1`.
pub fn weight(server: &ServerStatus) -> String {
    let now = server.weight.map_or("-".to_owned(), |weight| weight.to_string());
    match server.configured {
        Some(configured) if server.weight != Some(configured) => format!("{now}/{configured}"),
        _ => now,
    }
}

/// What its checks say, in a word.
pub fn verdict(server: &ServerStatus) -> (&'static str, Style) {
    match server.verdict {
        _ if server.configured.is_none() => ("leaves", WARN),
        _ if server.fallback => ("fallback", Style::new()),
        Standing::Up => ("up", GOOD),
        Standing::Down => ("down", BAD),
        Standing::Unknown => ("unknown", WARN),
        Standing::Unchecked => ("unchecked", Style::new()),
    }
}

/// Why it has its weight, what its checks say besides, and until when an operator's word holds.
fn why(server: &ServerStatus, now: Time) -> String {
    let mut why = vec![server.why.clone()];
    if let Some(it) = &server.operator {
        if let Some(until) = it.until {
            why.push(format!("for {} more", span(until.saturating_sub(now))));
        }
        let down = server.checks.iter().find(|check| check.up == Some(false));
        why.extend(down.map(|check| check.reason.clone()));
    }
    why.join(", ")
}
