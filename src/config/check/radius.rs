//! `radius`: Status-Server.

use super::super::draft::Field;
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::secret::{self, Source};
use super::{ProbeDraft, Type};
use crate::core::model::{Probe, RadiusProbe};

pub const TYPE: Type =
    Type { word: "radius", keys: &["secret_file", "secret_credential"], network: true, read };

/// The draft of a `radius` probe.
#[derive(Debug)]
pub struct Draft {
    pub secret: Field<Source>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    let file = secret::file(table, "secret_file", problems);
    let credential = secret::credential(table, "secret_credential", problems);
    Box::new(Draft { secret: super::field::one_of(table, [file, credential], problems) })
}

impl ProbeDraft for Draft {
    fn judge(&self, place: Place, problems: &mut Problems) -> Option<Probe> {
        let secret = match &self.secret {
            Field::Given(at) => secret::judge(at, problems)?,
            Field::Broken => return None,
            Field::Missing => {
                problems
                    .error(place, "a `radius` check needs the secret that the servers share with the director")
                    .help("`secret_file = \"/etc/ipvsd/radius.secret\"`, or `secret_credential`: a credential of systemd");
                return None;
            }
        };
        Some(Probe::Radius(RadiusProbe { secret }))
    }
}
