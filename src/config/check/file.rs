//! `file`: a number in a file.

use super::super::draft::{At, Field};
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::{boolean, string};
use super::{ProbeDraft, Type};
use crate::core::model::{FileProbe, Probe};

pub const TYPE: Type = Type { word: "file", keys: &["path", "weight"], read };

/// The draft of a `file` probe.
#[derive(Debug)]
pub struct Draft {
    pub path: Field<String>,
    pub weight: Field<bool>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft {
        path: table.get("path", problems, string),
        weight: table.get("weight", problems, boolean),
    })
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
        let weight = match &self.weight {
            Field::Broken => None,
            field => Some(field.value_or(false)),
        };
        Some(Probe::File(FileProbe { path: path?, weight: weight? }))
    }
}

fn path(at: &At<String>, problems: &mut Problems) -> Option<String> {
    if !at.value.starts_with('/') || at.value.contains('\0') {
        problems.error(at.place, format!("`{}` is not a whole path", at.value)).help("it begins with `/`");
        return None;
    }
    Some(at.value.clone())
}
