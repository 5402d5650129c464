//! `stun`: a Binding request.

use super::super::draft::Field;
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::boolean;
use super::{ProbeDraft, Type};
use crate::core::model::{Probe, StunProbe};

pub const TYPE: Type = Type { word: "stun", keys: &["translated"], network: true, read };

/// The draft of a `stun` probe.
#[derive(Debug)]
pub struct Draft {
    pub translated: Field<bool>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft { translated: table.get("translated", problems, boolean) })
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, _: &mut Problems) -> Option<Probe> {
        let translated = match &self.translated {
            Field::Broken => return None,
            field => field.value_or(false),
        };
        Some(Probe::Stun(StunProbe { translated }))
    }
}
