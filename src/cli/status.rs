//! `ipvsd status`.

use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::ask;
use super::table::{Cell, Column, fits, rows};
use super::words::{milliseconds, short, span};
use crate::core::Time;
use crate::core::drift::Thing;
use crate::core::pool::{Health, Standing};
use crate::core::status::{LastDrift, ServerStatus, ServiceStatus, Status};
use crate::core::traffic::Traffic;

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const WARN: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const BOLD: Style = Style::new().bold();

pub fn main(service: Option<&str>, json: bool, check: bool) -> ExitCode {
    // Of a daemon that works, a check is answered at once.
    let traffic = check.then_some("false");
    let told = ask::told::<Status>(&ask::target("/status", &[("service", service), ("traffic", traffic)]));
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
        text += &format!(", counters {} ago", span(status.now.saturating_sub(counted)));
    }
    text += if status.ready { "\n" } else { "; not ready: verdicts, changes or repairs are outstanding\n" };
    text
}

fn render_service(it: &ServiceStatus, now: Time, width: usize) -> String {
    let (up, style) = health(it);
    let mut text = format!("{BOLD}{}{BOLD:#}  {}  {}  {style}{up}{style:#}\n", it.name, it.vip, settings(it));
    if !it.present {
        text += &format!("  {BAD}not in the kernel{BAD:#}\n");
    }
    if it.suspended {
        text += &format!("  {WARN}suspended: none of its VIPs is here, its servers are not probed{WARN:#}\n");
    }
    if it.quorum == Some(false) {
        text += &format!("  {WARN}quorum lost{WARN:#}\n");
    }
    let mut columns = COLUMNS.to_vec();
    let mut cells: Vec<Vec<Cell>> = it.servers.iter().map(|server| row(server, now)).collect();
    for head in FIRST_TO_GO {
        if !fits(&columns, &cells, "  ", width)
            && let Some(place) = columns.iter().position(|(column, _)| *column == head)
        {
            columns.remove(place);
            cells.iter_mut().for_each(|row| drop(row.remove(place)));
        }
    }
    text += &rows(&columns, &cells, "  ", width);
    if let Some(traffic) = &it.traffic {
        let [packets_in, bytes_in, packets_out, bytes_out] = rates(Some(traffic));
        text += &format!(
            "  in {packets_in} packets/s, {bytes_in} bytes/s; out {packets_out} packets/s, {bytes_out} bytes/s\n"
        );
    }
    if let Some(it) = &it.drift {
        let style = if it.repaired { Style::new() } else { WARN };
        let ago = span(now.saturating_sub(it.at));
        text += &format!("  {style}drift {ago} ago of {}{style:#}\n", drift(it));
    }
    text
}

/// How its servers are used: `wrr, ops, nat`.
pub fn settings(it: &ServiceStatus) -> String {
    format!("{}, {}{}", it.scheduler, if it.ops { "ops, " } else { "" }, it.forward)
}

/// How many of its servers are up, and what follows.
pub fn health(it: &ServiceStatus) -> (String, Style) {
    let total = it.servers.iter().filter(|server| !server.fallback && server.configured.is_some()).count();
    let up = format!("{} of {total} up", it.up);
    match it.health {
        Health::Enough => (up, GOOD),
        Health::TooFew => (format!("{up}, at least {} must be: fails open", it.minimum), WARN),
        Health::AllDown => (up, BAD),
    }
}

/// What somebody else changed last.
pub fn drift(it: &LastDrift) -> String {
    let of = match it.thing {
        Thing::Service => "the service".to_owned(),
        Thing::Server(server) => server.to_string(),
    };
    let done = if it.repaired { "repaired" } else { "not repaired" };
    format!("{of}: {}, {done}", it.what)
}

const COLUMNS: [Column; 10] = [
    ("SERVER", false),
    ("WEIGHT", true),
    ("VERDICT", false),
    ("SINCE", true),
    ("PROBE", true),
    ("IN/s", true),
    ("B IN/s", true),
    ("OUT/s", true),
    ("B OUT/s", true),
    ("WHY", false),
];

/// What a narrow terminal has no room for.
const FIRST_TO_GO: [&str; 6] = ["B OUT/s", "B IN/s", "OUT/s", "IN/s", "PROBE", "SINCE"];

fn row(server: &ServerStatus, now: Time) -> Vec<Cell> {
    let (verdict, style) = verdict(server);
    let since = server.since.map(|since| span(now.saturating_sub(since))).unwrap_or_default();
    let mut row = vec![
        Cell::new(server.address.to_string()),
        Cell::styled(weight(server), if server.weight == Some(0) { WARN } else { Style::new() }),
        Cell::styled(verdict, style),
        Cell::new(since),
        Cell::new(latency(server).map_or("-".to_owned(), milliseconds)),
    ];
    row.extend(rates(server.traffic.as_ref()).map(Cell::new));
    row.push(Cell::new(why(server, now)));
    row
}

/// Packets and bytes per second in, and out, where they are known.
fn rates(traffic: Option<&Traffic>) -> [String; 4] {
    let flows = traffic.map(|it| [it.incoming.rate, it.outgoing.rate]).unwrap_or_default();
    let said = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), short);
    let [[a, b], [c, d]] = flows.map(|rate| [said(rate.map(|it| it.packets)), said(rate.map(|it| it.bytes))]);
    [a, b, c, d]
}

/// How long its slowest check took to be answered last.
pub fn latency(it: &ServerStatus) -> Option<Duration> {
    it.checks.iter().filter_map(|check| check.last?.latency).max()
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
pub fn why(server: &ServerStatus, now: Time) -> String {
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::core::memory::Memory;
    use crate::core::model::{Config, Factor, Verdict};
    use crate::core::overrides::Override;
    use crate::core::probes::Ended;
    use crate::core::status::LastProbe;
    use crate::core::traffic::{Flow, Rate};
    use crate::core::{Core, FoundRules, Input, Output};

    /// A core that has a config, an empty kernel and verdicts.
    pub fn status() -> Status {
        let text = "[[service]]\nname = \"dns\"\nlisten = \"192.0.2.53:53\"\nscheduler = \"wrr\"\ncheck = \"dns\"\n\
                    servers = [\"10.0.1.11:53\", \"10.0.1.12:53\", \"10.0.1.13:53\"]\n";
        let config: Config = crate::config::parse("ipvsd.toml", text).expect("a config").config;
        let now = Time::from_secs(1_000_000);
        let mut core = Core::new(Memory::default());
        core.handle(now, Input::Config(config));
        core.handle(now, Input::FoundRules(Ok(FoundRules::default())));
        let outputs = core.handle(now, Input::FoundServices(Ok(Vec::new())));
        let probe = outputs.into_iter().find_map(|output| match output {
            Output::Probe(targets) => Some(targets),
            _ => None,
        });
        for (target, up) in probe.expect("probes").into_iter().zip([true, true, false]) {
            let reason = if up { "first answer" } else { "silent for 250ms, 3 in a row" }.to_owned();
            core.handle(
                now,
                Input::Verdict(Verdict {
                    target: target.id,
                    up,
                    factor: Factor::FULL,
                    reason: reason.into(),
                }),
            );
        }
        let until = Some(now + Duration::from_secs(600));
        let server = "10.0.1.12:53".parse().expect("an address");
        let it = Override { service: "dns".to_owned(), server, weight: 0, by: 0, since: now, until };
        core.handle(now, Input::Override(it));
        let mut status = core.status(now + Duration::from_secs(75));
        let rate = Some(Rate { packets: 1234.5, bytes: 98_765.0 });
        let flow = Flow { packets: 1, bytes: 1, rate };
        let traffic = Some(Traffic { incoming: flow, outgoing: flow });
        (status.services[0].traffic, status.services[0].servers[0].traffic) = (traffic, traffic);
        status.counted = Some(now + Duration::from_secs(73));
        let latency = Some(Duration::from_micros(400));
        let last = LastProbe { at: now + Duration::from_secs(74), ended: Ended::Answered, latency };
        status.services[0].servers[0].checks[0].last = Some(last);
        status
    }

    fn plain(width: usize) -> String {
        anstream::adapter::strip_str(&render(&status(), width)).to_string()
    }

    #[test]
    fn a_wide_terminal_has_it_all() {
        insta::assert_snapshot!(plain(140));
    }

    #[test]
    fn a_narrow_one_has_what_matters() {
        insta::assert_snapshot!(plain(80));
        for width in [40, 60, 80, 100] {
            let table = plain(width);
            let rows = table.lines().filter(|line| line.contains("10.0.1."));
            assert!(
                rows.clone().count() == 3 && rows.clone().all(|row| row.chars().count() <= width),
                "{table}"
            );
        }
    }
}
