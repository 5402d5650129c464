//! `file`: a number in a file.

use toml::de::DeValue;

use super::super::draft::{At, Field};
use super::super::report::{Place, Problems};
use super::super::toml_table::{Table, Value, place, wrong_kind};
use super::super::toml_value::{choice, number, string};
use super::{ProbeDraft, Type};
use crate::core::model::{FileNumber, FileProbe, Probe};

pub const TYPE: Type = Type { word: "file", keys: &["path", "down", "weight"], network: false, read };

const DOWN: [(&str, FileNumber); 2] =
    [("zero", FileNumber::UpUnlessZero), ("nonzero", FileNumber::DownUnlessZero)];

/// The draft of a `file` probe.
#[derive(Debug)]
pub struct Draft {
    pub path: Field<String>,
    pub down: Field<FileNumber>,
    pub weight: Field<Weight>,
}

/// How the number is a weight.
#[derive(Clone, Copy, Debug)]
pub enum Weight {
    /// It is none.
    None,
    /// In percent.
    Percent,
    /// So often it is added to the weight.
    Times(At<i64>),
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft {
        path: table.get("path", problems, string),
        down: table.get("down", problems, |v, p| choice(v, &DOWN, p)),
        weight: table.get("weight", problems, weight),
    })
}

/// `true`, `false`, or a table.
fn weight(value: Value<'_>, problems: &mut Problems) -> Option<Weight> {
    match value.get_ref() {
        DeValue::Boolean(percent) => Some(if *percent { Weight::Percent } else { Weight::None }),
        DeValue::Table(entries) => {
            let table = Table::new(entries, place(value), "`weight`", &["times"], problems);
            match table.get("times", problems, number) {
                Field::Given(times) => Some(Weight::Times(times)),
                Field::Broken => None,
                Field::Missing => {
                    problems.error(table.place, "`weight` needs `times`").help("weight = { times = 1 }");
                    None
                }
            }
        }
        _ => {
            wrong_kind(value, "`true`, `false` or a table: { times = 2 }", problems);
            None
        }
    }
}

impl ProbeDraft for Draft {
    fn judge(&self, place: Place, problems: &mut Problems) -> Option<Probe> {
        let path = match &self.path {
            Field::Broken => None,
            Field::Given(at) => path(at, problems),
            Field::Missing => {
                problems
                    .error(place, "a `file` check needs a `path`")
                    .help("`path = \"/run/weights/{address}\"`, a file for each server");
                None
            }
        };
        let number = self.number(problems);
        Some(Probe::File(FileProbe { path: path?, number: number? }))
    }
}

impl Draft {
    fn number(&self, problems: &mut Problems) -> Option<FileNumber> {
        let down = self.down.or_default(FileNumber::UpUnlessZero);
        let number = match self.weight.or_default(Weight::None)? {
            Weight::None => return down,
            Weight::Percent => FileNumber::Percent,
            Weight::Times(at) if at.value == 0 => {
                problems
                    .error(at.place, "0 times the number adds nothing")
                    .help("`down = \"nonzero\"`: any number but 0 is down");
                return None;
            }
            Weight::Times(at) => FileNumber::Times(at.within("`times`", i32::MIN..=i32::MAX, problems)?),
        };
        if let Some(down) = self.down.given() {
            problems
                .error(down.place, "a number that is a weight is never down")
                .help("remove `down`, or `weight`");
            return None;
        }
        down.map(|_| number)
    }
}

fn path(at: &At<String>, problems: &mut Problems) -> Option<String> {
    if !at.value.starts_with('/') || at.value.contains('\0') {
        problems.error(at.place, format!("`{}` is not a whole path", at.value)).help("it begins with `/`");
        return None;
    }
    Some(at.value.clone())
}
