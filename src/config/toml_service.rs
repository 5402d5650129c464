//! A `[[service]]` and its servers → drafts.

use toml::de::DeValue;

use super::check::{self, CheckDraft};
use super::command;
use super::draft::{At, Field, List, PersistenceDraft, ServerDraft, ServiceDraft};
use super::policy::{self, PolicyDraft};
use super::report::Problems;
use super::toml_forward::forward;
use super::toml_table::{Table, Value, list, place, table, wrong_kind};
use super::toml_value::{boolean, choice, duration, number, socket_address, string, vip};
use crate::core::model::{Drift, Vip};

/// What it says; none if it is no table.
pub fn service(value: Value<'_>, problems: &mut Problems) -> Option<ServiceDraft> {
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
pub fn checks(value: Value<'_>, problems: &mut Problems) -> Option<List<At<CheckDraft>>> {
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
