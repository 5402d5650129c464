//! `quic`: a packet that asks for Version Negotiation. There is nothing to set.

use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::{ProbeDraft, Type};
use crate::core::model::Probe;

pub const TYPE: Type = Type { word: "quic", keys: &[], network: true, read };

/// The draft of a `quic` probe.
#[derive(Debug)]
pub struct Draft;

fn read(_: &Table<'_>, _: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft)
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, _: &mut Problems) -> Option<Probe> {
        Some(Probe::Quic)
    }
}
