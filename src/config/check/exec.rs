//! `exec`: a command.

use toml::de::DeValue;

use super::super::command;
use super::super::draft::{At, Field, List};
use super::super::report::{Place, Problems};
use super::super::toml_table::{Table, Value, wrong_kind};
use super::super::toml_value::{choice, string};
use super::{ProbeDraft, Times, Type};
use crate::core::model::{ExecProbe, ExecWeight, Probe};

pub const TYPE: Type =
    Type { word: "exec", keys: &["command", "privileges", "user", "weight"], network: false, read };

/// The draft of an `exec` probe.
#[derive(Debug)]
pub struct Draft {
    pub command: Field<List<At<String>>>,
    pub network: Field<bool>,
    pub user: Field<String>,
    pub weight: Field<ExecWeight>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft {
        command: table.get("command", problems, command::words),
        network: table.get("privileges", problems, |v, p| choice(v, &command::PRIVILEGES, p)),
        user: table.get("user", problems, string),
        weight: table.get("weight", problems, weight),
    })
}

/// `true`, `false`, or `"status"`.
fn weight(value: Value<'_>, problems: &mut Problems) -> Option<ExecWeight> {
    match value.get_ref() {
        DeValue::String(_) => choice(value, &[("status", ExecWeight::Status)], problems),
        DeValue::Boolean(printed) => Some(if *printed { ExecWeight::Printed } else { ExecWeight::None }),
        _ => {
            wrong_kind(value, "`true`, `false` or \"status\"", problems);
            None
        }
    }
}

impl ProbeDraft for Draft {
    /// A process for each probe is dear, and such a command takes its time.
    fn times(&self) -> Times {
        Times { interval: 5_000, timeout: 3_000, retry_interval: 1_000 }
    }

    fn judge(&self, place: Place, problems: &mut Problems) -> Option<Probe> {
        let argv = match &self.command {
            Field::Broken => None,
            Field::Given(at) => command::argv(&at.value, at.place, problems),
            Field::Missing => {
                problems
                    .error(place, "an `exec` check needs a `command`")
                    .help("command = [\"/usr/local/bin/ask\", \"{address}\", \"{port}\"]");
                None
            }
        };
        let network = self.network.or_default(false);
        let weight = self.weight.or_default(ExecWeight::None);
        let user = self.user.optional();
        Some(Probe::Exec(ExecProbe { argv: argv?, network: network?, user: user?, weight: weight? }))
    }
}
