//! Blocks → the LVS half, with findings where `keepalived -t` has them.

mod check;
mod group;
mod hex;
mod http;
mod real_server;
mod resolve;
mod root;
mod value;
mod virtual_server;

use super::finding::{Findings, Rule};
use super::keywords::{Block, Keyword, Known, keyword};
use super::model::Lvs;
use super::place::At;
use super::tree::Statement;

/// Reads all blocks of a config.
pub(super) fn read(statements: &[Statement], findings: &mut Findings) -> Lvs {
    let mut reading = Reading { findings, lvs: Lvs::default() };
    reading.root(statements);
    reading.lvs
}

/// What has been read so far.
struct Reading<'a> {
    findings: &'a mut Findings,
    lvs: Lvs,
}

impl Reading<'_> {
    /// Hands over the statements of a block that keepalived knows, and says what is wrong with the others.
    fn each(
        &mut self,
        block: Block,
        statements: &[Statement],
        mut take: impl FnMut(&mut Self, &'static str, &Statement),
    ) {
        for statement in statements {
            if let Some(keyword) = self.known(block, statement) {
                take(self, keyword.name, statement);
            }
        }
    }

    fn known(&mut self, block: Block, statement: &Statement) -> Option<&'static Keyword> {
        let (name, place) = (statement.keyword(), statement.place());
        let found = keyword(block, name);
        if let Some(keyword) = found {
            self.lvs.keywords.push(At { value: keyword, place });
        }
        match found {
            None => {
                let block = if statement.block.is_some() { ", and so does what is in its block" } else { "" };
                self.findings.error(
                    Rule::UnknownKeyword,
                    place,
                    format!("`{name}` is no keyword here: it has no effect{block}"),
                );
                None
            }
            Some(Keyword { known: Known::Never, reason, .. }) => {
                self.findings.error(Rule::UnknownKeyword, place, format!("`{name}` has no effect: {reason}"));
                None
            }
            Some(keyword) => {
                if keyword.known == Known::Later {
                    self.findings.note(
                        Rule::NewKeyword,
                        place,
                        format!("keepalived 2.2.7 does not know `{name}`"),
                    );
                }
                match (keyword.takes_block(), &statement.block) {
                    (true, None) => {
                        self.findings.error(Rule::Brace, place, format!("the `{{` of `{name}` is missing"));
                    }
                    (false, Some(_)) => {
                        self.findings.error(
                            Rule::Brace,
                            place,
                            format!("`{name}` takes no block: what is in it has no effect"),
                        );
                    }
                    _ => {}
                }
                Some(keyword)
            }
        }
    }
}
