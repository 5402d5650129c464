//! A TOML file → a draft.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::check;
use super::check::CheckDraft;
use super::command;
use super::draft::{At, Defaults, Draft, Field, List, PersistenceDraft, ServerDraft, ServiceDraft};
use super::policy::{self, PolicyDraft};
use super::report::{Lines, Place, Problems};
use super::toml_forward::forward;
use super::toml_table::{Table, Value, list, place, wrong_kind};
use super::toml_value::{boolean, choice, duration, number, socket_address, string, vip};
use crate::core::model::{
    Drift, Forwarding, KernelSettings, Notify, OnStop, Refusals, Sysctls, Timeouts, Vip,
};

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

fn service(value: Value<'_>, problems: &mut Problems) -> Option<ServiceDraft> {
    let keys = [
        "name",
        "listen",
        "servers",
        "ops",
        "scheduler",
        "scheduler_flags",
        "persistence",
        "forward",
        "check",
        "drain",
        "drift",
        "down_on_stop",
        "ha_suspend",
        "fallback",
    ];
    let keys: Vec<&str> = keys.into_iter().chain(policy::KEYS).collect();
    let table = table(value, "a service", &keys, problems)?;
    let drift = [("repair", Drift::Repair), ("report", Drift::Report)];
    let servers = table.get("servers", problems, |v, p| list(v, "a list of servers", p, server));
    let fallback = table.get("fallback", problems, |value, problems| match value.get_ref() {
        DeValue::Array(_) => list(value, "a list of servers", problems, server),
        _ => server(value, problems).map(|server| List { items: vec![server], whole: true }),
    });
    Some(ServiceDraft {
        place: table.place,
        name: table.get("name", problems, string),
        listen: table.get("listen", problems, |value, problems| match value.get_ref() {
            DeValue::String(_) => {
                let vip = listen_at(value, problems);
                vip.map(|vip| List { items: vec![vip], whole: true })
            }
            _ => list(value, "an address with a port or a list of them", problems, listen_at),
        }),
        servers: with_fallback(servers, fallback),
        ops: table.get("ops", problems, boolean),
        scheduler: table.get("scheduler", problems, string),
        scheduler_flags: table.get("scheduler_flags", problems, |v, p| list(v, "a list of flags", p, flag)),
        persistence: table.get("persistence", problems, persistence),
        forward: table.get("forward", problems, forward),
        check: table.get("check", problems, checks),
        policy: PolicyDraft::read(&table, problems),
        down_on_stop: table.get("down_on_stop", problems, boolean),
        ha_suspend: table.get("ha_suspend", problems, boolean),
        drift: table.get("drift", problems, |v, p| choice(v, &drift, p)),
        drain: table.get("drain", problems, duration),
    })
}

/// The fallbacks stand among the servers, marked.
fn with_fallback(
    servers: Field<List<ServerDraft>>,
    fallback: Field<List<ServerDraft>>,
) -> Field<List<ServerDraft>> {
    let Field::Given(At { value: mut list, place }) = servers else { return servers };
    match fallback {
        Field::Missing => {}
        Field::Broken => list.whole = false,
        Field::Given(fallback) => {
            list.whole &= fallback.value.whole;
            let fallbacks = fallback.value.items.into_iter();
            list.items.extend(fallbacks.map(|server| ServerDraft { fallback: true, ..server }));
        }
    }
    Field::Given(At { value: list, place })
}

/// One check, or a list of them.
fn checks(value: Value<'_>, problems: &mut Problems) -> Option<List<At<CheckDraft>>> {
    let one = |value: Value<'_>, problems: &mut Problems| {
        Some(At { value: check::read(value, problems)?, place: place(value) })
    };
    match value.get_ref() {
        DeValue::Array(checks) if checks.is_empty() => {
            problems.error(place(value), "no check").help("`check = \"none\"` does without on purpose");
            None
        }
        DeValue::Array(_) => list(value, "a list of checks", problems, one),
        _ => one(value, problems).map(|check| List { items: vec![check], whole: true }),
    }
}

fn flag(value: Value<'_>, problems: &mut Problems) -> Option<At<String>> {
    Some(At { value: string(value, problems)?, place: place(value) })
}

/// A time, or a table of more.
fn persistence(value: Value<'_>, problems: &mut Problems) -> Option<PersistenceDraft> {
    let (prefix_v4, prefix_v6, engine) = (Field::Missing, Field::Missing, Field::Missing);
    if !value.get_ref().is_table() {
        let timeout = Field::Given(At { value: duration(value, problems)?, place: place(value) });
        return Some(PersistenceDraft { timeout, prefix_v4, prefix_v6, engine });
    }
    let table = table(value, "`persistence`", &["timeout", "prefix_v4", "prefix_v6", "engine"], problems)?;
    Some(PersistenceDraft {
        timeout: table.get("timeout", problems, duration),
        prefix_v4: table.get("prefix_v4", problems, number),
        prefix_v6: table.get("prefix_v6", problems, number),
        engine: table.get("engine", problems, string),
    })
}

fn listen_at(value: Value<'_>, problems: &mut Problems) -> Option<At<Vip>> {
    Some(At { value: vip(value, problems)?, place: place(value) })
}

fn server(value: Value<'_>, problems: &mut Problems) -> Option<ServerDraft> {
    let DeValue::Table(entries) = value.get_ref() else {
        if !value.get_ref().is_str() {
            wrong_kind(
                value,
                "a server: \"192.0.2.1:53\" or { address = \"192.0.2.1:53\", weight = 1 }",
                problems,
            );
            return None;
        }
        return Some(ServerDraft::at(At { value: socket_address(value, problems)?, place: place(value) }));
    };
    let keys =
        ["address", "weight", "forward", "upper_threshold", "lower_threshold", "check", "on_up", "on_down"];
    let table = Table::new(entries, place(value), "a server", &keys, problems);
    let address = table.get("address", problems, socket_address);
    let weight = table.get("weight", problems, number);
    let forward = table.get("forward", problems, forward);
    let upper_threshold = table.get("upper_threshold", problems, number);
    let lower_threshold = table.get("lower_threshold", problems, number);
    let check = table.get("check", problems, checks);
    let on_up = table.get("on_up", problems, command::read);
    let on_down = table.get("on_down", problems, command::read);
    match address {
        Field::Given(address) => Some(ServerDraft {
            weight,
            forward,
            upper_threshold,
            lower_threshold,
            check,
            on_up,
            on_down,
            ..ServerDraft::at(address)
        }),
        Field::Broken => None,
        Field::Missing => {
            problems.error(table.place, "a server needs an `address`");
            None
        }
    }
}

fn table<'a>(value: Value<'a>, what: &str, keys: &[&str], problems: &mut Problems) -> Option<Table<'a>> {
    let Some(entries) = value.get_ref().as_table() else {
        wrong_kind(value, "a table", problems);
        return None;
    };
    Some(Table::new(entries, place(value), what, keys, problems))
}
