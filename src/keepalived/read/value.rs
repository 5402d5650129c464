//! Values of keywords: numbers, times, switches, addresses, scripts.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Reading;
use crate::keepalived::finding::Rule;
use crate::keepalived::model::{Account, Script};
use crate::keepalived::place::At;
use crate::keepalived::text::Word;
use crate::keepalived::tree::Statement;

/// The longest times that keepalived takes, in microseconds.
pub const LONGEST: u64 = u64::MAX - 1;
pub const LONGEST_CONNECT: u64 = u32::MAX as u64;

impl Reading<'_> {
    /// The value of a keyword that must have one.
    pub fn argument<'s>(&mut self, statement: &'s Statement) -> Option<&'s Word> {
        let word = statement.word(1);
        if word.is_none() {
            let message =
                format!("`{}` has no value: keepalived gives the whole file up", statement.keyword());
            self.findings.error(Rule::MissingValue, statement.place(), message);
        }
        word
    }

    /// The same for a keyword whose absence of a value keepalived survives.
    pub fn optional_argument<'s>(&mut self, statement: &'s Statement) -> Option<&'s Word> {
        let word = statement.word(1);
        if word.is_none() {
            let message = format!("`{}` has no value, and no effect", statement.keyword());
            self.findings.error(Rule::BadValue, statement.place(), message);
        }
        word
    }

    pub fn text(&mut self, statement: &Statement) -> Option<At<String>> {
        self.argument(statement).map(|word| At { value: word.text.clone(), place: word.place })
    }

    pub fn optional_text(&mut self, statement: &Statement) -> Option<At<String>> {
        self.optional_argument(statement).map(|word| At { value: word.text.clone(), place: word.place })
    }

    pub fn bad(&mut self, word: &Word, what: &str, expected: &str) {
        self.findings.error(
            Rule::BadValue,
            word.place,
            format!("{what} is `{}`, which is not {expected}", word.text),
        );
    }

    /// A number that the statement gives; an error if it is out of range.
    pub fn number<T: TryFrom<i64>>(
        &mut self,
        statement: &Statement,
        range: RangeInclusive<i64>,
    ) -> Option<At<T>> {
        let word = self.argument(statement)?;
        self.number_of(word, statement.keyword(), range)
    }

    pub fn number_of<T: TryFrom<i64>>(
        &mut self,
        word: &Word,
        what: &str,
        range: RangeInclusive<i64>,
    ) -> Option<At<T>> {
        let value = integer(&word.text)
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok());
        if value.is_none() {
            self.bad(word, &format!("`{what}`"), &format!("{} to {}", range.start(), range.end()));
        }
        value.map(|value| At { value, place: word.place })
    }

    /// A time in seconds, to microseconds.
    pub fn timer(&mut self, statement: &Statement, least: u64, most: u64) -> Option<At<Duration>> {
        let word = self.argument(statement)?;
        let (micros, clean) = match micros(&word.text) {
            Some((micros, clean)) => (Some(micros).filter(|micros| (least..=most).contains(micros)), clean),
            None => (None, false),
        };
        if micros.is_none() || !clean {
            let range = format!("a number of seconds from {} to {}", seconds(least), seconds(most));
            self.bad(word, &format!("`{}`", statement.keyword()), &range);
        }
        micros.map(|micros| At { value: Duration::from_micros(micros), place: word.place })
    }

    /// On, unless the statement says otherwise.
    pub fn switch(&mut self, statement: &Statement) -> Option<At<bool>> {
        let value = match statement.word(1) {
            None => Some(true),
            Some(word) => match word.text.as_str() {
                "on" | "true" | "yes" => Some(true),
                "off" | "false" | "no" => Some(false),
                _ => {
                    self.bad(word, &format!("`{}`", statement.keyword()), "on, off, true, false, yes or no");
                    None
                }
            },
        };
        value.map(|value| At { value, place: statement.place() })
    }

    /// An address with the port that may follow it.
    pub fn endpoint(&mut self, words: &[Word], what: &str) -> Option<(IpAddr, Option<u16>)> {
        let word = words.first()?;
        let address = match word.text.split(['/', '-']).next().unwrap_or_default().parse() {
            Ok(address) => address,
            Err(_) => {
                self.bad(word, what, "an address");
                return None;
            }
        };
        Some((address, self.port(words.get(1))?))
    }

    /// A port that may be missing; `Some(None)` if it is. 0 is none.
    pub fn port(&mut self, word: Option<&Word>) -> Option<Option<u16>> {
        match word {
            None => Some(None),
            Some(word) if word.text == "0" => Some(None),
            Some(word) => self.number_of(word, "the port", 1..=65_535).map(|port| Some(port.value)),
        }
    }

    pub fn address(&mut self, statement: &Statement) -> Option<At<IpAddr>> {
        let word = self.argument(statement)?;
        match word.text.parse() {
            Ok(value) => Some(At { value, place: word.place }),
            Err(_) => {
                self.bad(word, &format!("`{}`", statement.keyword()), "an address");
                None
            }
        }
    }

    /// A script with the account that may follow it. The first one holds.
    pub fn script(&mut self, slot: &mut Option<Script>, statement: &Statement) {
        if self.argument(statement).is_none() {
            return;
        }
        if slot.is_some() {
            let message =
                format!("`{}` is given already: keepalived keeps the first one", statement.keyword());
            self.findings.error(Rule::SecondScript, statement.place(), message);
            return;
        }
        let words = self.script_words(statement);
        if let Some((command, account)) = words.split_first() {
            let account =
                account.first().map(|user| Account { user: user.clone(), group: account.get(1).cloned() });
            *slot = self.command(command.clone(), account, statement);
        }
    }

    /// The script of a command line, if its quotes have their ends.
    pub fn command(
        &mut self,
        command: String,
        account: Option<Account>,
        statement: &Statement,
    ) -> Option<Script> {
        let script = Script { command, account, place: statement.place() };
        if script.arguments().is_none() {
            self.findings.error(
                Rule::Text,
                statement.place(),
                "a quote in the command has no end: it has no effect",
            );
            return None;
        }
        Some(script)
    }

    /// The words after the keyword, where single quotes hold words together, too, and those in double quotes with them.
    pub fn script_words(&mut self, statement: &Statement) -> Vec<String> {
        let mut words: Vec<Word> = Vec::new();
        let mut open = false;
        for word in &statement.words[1..] {
            if open {
                let last = words.last_mut().expect("an open quote has its word");
                last.text.push(' ');
                if word.quoted {
                    last.text.push_str(&format!("\"{}\"", word.text));
                } else {
                    last.text.push_str(word.text.strip_suffix('\'').unwrap_or(&word.text));
                    open = !word.text.ends_with('\'');
                }
            } else if let (false, Some(rest)) = (word.quoted, word.text.strip_prefix('\'')) {
                open = !rest.ends_with('\'');
                let text = rest.strip_suffix('\'').unwrap_or(rest).to_owned();
                words.push(Word { text, ..word.clone() });
            } else {
                words.push(word.clone());
            }
        }
        if open {
            self.findings.error(Rule::Text, statement.place(), "the single quote has no end on this line");
            words.clear();
        }
        words.iter().map(Word::unescaped).collect()
    }
}

/// Decimal, as `strtol` takes it.
pub fn integer(text: &str) -> Option<i64> {
    text.trim_start().parse().ok()
}

/// A decimal number of seconds in microseconds, and whether nothing else stands there.
fn micros(text: &str) -> Option<(u64, bool)> {
    let text = text.trim_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (whole, fraction) = text[..end].split_once('.').unwrap_or((&text[..end], ""));
    if (whole.is_empty() && fraction.is_empty())
        || fraction.contains('.')
        || text[end..].starts_with(['x', 'X'])
    {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let micros = whole.checked_mul(1_000_000)?.checked_add(digits.parse().ok()?)?;
    Some((micros, end == text.len() && fraction.len() <= 6))
}

fn seconds(micros: u64) -> String {
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if fraction == 0 { whole.to_string() } else { format!("{whole}.{fraction:06}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_six_decimal_places() {
        let cases = [
            ("5", Some((5_000_000, true))),
            (".5", Some((500_000, true))),
            ("1.", Some((1_000_000, true))),
            ("+1.5", Some((1_500_000, true))),
            ("1.2345678", Some((1_234_567, false))),
            ("5s", Some((5_000_000, false))),
            ("-1", None),
            ("x", None),
            ("0x10", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(micros(text), expected, "{text}");
        }
        assert_eq!(seconds(LONGEST_CONNECT), "4294.967295");
    }
}
