//! `exec`: a command.

use super::super::command;
use super::super::draft::{At, Field, List};
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::{boolean, choice};
use super::{ProbeDraft, Times, Type};
use crate::core::model::{ExecProbe, Probe};

pub const TYPE: Type = Type { word: "exec", keys: &["command", "privileges", "weight"], read };

/// The draft of an `exec` probe.
#[derive(Debug)]
pub struct Draft {
    pub command: Field<List<At<String>>>,
    pub network: Field<bool>,
    pub weight: Field<bool>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft {
        command: table.get("command", problems, command::words),
        network: table.get("privileges", problems, |v, p| choice(v, &command::PRIVILEGES, p)),
        weight: table.get("weight", problems, boolean),
    })
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
        let switch = |field: &Field<bool>| match field {
            Field::Broken => None,
            field => Some(field.value_or(false)),
        };
        let (network, weight) = (switch(&self.network), switch(&self.weight));
        Some(Probe::Exec(ExecProbe { argv: argv?, network: network?, weight: weight? }))
    }
}
