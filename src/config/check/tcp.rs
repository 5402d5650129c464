//! `tcp`: a connection.

use super::super::draft::Field;
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::{ProbeDraft, Type, pattern};
use crate::core::model::{Pattern, Probe, TcpProbe};

/// Nobody greets with more, and it fits into the kernel's buffer.
const MAX_SEND: usize = 16 * 1024;

pub const TYPE: Type =
    Type { word: "tcp", keys: &["send", "send_hex", "expect", "expect_hex"], network: true, read };

/// The draft of a `tcp` probe.
#[derive(Debug)]
pub struct Draft {
    pub send: Field<Vec<u8>>,
    pub expect: Field<Pattern>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft { send: pattern::send(table, problems), expect: pattern::expect(table, problems) })
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, problems: &mut Problems) -> Option<Probe> {
        let expect = match &self.expect {
            Field::Missing => Some(None),
            Field::Broken => None,
            Field::Given(at) => pattern::judge(at, problems).map(Some),
        };
        let send = match &self.send {
            Field::Missing => Some(Vec::new()),
            Field::Broken => None,
            Field::Given(at) if at.value.len() > MAX_SEND => {
                problems.error(at.place, format!("at most {MAX_SEND} bytes can be sent"));
                None
            }
            Field::Given(at) if matches!(self.expect, Field::Missing) => {
                problems
                    .error(at.place, "nothing is expected in return")
                    .help("add `expect` or `expect_hex`; without `send` the connection is enough");
                None
            }
            Field::Given(at) => Some(at.value.clone()),
        };
        Some(Probe::Tcp(TcpProbe { send: send?, expect: expect? }))
    }
}
