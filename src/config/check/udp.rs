//! `udp`: a datagram of one's own.

use super::super::draft::{At, Field};
use super::super::report::{Place, Problems};
use super::super::toml_table::{Table, Value, place};
use super::super::toml_value::{choice, hex, number, string};
use super::field::{self, one_of};
use super::{ProbeDraft, Type};
use crate::core::model::{Probe, Reply};

/// More than this does not fit into a UDP datagram over IPv4.
const MAX_PAYLOAD: u16 = 65_507;

pub const TYPE: Type = Type {
    word: "udp",
    keys: &["send", "send_hex", "expect", "expect_text", "expect_hex", "expect_length", "reply"],
    network: true,
    read,
};

/// The draft of a `udp` probe.
#[derive(Debug)]
pub struct Draft {
    pub send: Field<Vec<u8>>,
    pub reply: Field<Reply>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    let text = table.get("send", problems, |v, p| string(v, p).map(String::into_bytes));
    let bytes = table.get("send_hex", problems, hex);
    let send = one_of(table, [("send", text), ("send_hex", bytes)], problems);
    Box::new(Draft { send, reply: reply(table, problems) })
}

fn reply(table: &Table<'_>, problems: &mut Problems) -> Field<Reply> {
    let pattern = table.get("expect", problems, |v, p| string(v, p).map(Reply::Matches));
    let prefix = table.get("expect_hex", problems, |v, p| hex(v, p).map(Reply::StartsWith));
    let text =
        table.get("expect_text", problems, |v, p| string(v, p).map(|text| Reply::Contains(text.into())));
    let length = table.get("expect_length", problems, length);
    let fields =
        [("expect", pattern), ("expect_text", text), ("expect_hex", prefix), ("expect_length", length)];
    let expect = one_of(table, fields, problems);
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

/// A number of bytes, or a table with one or both ends.
fn length(value: Value<'_>, problems: &mut Problems) -> Option<Reply> {
    let Some(entries) = value.get_ref().as_table() else {
        let exact = At { value: number(value, problems)?, place: place(value) };
        let exact = exact.within("the length", 0..=MAX_PAYLOAD, problems)?;
        return Some(Reply::Length { least: exact, most: exact });
    };
    let table = Table::new(entries, place(value), "`expect_length`", &["min", "max"], problems);
    let (min, max) = (table.get("min", problems, number), table.get("max", problems, number));
    let least = field::number("`min`", &min, 0, 0..=MAX_PAYLOAD, problems)?;
    let most = field::number("`max`", &max, MAX_PAYLOAD, 0..=MAX_PAYLOAD, problems)?;
    if least > most {
        problems.error(table.place, format!("no answer has at least {least} and at most {most} bytes"));
        return None;
    }
    Some(Reply::Length { least, most })
}

impl ProbeDraft for Draft {
    fn judge(&self, place: Place, problems: &mut Problems) -> Option<Probe> {
        let reply = judge_reply(&self.reply, problems);
        let send = match &self.send {
            Field::Given(send) if send.value.len() <= usize::from(MAX_PAYLOAD) => Some(send.value.clone()),
            Field::Given(send) => {
                problems.error(send.place, format!("a datagram holds at most {MAX_PAYLOAD} bytes"));
                None
            }
            Field::Broken => None,
            Field::Missing => {
                problems
                    .error(place, "a `udp` check needs something to send")
                    .help("`send = \"ping\\n\"` or `send_hex = \"…\"`; `send = \"\"` for an empty datagram");
                None
            }
        };
        Some(Probe::Udp { send: send?, reply: reply? })
    }
}

fn judge_reply(field: &Field<Reply>, problems: &mut Problems) -> Option<Reply> {
    let at = match field {
        Field::Missing => return Some(Reply::Any),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    match &at.value {
        Reply::Matches(pattern) => {
            if let Err(error) = regex::bytes::RegexBuilder::new(pattern).unicode(false).build() {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                problems
                    .error(at.place, "not a valid regular expression")
                    .label(reason.trim_start_matches("error: "))
                    .help(
                        "the syntax of the Rust crate `regex`; 'single quotes' spare the doubled backslashes",
                    );
                return None;
            }
        }
        Reply::Optional => {
            problems.warning(at.place, "only an ICMP error will count as down: a server that hangs keeps its weight").help(
                "if something else on the servers answers while they work, probe that instead: `port`, `send`, `expect`",
            );
        }
        Reply::Any | Reply::StartsWith(_) | Reply::Contains(_) | Reply::Length { .. } => {}
    }
    Some(at.value.clone())
}
