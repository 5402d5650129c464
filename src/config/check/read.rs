//! `check` of a TOML file → a draft.

use toml::de::{DeTable, DeValue};

use super::super::report::{Place, Problems};
use super::super::toml_table::{Table, Value, place, wrong_kind};
use super::super::toml_value::{choice, duration, ip_address, number};
use super::{AskDraft, CheckDraft, TYPES, Type, origin};

const COMMON: [&str; 8] =
    ["type", "interval", "timeout", "retry_interval", "rise", "fall", "address", "port"];

/// A check.
pub fn check(value: Value<'_>, problems: &mut Problems) -> Option<CheckDraft> {
    match value.get_ref() {
        DeValue::String(_) => {
            let types = TYPES.iter().map(|kind| (kind.word, Some(*kind)));
            let words: Vec<_> = std::iter::once(("none", None)).chain(types).collect();
            Some(match choice(value, &words, problems)? {
                Some(kind) => ask(kind, &DeTable::new(), place(value), problems),
                None => CheckDraft::None,
            })
        }
        DeValue::Table(entries) => {
            let Some(kind) = entries.get("type") else {
                problems
                    .error(place(value), "`check` needs a `type`")
                    .help("{ type = \"udp\", … } or { type = \"dns\", … }");
                return None;
            };
            if kind.get_ref().as_str() == Some("none") {
                problems
                    .error(place(kind), "`none` is no `type` of check")
                    .help("`check = \"none\"` does without a check");
                return None;
            }
            let kind = choice(kind, &TYPES.map(|kind| (kind.word, kind)), problems)?;
            Some(ask(kind, entries, place(value), problems))
        }
        _ => {
            wrong_kind(value, "a check: a string or a table with `type`", problems);
            None
        }
    }
}

fn ask<'a>(kind: &Type, entries: &'a DeTable<'a>, place: Place, problems: &mut Problems) -> CheckDraft {
    let of_origin: &[&str] = if kind.network { &origin::KEYS } else { &[] };
    let keys: Vec<&str> = COMMON.iter().chain(of_origin).chain(kind.keys).copied().collect();
    let table = Table::new(entries, place, &format!("a `{}` check", kind.word), &keys, problems);
    CheckDraft::Ask(Box::new(AskDraft {
        probe: (kind.read)(&table, problems),
        interval: table.get("interval", problems, duration),
        timeout: table.get("timeout", problems, duration),
        retry_interval: table.get("retry_interval", problems, duration),
        rise: table.get("rise", problems, number),
        fall: table.get("fall", problems, number),
        address: table.get("address", problems, ip_address),
        port: table.get("port", problems, number),
        origin: origin::Draft::read(&table, problems),
    }))
}
