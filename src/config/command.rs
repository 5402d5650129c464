//! A command of the operator: a list of words, or a table with `command` and more keys.

use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::MAX_DURATION;
use super::draft::{At, Field, List};
use super::report::{Place, Problems};
use super::toml_table::{Table, Value, list, place, wrong_kind};
use super::toml_value::{choice, duration, string};
use crate::core::model::Command;

/// `privileges` of a command: whether it keeps those of the network.
pub const PRIVILEGES: [(&str, bool); 2] = [("none", false), ("network", true)];
/// How long a command may run that does not say so.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the file says of a command.
#[derive(Debug)]
pub struct CommandDraft {
    argv: List<At<String>>,
    timeout: Field<Duration>,
    network: Field<bool>,
    user: Field<String>,
}

/// The words of a command.
pub fn words(value: Value<'_>, problems: &mut Problems) -> Option<List<At<String>>> {
    list(value, "a list of words", problems, |value, problems| {
        Some(At { value: string(value, problems)?, place: place(value) })
    })
}

/// A list of words, or a table.
pub fn read(value: Value<'_>, problems: &mut Problems) -> Option<CommandDraft> {
    let entries = match value.get_ref() {
        DeValue::Table(entries) => entries,
        DeValue::Array(_) => {
            let argv = words(value, problems)?;
            let (timeout, network, user) = (Field::Missing, Field::Missing, Field::Missing);
            return Some(CommandDraft { argv, timeout, network, user });
        }
        _ => {
            wrong_kind(
                value,
                "a command: [\"/usr/local/bin/tell\", \"up\"], or a table with `command`",
                problems,
            );
            return None;
        }
    };
    let table = Table::new(
        entries,
        place(value),
        "a command",
        &["command", "timeout", "privileges", "user"],
        problems,
    );
    let timeout = table.get("timeout", problems, duration);
    let network = table.get("privileges", problems, |v, p| choice(v, &PRIVILEGES, p));
    let user = table.get("user", problems, string);
    match table.get("command", problems, words) {
        Field::Given(argv) => Some(CommandDraft { argv: argv.value, timeout, network, user }),
        Field::Broken => None,
        Field::Missing => {
            problems
                .error(place(value), "`command` is missing")
                .help("command = [\"/usr/local/bin/tell\", \"up\"]");
            None
        }
    }
}

/// The command with its defaults, if there is one; none if there is an error.
pub fn judge(field: &Field<CommandDraft>, problems: &mut Problems) -> Option<Option<Arc<Command>>> {
    let at = match field {
        Field::Missing => return Some(None),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    let timeout = match &at.value.timeout {
        Field::Missing => Some(TIMEOUT),
        Field::Broken => None,
        Field::Given(at) if at.value.is_zero() || at.value > MAX_DURATION => {
            problems.error(at.place, "`timeout` must be more than nothing and at most a day");
            None
        }
        Field::Given(at) => Some(at.value),
    };
    let network = match &at.value.network {
        Field::Broken => None,
        field => Some(field.value_or(false)),
    };
    let user = at.value.user.optional();
    let argv = argv(&at.value.argv, at.place, problems);
    Some(Some(Arc::new(Command { argv: argv?, timeout: timeout?, network: network?, user: user? })))
}

/// The words of a command; the first is the path of an executable.
pub fn argv(words: &List<At<String>>, place: Place, problems: &mut Problems) -> Option<Vec<String>> {
    let Some(executable) = words.items.first() else {
        if words.whole {
            problems.error(place, "a command needs an executable").help("[\"/usr/local/bin/tell\", \"up\"]");
        }
        return None;
    };
    let mut valid = words.whole;
    if !executable.value.starts_with('/') {
        problems.error(executable.place, format!("`{}` is not an absolute path", executable.value)).help(
            "there is no shell and no search path; to have a shell, name it: [\"/bin/sh\", \"-c\", \"…\"]",
        );
        valid = false;
    }
    if let Some(word) = words.items.iter().find(|word| word.value.contains('\0')) {
        problems.error(word.place, "a word of a command cannot hold a zero byte");
        valid = false;
    }
    valid.then(|| words.items.iter().map(|word| word.value.clone()).collect())
}
