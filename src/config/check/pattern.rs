//! What is said to a server, and what it must say: `send` or `send_hex`, `expect` or `expect_hex`.

use super::super::draft::{At, Field};
use super::super::report::Problems;
use super::super::toml_table::Table;
use super::super::toml_value::{hex, string};
use super::field::one_of;
use crate::core::model::Pattern;

/// `send` or `send_hex`.
pub fn send(table: &Table<'_>, problems: &mut Problems) -> Field<Vec<u8>> {
    let text = table.get("send", problems, |v, p| string(v, p).map(String::into_bytes));
    let bytes = table.get("send_hex", problems, hex);
    one_of(table, [("send", text), ("send_hex", bytes)], problems)
}

/// `expect` or `expect_hex`.
pub fn expect(table: &Table<'_>, problems: &mut Problems) -> Field<Pattern> {
    let pattern = table.get("expect", problems, |v, p| string(v, p).map(Pattern::Matches));
    let prefix = table.get("expect_hex", problems, |v, p| hex(v, p).map(Pattern::StartsWith));
    one_of(table, [("expect", pattern), ("expect_hex", prefix)], problems)
}

/// The pattern, if it is one.
pub fn judge(at: &At<Pattern>, problems: &mut Problems) -> Option<Pattern> {
    match &at.value {
        Pattern::Matches(pattern) => {
            let pattern = At { value: pattern.clone(), place: at.place };
            regex(&pattern, problems).map(Pattern::Matches)
        }
        Pattern::StartsWith(bytes) => Some(Pattern::StartsWith(bytes.clone())),
    }
}

/// A regular expression over bytes.
pub fn regex(at: &At<String>, problems: &mut Problems) -> Option<String> {
    let error = match regex::bytes::RegexBuilder::new(&at.value).unicode(false).build() {
        Ok(_) => return Some(at.value.clone()),
        Err(error) => error.to_string(),
    };
    let reason = error.lines().last().unwrap_or_default();
    problems
        .error(at.place, "not a valid regular expression")
        .label(reason.trim_start_matches("error: "))
        .help("the syntax of the Rust crate `regex`; 'single quotes' spare the doubled backslashes");
    None
}
