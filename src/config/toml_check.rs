//! `check` of a TOML file: a word, or a table with `type`.

use toml::de::{DeTable, DeValue};

use super::draft::{AskDraft, At, CheckDraft, Field, ProbeDraft};
use super::report::{Place, Problems};
use super::toml_table::{Table, Value, place, wrong_kind};
use super::toml_value::{choice, duration, hex, ip_address, number, string};
use crate::core::model::Reply;

#[derive(Clone, Copy)]
enum Kind {
    None,
    Udp,
    Dns,
}

const COMMON: [&str; 8] =
    ["type", "interval", "timeout", "retry_interval", "rise", "fall", "address", "port"];
const UDP: [&str; 5] = ["send", "send_hex", "expect", "expect_hex", "reply"];
const DNS: [&str; 4] = ["query", "record", "rcode", "answer"];

/// A check.
pub fn check(value: Value<'_>, problems: &mut Problems) -> Option<CheckDraft> {
    match value.get_ref() {
        DeValue::String(_) => {
            let kinds = [("none", Kind::None), ("udp", Kind::Udp), ("dns", Kind::Dns)];
            let kind = choice(value, &kinds, problems)?;
            ask(kind, &DeTable::new(), place(value), problems)
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
            let kind = choice(kind, &[("udp", Kind::Udp), ("dns", Kind::Dns)], problems)?;
            ask(kind, entries, place(value), problems)
        }
        _ => {
            wrong_kind(value, "a check: a string or a table with `type`", problems);
            None
        }
    }
}

fn ask<'a>(
    kind: Kind,
    entries: &'a DeTable<'a>,
    place: Place,
    problems: &mut Problems,
) -> Option<CheckDraft> {
    let (what, own): (_, &[&str]) = match kind {
        Kind::None => return Some(CheckDraft::None),
        Kind::Udp => ("a `udp` check", &UDP),
        Kind::Dns => ("a `dns` check", &DNS),
    };
    let keys: Vec<&str> = COMMON.iter().chain(own).copied().collect();
    let table = Table::new(entries, place, what, &keys, problems);
    let probe = match kind {
        Kind::Dns => ProbeDraft::Dns {
            query: table.get("query", problems, string),
            record: table.get("record", problems, string),
            rcode: table.get("rcode", problems, string),
            answer: table.get("answer", problems, string),
        },
        _ => ProbeDraft::Udp { send: payload(&table, problems), reply: reply(&table, problems) },
    };
    Some(CheckDraft::Ask(Box::new(AskDraft {
        probe,
        interval: table.get("interval", problems, duration),
        timeout: table.get("timeout", problems, duration),
        retry_interval: table.get("retry_interval", problems, duration),
        rise: table.get("rise", problems, number),
        fall: table.get("fall", problems, number),
        address: table.get("address", problems, ip_address),
        port: table.get("port", problems, number),
    })))
}

fn payload(table: &Table<'_>, problems: &mut Problems) -> Field<Vec<u8>> {
    let text = table.get("send", problems, |v, p| string(v, p).map(String::into_bytes));
    let bytes = table.get("send_hex", problems, hex);
    one_of(table, ["send", "send_hex"], text, bytes, problems)
}

fn reply(table: &Table<'_>, problems: &mut Problems) -> Field<Reply> {
    let pattern = table.get("expect", problems, |v, p| string(v, p).map(Reply::Matches));
    let prefix = table.get("expect_hex", problems, |v, p| hex(v, p).map(Reply::StartsWith));
    let expect = one_of(table, ["expect", "expect_hex"], pattern, prefix, problems);
    let words = [("required", true), ("optional", false)];
    match (table.get("reply", problems, |v, p| choice(v, &words, p)), expect) {
        (Field::Given(At { value: false, place }), Field::Missing) => {
            Field::Given(At { value: Reply::Optional, place })
        }
        (Field::Given(At { value: false, place }), Field::Given(expect)) => {
            problems
                .error(expect.place, "an optional reply cannot be expected to say something")
                .related(place, "a server that does not answer at all is up")
                .help(
                    "remove `reply = \"optional\"` if the servers answer, or the expectation if they do not",
                );
            Field::Broken
        }
        (Field::Broken, _) => Field::Broken,
        (_, expect) => expect,
    }
}

/// The one of two keys for the same thing that the file has.
fn one_of<T>(
    table: &Table<'_>,
    keys: [&str; 2],
    first: Field<T>,
    second: Field<T>,
    problems: &mut Problems,
) -> Field<T> {
    match (table.key_place(keys[0]), table.key_place(keys[1])) {
        (Some(one), Some(other)) => {
            problems
                .error(one.max(other), format!("`{}` and `{}` exclude each other", keys[0], keys[1]))
                .related(one.min(other), "the other one")
                .help("keep one of them");
            Field::Broken
        }
        (_, Some(_)) => second,
        _ => first,
    }
}
