//! `icmp`: a ping.

use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::{ProbeDraft, Type};
use crate::core::model::Probe;

pub const TYPE: Type = Type { word: "icmp", keys: &[], network: true, read };

/// The draft of an `icmp` probe.
#[derive(Debug)]
pub struct Draft;

fn read(_: &Table<'_>, _: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft)
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, _: &mut Problems) -> Option<Probe> {
        Some(Probe::Icmp)
    }
}
