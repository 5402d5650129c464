//! A TOML file → a draft.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use toml::de::DeTable;

use super::command;
use super::draft::{At, Defaults, Draft, Field};
use super::report::{Lines, Place, Problems};
use super::toml_forward::forward;
use super::toml_service::{checks, service};
use super::toml_table::{Table, Value, list, place, table};
use super::toml_value::{boolean, choice, duration, number, socket_address, string};
use crate::core::model::{Forwarding, KernelSettings, Notify, OnStop, Refusals, Sysctls, Timeouts};

/// What `[passive]` says unless the file says otherwise. Those who count their nflog groups begin with 0.
const PASSIVE: Refusals = Refusals { group: Some(26_998), hidden: true };

/// As long as persistence may last.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// What the file says.
///
/// Broken syntax stops neither the reading of values nor the judging of the services in which nothing is broken, so that
/// all that is wrong there is found all the same. A service with a break in it is left out: what it lacks may be there to
/// the eye.
pub fn read(text: &str, problems: &mut Problems) -> Draft {
    let (root, mut errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    let mut broken_lines = BTreeSet::new();
    // The broken lines that leave open what else the file says; a key that comes twice does not.
    let mut torn = BTreeSet::new();
    errors.sort_by_key(|error| error.span().unwrap_or_default().start);
    for (index, error) in errors.iter().enumerate() {
        let span = error.span().unwrap_or_default();
        // One break makes the parser stumble on: the first error of a line tells, and the last one of the file.
        if broken_lines.insert(lines.of(span.start)) || index + 1 == errors.len() {
            problems.error(Place { start: span.start, end: span.end }, error.message());
        }
        let line = lines.of(span.start);
        if error.message() != "duplicate key" || is_header(lines.text(line).0) {
            torn.insert(line);
        }
    }
    let mut found = Problems::default();
    let mut draft = file(root.get_ref(), &mut found);
    doubt(&mut draft, &lines, &torn);
    // What is odd about a value in a broken line follows from the break, and so does what is odd about the keys
    // below a broken header: they were read into another table.
    let heads = |line: &usize| is_header(lines.text(*line).0);
    for header in broken_lines.clone().into_iter().filter(heads) {
        broken_lines.extend((header + 1..lines.count()).take_while(|line| !heads(line)));
    }
    found.0.retain(|problem| !broken_lines.contains(&lines.of(problem.place.start)));
    problems.0.append(&mut found.0);
    draft
}

fn is_header(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

/// Takes out of the draft what these broken lines may have changed: the service before each and, unless the line is
/// plainly that service's, the defaults.
fn doubt(draft: &mut Draft, lines: &Lines<'_>, torn: &BTreeSet<usize>) {
    if torn.is_empty() {
        return;
    }
    let mut header = "";
    for line in 0..lines.count() {
        let text = lines.text(line).0.trim_start();
        let heads = is_header(text);
        header = if heads { text } else { header };
        if torn.contains(&line) && (heads || !header.trim_start_matches('[').starts_with("service")) {
            draft.defaults = Defaults::BROKEN;
        }
    }
    let Field::Given(services) = &mut draft.services else {
        draft.services = Field::Broken;
        return;
    };
    let services = &mut services.value;
    let begins: Vec<_> = services.items.iter().map(|service| lines.of(service.place.start)).collect();
    let torn: BTreeSet<_> = torn.iter().map(|line| begins.partition_point(|begin| begin <= line)).collect();
    let mut number = 1..;
    services.items.retain(|_| number.next().is_none_or(|number| !torn.contains(&number)));
    services.whole = false;
}

fn file(entries: &DeTable<'_>, problems: &mut Problems) -> Draft {
    let keys = ["service", "defaults", "kernel", "passive", "metrics", "notify", "on_stop"];
    let root = Table::new(entries, Place { start: 0, end: 0 }, "the file", &keys, problems);
    let services = root.get("service", problems, |value, problems| {
        if value.get_ref().is_table() {
            problems.error(place(value), "`service` is a list").help("write `[[service]]`");
            return None;
        }
        list(value, "a list of services", problems, service)
    });
    let defaults = match root.get("defaults", problems, defaults) {
        // Whatever it should have said, no service is without it.
        Field::Broken => Defaults::BROKEN,
        defaults => defaults.into_value(),
    };
    let words = [("keep", OnStop::Keep), ("remove", OnStop::Remove)];
    Draft {
        defaults,
        kernel: root.get("kernel", problems, kernel).into_value(),
        refusals: root.get("passive", problems, passive).value_or(PASSIVE),
        notify: root.get("notify", problems, notify).given().map(|at| at.value.clone()),
        metrics: root.get("metrics", problems, metrics).given().map(|at| at.value),
        on_stop: root.get("on_stop", problems, |v, p| choice(v, &words, p)).into_value(),
        services,
    }
}

fn defaults(value: Value<'_>, problems: &mut Problems) -> Option<Defaults> {
    let table = table(value, "`[defaults]`", &["check", "scheduler", "forward"], problems)?;
    Some(Defaults {
        check: table.get("check", problems, checks),
        scheduler: table.get("scheduler", problems, string),
        forward: table.get("forward", problems, forward),
    })
}

fn kernel(value: Value<'_>, problems: &mut Problems) -> Option<KernelSettings> {
    let table = table(value, "`[kernel]`", &["sysctls", "forwarding", "timeouts"], problems)?;
    let sysctls = [("set", Sysctls::Set), ("report", Sysctls::Report)];
    let forwarding = [("require", Forwarding::Require), ("set", Forwarding::Set)];
    Some(KernelSettings {
        sysctls: table.get("sysctls", problems, |v, p| choice(v, &sysctls, p)).into_value(),
        forwarding: table.get("forwarding", problems, |v, p| choice(v, &forwarding, p)).into_value(),
        timeouts: table.get("timeouts", problems, timeouts).into_value(),
    })
}

fn timeouts(value: Value<'_>, problems: &mut Problems) -> Option<Timeouts> {
    let table = table(value, "`timeouts`", &["tcp", "tcp_fin", "udp"], problems)?;
    let mut seconds = |key| match table.get(key, problems, duration) {
        Field::Missing => Some(0),
        Field::Broken => None,
        Field::Given(At { value, .. }) if value.subsec_nanos() == 0 && value <= LONGEST_TIMEOUT => {
            u32::try_from(value.as_secs()).ok()
        }
        Field::Given(At { place, .. }) => {
            problems
                .error(place, format!("`{key}` must be whole seconds, at most 31 days"))
                .help("\"15m\"; without the key, or with \"0s\", the kernel's own stays");
            None
        }
    };
    let (tcp, tcp_fin, udp) = (seconds("tcp"), seconds("tcp_fin"), seconds("udp"));
    Some(Timeouts { tcp: tcp?, tcp_fin: tcp_fin?, udp: udp? })
}

fn passive(value: Value<'_>, problems: &mut Problems) -> Option<Refusals> {
    let table = table(value, "`[passive]`", &["hints", "nflog_group", "hide_servers"], problems)?;
    let group = table.get("nflog_group", problems, number);
    let group = group.judged(|at| at.within("`nflog_group`", 0..=u16::MAX, problems).map(Some));
    let hints = table.get("hints", problems, boolean).value_or(true);
    Some(Refusals {
        group: group.value_or(PASSIVE.group).filter(|_| hints),
        hidden: table.get("hide_servers", problems, boolean).value_or(PASSIVE.hidden),
    })
}

fn metrics(value: Value<'_>, problems: &mut Problems) -> Option<SocketAddr> {
    let table = table(value, "`[metrics]`", &["listen"], problems)?;
    match table.get("listen", problems, socket_address) {
        Field::Given(At { value, place }) if value.port() == 0 => {
            problems.error(place, "`listen` needs a port").help("9532, for one");
            None
        }
        Field::Given(At { value, .. }) => Some(value),
        Field::Broken => None,
        Field::Missing => {
            problems.error(table.place, "`[metrics]` needs a `listen`").help("`listen = \"127.0.0.1:9532\"`");
            None
        }
    }
}

fn notify(value: Value<'_>, problems: &mut Problems) -> Option<Notify> {
    let table = table(value, "`[notify]`", &["fifo", "command"], problems)?;
    let fifo = match table.get("fifo", problems, string) {
        Field::Given(At { value, .. }) if value.starts_with('/') && !value.contains('\0') => Some(value),
        Field::Given(At { place, .. }) => {
            problems.error(place, "`fifo` must be an absolute path").help("\"/run/ipvsd/notify.fifo\"");
            None
        }
        Field::Broken => None,
        Field::Missing => {
            problems
                .error(table.place, "`[notify]` needs a `fifo`")
                .help("`fifo = \"/run/ipvsd/notify.fifo\"`, which is made if it is not there");
            None
        }
    };
    let command = match table.get("command", problems, command::words) {
        Field::Given(at) => command::argv(&at.value, at.place, problems),
        Field::Broken => None,
        Field::Missing => Some(Vec::new()),
    };
    Some(Notify { fifo: fifo?, command: command? })
}
