//! `ntp`: a client's request.

use super::super::draft::Field;
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::number;
use super::{ProbeDraft, Type, field};
use crate::core::model::{NtpProbe, Probe};

pub const TYPE: Type = Type { word: "ntp", keys: &["max_stratum"], network: true, read };

/// The draft of an `ntp` probe.
#[derive(Debug)]
pub struct Draft {
    pub max_stratum: Field<i64>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft { max_stratum: table.get("max_stratum", problems, number) })
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, problems: &mut Problems) -> Option<Probe> {
        let max_stratum = field::number("`max_stratum`", &self.max_stratum, 15, 1..=15, problems)?;
        Some(Probe::Ntp(NtpProbe { max_stratum }))
    }
}
