//! `snmp`: a get of one object.

use super::super::draft::Field;
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::string;
use super::secret::{self, Source};
use super::{ProbeDraft, Type};
use crate::core::model::{Probe, Secret, SnmpProbe};

/// An identifier holds at most so many numbers (RFC 3416, section 4.1).
const MAX_NUMBERS: usize = 128;

pub const TYPE: Type = Type {
    word: "snmp",
    keys: &["community", "community_file", "community_credential", "oid"],
    network: true,
    read,
};

/// The draft of an `snmp` probe.
#[derive(Debug)]
pub struct Draft {
    pub community: Field<Source>,
    pub oid: Field<String>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    let plain = table
        .get("community", problems, |v, p| string(v, p).map(|text| Source::Plain(Secret::new(text.into()))));
    let file = secret::file(table, "community_file", problems);
    let credential = secret::credential(table, "community_credential", problems);
    let sources = [("community", plain), file, credential];
    Box::new(Draft {
        community: super::field::one_of(table, sources, problems),
        oid: table.get("oid", problems, string),
    })
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, problems: &mut Problems) -> Option<Probe> {
        let community = match &self.community {
            Field::Missing => Some(Secret::new(b"public".to_vec())),
            Field::Broken => None,
            Field::Given(at) => secret::judge(at, problems),
        };
        let oid = match &self.oid {
            Field::Missing => Some(None),
            Field::Broken => None,
            Field::Given(at) => {
                let oid = numbers(&at.value);
                if oid.is_none() {
                    problems
                        .error(at.place, format!("`{}` is not an object identifier", at.value))
                        .help("numbers with dots, such as \"1.3.6.1.2.1.1.3.0\"; names are not looked up");
                }
                oid.map(Some)
            }
        };
        Some(Probe::Snmp(SnmpProbe { community: community?, oid: oid? }))
    }
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    let numbers = text.strip_prefix('.').unwrap_or(text).split('.').map(str::parse);
    let numbers: Vec<u32> = numbers.collect::<Result<_, _>>().ok()?;
    (matches!(numbers[..], [0..=2, 0..=39, ..]) && numbers.len() <= MAX_NUMBERS).then_some(numbers)
}
