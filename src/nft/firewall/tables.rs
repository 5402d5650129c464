//! The listing of a whole ruleset, by name.

use std::collections::HashMap;

use serde_json::Value;

use super::{Direction, Packet};
use crate::nft::table::{Family, NAME};

/// Family, table and name of a chain or set.
pub type Id<'a> = (&'a str, &'a str, &'a str);

/// Chains, rules and sets of all tables but ours.
#[derive(Default)]
pub struct Tables<'a> {
    base_chains: Vec<BaseChain<'a>>,
    rules: HashMap<Id<'a>, Vec<Rule<'a>>>,
    sets: HashMap<Id<'a>, &'a [Value]>,
}

/// A chain that a hook calls.
pub struct BaseChain<'a> {
    pub id: Id<'a>,
    hook: &'a str,
    /// `nat`, `filter`, …
    pub kind: &'a str,
    priority: i64,
    /// Whether its policy is drop.
    pub drops: bool,
}

/// A rule.
#[derive(Clone, Copy)]
pub struct Rule<'a> {
    pub handle: u64,
    pub statements: &'a [Value],
}

/// IPVS takes requests at the hook input with this priority; what comes after does not see them.
const IPVS_INPUT: i64 = 98;

impl<'a> Tables<'a> {
    pub fn read(ruleset: &'a Value) -> Tables<'a> {
        let mut tables = Tables::default();
        let objects = ruleset.get("nftables").and_then(Value::as_array).into_iter().flatten();
        for (kind, object) in objects.filter_map(Value::as_object).flatten() {
            let text = |field| object.get(field).and_then(Value::as_str).unwrap_or_default();
            let list =
                |field| object.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let id = |name| (text("family"), text("table"), text(name));
            if text("table") == NAME && Family::ALL.iter().any(|family| family.word() == text("family")) {
                continue;
            }
            match kind.as_str() {
                "chain" if object.get("hook").is_some() => tables.base_chains.push(BaseChain {
                    id: id("name"),
                    hook: text("hook"),
                    kind: text("type"),
                    priority: object.get("prio").and_then(Value::as_i64).unwrap_or_default(),
                    drops: text("policy") == "drop",
                }),
                "rule" => {
                    let handle = object.get("handle").and_then(Value::as_u64).unwrap_or_default();
                    tables
                        .rules
                        .entry(id("chain"))
                        .or_default()
                        .push(Rule { handle, statements: list("expr") });
                }
                "set" | "map" => _ = tables.sets.insert(id("name"), list("elem")),
                _ => {}
            }
        }
        tables
    }

    /// The base chains that see the packet. NAT chains see no untracked packet.
    pub fn base_chains(&self, packet: &Packet<'_>) -> impl Iterator<Item = &BaseChain<'a>> {
        let Packet { direction, .. } = *packet;
        let family = packet.family().word();
        self.base_chains.iter().filter(move |chain| {
            (chain.id.0 == family || chain.id.0 == "inet")
                && chain.hook == direction.hook()
                && chain.kind != "nat"
                && (direction != Direction::Request || chain.priority < IPVS_INPUT)
        })
    }

    /// The chains of this hook that see packets of this family.
    pub fn hooked(&self, family: Family, hook: &str) -> impl Iterator<Item = &BaseChain<'a>> {
        let sees = move |chain: &&BaseChain<'a>| chain.id.0 == family.word() || chain.id.0 == "inet";
        self.base_chains.iter().filter(sees).filter(move |chain| chain.hook == hook)
    }

    /// The rules of a chain, none if there is no such chain.
    pub fn rules(&self, chain: Id<'a>) -> &[Rule<'a>] {
        self.rules.get(&chain).map(Vec::as_slice).unwrap_or_default()
    }

    /// The elements of a set or map.
    pub fn elements(&self, set: Id<'a>) -> Option<&'a [Value]> {
        self.sets.get(&set).copied()
    }
}
