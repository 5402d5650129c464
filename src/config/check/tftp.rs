//! `tftp`: a read request.

use super::super::draft::Field;
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::string;
use super::{ProbeDraft, Type};
use crate::core::model::{Probe, TftpProbe};

/// A request of this and the mode fits into any packet.
const MAX_NAME: usize = 255;

pub const TYPE: Type = Type { word: "tftp", keys: &["file"], network: true, read };

/// The draft of a `tftp` probe.
#[derive(Debug)]
pub struct Draft {
    pub file: Field<String>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft { file: table.get("file", problems, string) })
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, problems: &mut Problems) -> Option<Probe> {
        let file = match &self.file {
            Field::Missing => None,
            Field::Broken => return None,
            Field::Given(at) => {
                let length = at.value.len();
                if length == 0 || length > MAX_NAME || at.value.contains('\0') {
                    problems
                        .error(
                            at.place,
                            format!("a file's name has 1 to {MAX_NAME} bytes, none of them zero"),
                        )
                        .help("without `file` any answer is right, also that there is no such file");
                    return None;
                }
                Some(at.value.clone())
            }
        };
        Some(Probe::Tftp(TftpProbe { file }))
    }
}
