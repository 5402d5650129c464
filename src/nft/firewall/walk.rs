//! The way of a packet through the rules of a base chain, in all the directions that the unknown leaves open.

use std::collections::HashMap;

use serde_json::Value;

use super::Packet;
use super::matching::{Datum, Matching, Truth};
use super::tables::{BaseChain, Rule, Tables};
use super::translation::RuleName;

/// What can become of the packet in a chain.
#[derive(Clone, Debug, Default)]
struct Outcome {
    /// It may be accepted, or come to something that may accept it.
    accepted: bool,
    /// It may come back to the caller of the chain, or to the policy.
    back: bool,
    /// The first rule that may drop it.
    dropped: Option<String>,
    /// The first rule that may give it another source.
    translated: Option<RuleName>,
}

/// Whether the walk through a chain goes on after a statement.
#[derive(PartialEq)]
enum Next {
    Statement,
    Rule,
    /// No rule after this one is reached.
    End,
}

/// One packet's walk.
pub struct Walk<'a, 't> {
    tables: &'t Tables<'a>,
    packet: Packet<'t>,
    /// Takes the matches of iptables on the connection state for ones that an untracked packet does not fulfil.
    iptables_state_fails: bool,
    /// Chains walked already, and none for those that are being walked.
    done: HashMap<&'a str, Option<Outcome>>,
}

impl<'a, 't> Walk<'a, 't> {
    pub fn new(tables: &'t Tables<'a>, packet: Packet<'t>, iptables_state_fails: bool) -> Self {
        Walk { tables, packet, iptables_state_fails, done: HashMap::new() }
    }

    /// What drops the packet in a base chain, if it is dropped for certain.
    pub fn drops(mut self, chain: &BaseChain<'a>) -> Option<String> {
        let (family, table, name) = chain.id;
        let outcome = self.chain((family, table), name);
        match outcome {
            Outcome { accepted: true, .. } => None,
            Outcome { back: true, .. } => chain.drops.then(|| "policy drop".to_owned()),
            Outcome { dropped, .. } => dropped,
        }
    }

    /// What may give the packet another source in a base chain.
    pub fn translates(mut self, chain: &BaseChain<'a>) -> Option<RuleName> {
        let (family, table, name) = chain.id;
        self.chain((family, table), name).translated
    }

    fn chain(&mut self, table: (&'a str, &'a str), name: &'a str) -> Outcome {
        match self.done.get(name) {
            Some(Some(outcome)) => return outcome.clone(),
            // The kernel refuses loops; a listing with one says nothing.
            Some(None) => return Outcome { accepted: true, back: true, ..Outcome::default() },
            None => _ = self.done.insert(name, None),
        }
        let mut outcome = Outcome::default();
        let tables = self.tables;
        let rules = tables.rules((table.0, table.1, name));
        if !rules.iter().any(|rule| self.rule(table, name, rule, &mut outcome) == Next::End) {
            outcome.back = true;
        }
        self.done.insert(name, Some(outcome.clone()));
        outcome
    }

    fn rule(
        &mut self,
        table: (&'a str, &'a str),
        chain: &str,
        rule: &Rule<'a>,
        outcome: &mut Outcome,
    ) -> Next {
        let mut reached = Truth::Yes;
        for statement in rule.statements {
            let Some((kind, body)) = statement.as_object().and_then(|object| object.iter().next()) else {
                continue;
            };
            let matching = Matching { tables: self.tables, packet: self.packet, table };
            let next = match kind.as_str() {
                "match" => match matching.holds(body) {
                    Truth::No => Next::Rule,
                    truth => {
                        reached = if truth == Truth::Unknown { truth } else { reached };
                        Next::Statement
                    }
                },
                "vmap" => {
                    let key = body.get("key").map_or(Datum::Unknown, |key| matching.datum(key));
                    match body.get("data").and_then(|data| elements(self.tables, table, data)) {
                        Some(elements) => {
                            self.verdict_map(table, (chain, rule.handle), &key, elements, reached, outcome)
                        }
                        None => anything(outcome, reached),
                    }
                }
                "xt" => self.xt(body, (chain, rule.handle), &mut reached, outcome),
                // They see the packet, or change what is only known later.
                "counter" | "log" | "notrack" | "last" | "flow" | "ct helper" | "ct timeout"
                | "ct expectation" => Next::Statement,
                "mangle" if body.pointer("/key/payload").is_none() => Next::Statement,
                // A full set or a used up limit ends the rule.
                "limit" | "quota" | "set" | "meter" | "ct count" => {
                    reached = Truth::Unknown;
                    Next::Statement
                }
                _ => self.verdict(table, (chain, rule.handle), statement, reached, outcome),
            };
            if next != Next::Statement {
                return next;
            }
        }
        Next::Rule
    }

    fn verdict_map(
        &mut self,
        table: (&'a str, &'a str),
        place: (&str, u64),
        key: &Datum<'_>,
        elements: &'a [Value],
        mut reached: Truth,
        outcome: &mut Outcome,
    ) -> Next {
        if matches!(key, Datum::Absent) {
            return Next::Rule;
        }
        for element in elements.iter().filter_map(Value::as_array) {
            let [pattern, verdict] = element.as_slice() else { continue };
            let matching = Matching { tables: self.tables, packet: self.packet, table };
            match matching.equals(key, pattern) {
                Truth::No => {}
                Truth::Yes => return self.verdict(table, place, verdict, reached, outcome),
                Truth::Unknown => {
                    reached = Truth::Unknown;
                    self.verdict(table, place, verdict, reached, outcome);
                }
            }
        }
        Next::Rule
    }

    fn verdict(
        &mut self,
        table: (&'a str, &'a str),
        (chain, handle): (&str, u64),
        statement: &'a Value,
        reached: Truth,
        outcome: &mut Outcome,
    ) -> Next {
        let Some((kind, body)) = statement.as_object().and_then(|object| object.iter().next()) else {
            return anything(outcome, reached);
        };
        let target = body.get("target").and_then(Value::as_str);
        let ends = match (kind.as_str(), target) {
            ("accept", _) => {
                outcome.accepted = true;
                true
            }
            ("drop" | "reject", _) => {
                outcome
                    .dropped
                    .get_or_insert_with(|| format!("rule {kind}, handle {handle} of chain {chain}"));
                true
            }
            ("return", _) => {
                outcome.back = true;
                true
            }
            ("continue", _) => false,
            ("jump" | "goto", Some(target)) => {
                let inner = self.chain(table, target);
                outcome.accepted |= inner.accepted;
                outcome.dropped = outcome.dropped.take().or(inner.dropped);
                outcome.translated = outcome.translated.take().or(inner.translated);
                if kind == "goto" {
                    outcome.back |= inner.back;
                }
                kind == "goto" || !inner.back
            }
            _ => {
                if is_translation(kind, body) {
                    outcome.translate(kind, (chain, handle));
                }
                return anything(outcome, reached);
            }
        };
        if ends && reached == Truth::Yes { Next::End } else { Next::Rule }
    }

    /// A match or target of iptables, of which only the name is shown.
    fn xt(
        &self,
        body: &Value,
        (chain, handle): (&str, u64),
        reached: &mut Truth,
        outcome: &mut Outcome,
    ) -> Next {
        let text = |field| body.get(field).and_then(Value::as_str).unwrap_or_default();
        match (text("type"), text("name")) {
            ("match", "conntrack" | "state") if self.iptables_state_fails => Next::Rule,
            ("match", "comment") | ("target", "LOG" | "NFLOG" | "MARK") => Next::Statement,
            ("match", _) => {
                *reached = Truth::Unknown;
                Next::Statement
            }
            ("target", "REJECT" | "DROP") => {
                outcome
                    .dropped
                    .get_or_insert_with(|| format!("rule REJECT, handle {handle} of chain {chain}"));
                if *reached == Truth::Yes { Next::End } else { Next::Rule }
            }
            (_, name @ ("SNAT" | "MASQUERADE")) => {
                outcome.translate(name, (chain, handle));
                anything(outcome, *reached)
            }
            _ => anything(outcome, *reached),
        }
    }
}

impl Outcome {
    fn translate(&mut self, kind: &str, (chain, handle): (&str, u64)) {
        self.translated.get_or_insert_with(|| RuleName {
            word: kind.to_owned(),
            handle,
            chain: chain.to_owned(),
        });
    }
}

/// Whether a statement changes the source of the packet: `snat`, `masquerade`, `ip saddr set`, `udp sport set`.
fn is_translation(kind: &str, body: &Value) -> bool {
    let field = || body.pointer("/key/payload/field").and_then(Value::as_str);
    match kind {
        "snat" | "masquerade" => true,
        "mangle" => matches!(field(), Some("saddr" | "sport")),
        _ => false,
    }
}

/// A statement that may do anything: the packet may pass.
fn anything(outcome: &mut Outcome, reached: Truth) -> Next {
    outcome.accepted = true;
    if reached == Truth::Yes { Next::End } else { Next::Rule }
}

fn elements<'a>(tables: &Tables<'a>, table: (&'a str, &'a str), data: &'a Value) -> Option<&'a [Value]> {
    match data.as_str() {
        Some(name) => tables.elements((table.0, table.1, name.strip_prefix('@')?)),
        None => data.get("set")?.as_array().map(Vec::as_slice),
    }
}
