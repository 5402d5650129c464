//! Lines of words → statements and their blocks. Knows braces and no keyword.

use super::finding::{Findings, Rule};
use super::place::Place;
use super::text::{Piece, Word};

/// What stands on a line, and the block that follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The words; at least one.
    pub words: Vec<Word>,
    /// What stands between its braces; none if it has no braces.
    pub block: Option<Vec<Statement>>,
}

impl Statement {
    /// The first word.
    pub fn keyword(&self) -> &str {
        &self.words[0].text
    }

    /// Where it begins.
    pub fn place(&self) -> Place {
        self.words[0].place
    }

    /// The word at an index; 0 is the keyword.
    pub fn word(&self, index: usize) -> Option<&Word> {
        self.words.get(index)
    }
}

/// Makes a tree of lines that come one after the other.
#[derive(Debug, Default)]
pub(super) struct Builder {
    root: Vec<Statement>,
    /// The statements whose blocks are open, the innermost last, each with the place of its brace.
    open: Vec<(Statement, Place)>,
}

impl Builder {
    /// Deeper blocks are read as if they stood in the one above: nothing that keepalived knows is half as deep.
    const DEEPEST: usize = 64;

    /// Takes the pieces of one line. A brace belongs to the words before it, also to those of the line before.
    pub fn line(&mut self, pieces: Vec<Piece>, findings: &mut Findings) {
        let mut words = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Word(word) => words.push(word),
                Piece::Open(place) => {
                    self.close_statement(&mut words);
                    self.open_block(place, findings);
                }
                Piece::Close(place) => {
                    self.close_statement(&mut words);
                    self.close_block(place, findings);
                }
            }
        }
        self.close_statement(&mut words);
    }

    /// The tree, when there is no more.
    pub fn finish(mut self, findings: &mut Findings) -> Vec<Statement> {
        if let Some((_, place)) = self.open.last() {
            let message = format!(
                "{} `}}` are missing at the end, for this block and those around it",
                self.open.len()
            );
            findings.error(Rule::Brace, *place, message);
        }
        while let Some((statement, _)) = self.open.pop() {
            self.statements().push(statement);
        }
        self.root
    }

    fn statements(&mut self) -> &mut Vec<Statement> {
        match self.open.last_mut() {
            Some((statement, _)) => statement.block.get_or_insert_default(),
            None => &mut self.root,
        }
    }

    fn close_statement(&mut self, words: &mut Vec<Word>) {
        if !words.is_empty() {
            let words = std::mem::take(words);
            self.statements().push(Statement { words, block: None });
        }
    }

    fn open_block(&mut self, place: Place, findings: &mut Findings) {
        let too_deep = self.open.len() >= Self::DEEPEST;
        let statements = self.statements();
        match statements.pop() {
            Some(mut statement) if statement.block.is_none() && !too_deep => {
                statement.block = Some(Vec::new());
                self.open.push((statement, place));
            }
            other => {
                statements.extend(other);
                findings.error(Rule::Brace, place, "no keyword that takes a block stands before this `{`");
            }
        }
    }

    fn close_block(&mut self, place: Place, findings: &mut Findings) {
        match self.open.pop() {
            Some((statement, _)) => self.statements().push(statement),
            None => findings.error(Rule::Brace, place, "this `}` has no `{`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalived::text::tests::pieces;

    fn shown(statements: &[Statement]) -> String {
        let one = |statement: &Statement| {
            let words: Vec<_> = statement.words.iter().map(|word| word.text.as_str()).collect();
            match &statement.block {
                Some(block) => format!("{}<{}>", words.join(" "), shown(block)),
                None => words.join(" "),
            }
        };
        statements.iter().map(one).collect::<Vec<_>>().join(" | ")
    }

    fn tree(text: &str) -> (String, Vec<(u32, u32)>) {
        let (mut findings, mut builder) = (Findings::default(), Builder::default());
        for line in pieces(text) {
            builder.line(line, &mut findings);
        }
        let statements = builder.finish(&mut findings);
        (
            shown(&statements),
            findings.0.iter().map(|finding| (finding.place.line, finding.place.column)).collect(),
        )
    }

    #[test]
    fn braces_may_stand_anywhere() {
        let same = "a 1<b 2 | c<d> | e>";
        for text in [
            "a 1 {\n b 2\n c {\n d\n }\n e\n}",
            "a 1\n\n# x\n{ b 2\nc\n{ d } e }",
            "a 1{b 2\nc{d}e}",
            "a 1 { b 2\n c { d\n } e\n}",
        ] {
            assert_eq!(tree(text), (same.to_owned(), vec![]), "{text}");
        }
        assert_eq!(tree("a {\n}\n{\n}").1, [(3, 1), (4, 1)]);
    }

    #[test]
    fn what_is_wrong_with_braces_has_its_place() {
        assert_eq!(tree("a {\n b {\n c\n"), ("a<b<c>>".to_owned(), vec![(2, 4)]));
        assert_eq!(tree("a\n}\nb"), ("a | b".to_owned(), vec![(2, 1)]));
        let deep = tree(&"a {".repeat(1_000));
        assert_eq!(deep.1.len(), 1_000 - Builder::DEEPEST + 1);
    }
}
