//! `sip`: OPTIONS.

use super::super::draft::Field;
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::{ProbeDraft, Type, status};
use crate::core::model::{Probe, SipProbe, StatusRange};

pub const TYPE: Type = Type { word: "sip", keys: &["status"], network: true, read };

/// The draft of a `sip` probe.
#[derive(Debug)]
pub struct Draft {
    pub status: Field<Vec<StatusRange>>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft { status: table.get("status", problems, status::codes) })
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, _: &mut Problems) -> Option<Probe> {
        let status = match &self.status {
            Field::Missing => vec![StatusRange { first: 200, last: 200 }],
            Field::Broken => return None,
            Field::Given(at) => at.value.clone(),
        };
        Some(Probe::Sip(SipProbe { status }))
    }
}
