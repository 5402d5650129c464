//! What is in the kernel of our tables, read from `nft -j -p list table`. Anyone may have written into them: whatever
//! cannot be read is kept as foreign, so that an edit can take it out, and nothing is an error.
//!
//! Object by object and element by element: as JSON values a table of 10 000 servers would take 40 MB.
//!
//! A table with the flag `dormant` is there, and the kernel passes it by. nft 1.0.6 prints a wrong name for the flag, and
//! sometimes no JSON at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::edit::edit;
use super::refusals::read_chain;
use super::ruleset;
use super::statement::canonical;
use super::table::{Base, Body, DYNAMIC_SIZE, DYNAMIC_TIMEOUT, Elements, Family, Key, Set, Shape};
use crate::core::model::Rules;

/// What is in the kernel of the tables `ip ipvsd` and `ip6 ipvsd`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The tables that exist.
    pub(super) tables: BTreeMap<Family, Found>,
}

/// A table that exists.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    pub flags: Flags,
    pub sets: BTreeMap<String, FoundSet>,
    pub chains: BTreeMap<String, FoundChain>,
    /// Kind and name of counters, flowtables and whatever else we never make.
    pub others: Vec<(String, String)>,
}

/// The flags of a table. Ours have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flags {
    #[default]
    None,
    Some,
    /// Its listing was not JSON, as it may be of a table with flags; nothing else is known of it.
    Unreadable,
}

/// A set or map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundSet {
    /// `set` or `map`.
    pub word: &'static str,
    /// None if it is of no shape that we use.
    pub set: Option<Set>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundChain {
    pub place: Place,
    /// Handle and statements of each rule in order.
    pub rules: Vec<(u64, Body)>,
}

/// Where a chain hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is reached from other chains.
    Regular,
    /// It is a base chain.
    Base { base: Base, accepts: bool },
    /// It is a base chain that we cannot have made.
    Foreign,
}

/// Its objects are read one at a time.
#[derive(Deserialize)]
struct Printed<'a> {
    #[serde(borrow, default)]
    nftables: Vec<&'a RawValue>,
}

/// The members of an object.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

impl Listing {
    /// Adds what `nft -j -p list table FAMILY ipvsd` printed.
    ///
    /// # Errors
    /// It is not JSON. The objects in it may be anything.
    pub(super) fn read(&mut self, family: Family, printed: &[u8]) -> Result<(), serde_json::Error> {
        let printed: Printed<'_> = serde_json::from_slice(printed)?;
        let mut found = Found::default();
        let objects = printed.nftables.iter().filter_map(|object| read::<Fields<'_>>(object));
        for (kind, object) in objects.flatten() {
            let Some(mut object) = read::<Fields<'_>>(object) else { continue };
            let elements = object.remove("elem");
            let object: Value =
                object.into_iter().filter_map(|(name, field)| Some((name, read::<Value>(field)?))).collect();
            let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            match kind.as_str() {
                "table" if object.get("flags").is_some() => found.flags = Flags::Some,
                "metainfo" | "table" => {}
                "set" | "map" => {
                    let word = if kind == "set" { "set" } else { "map" };
                    let set = read_set(family, &object, elements);
                    found.sets.insert(text("name"), FoundSet { word, set });
                }
                "chain" => found.chain(text("name")).place = read_place(&object),
                "rule" => {
                    let handle = object.get("handle").and_then(Value::as_u64).unwrap_or_default();
                    let statements = object.get("expr").and_then(Value::as_array).map(Vec::as_slice);
                    found
                        .chain(text("chain"))
                        .rules
                        .push((handle, canonical(statements.unwrap_or_default())));
                }
                _ => found.others.push((kind.clone(), text("name"))),
            }
        }
        self.tables.insert(family, found);
        Ok(())
    }

    /// Adds that this table is there, and its listing not JSON.
    pub(super) fn unreadable(&mut self, family: Family) {
        self.tables.insert(family, Found { flags: Flags::Unreadable, ..Found::default() });
    }

    /// Whether a table has flags.
    pub(super) fn has_flags(&self) -> bool {
        self.tables.values().any(|table| table.flags != Flags::None)
    }

    /// Whether the tables say this, and nothing else.
    pub fn holds(&self, rules: &Rules) -> bool {
        edit(rules, self).is_none()
    }

    /// What the tables say, so far as it can be read; only with no [`damage`](Listing::damage) do they say it wholly.
    pub fn rules(&self) -> Rules {
        let mut rules = Rules::default();
        for (name, found) in self.tables.values().flat_map(|table| &table.sets) {
            if let Some(set) = &found.set {
                ruleset::read_set(name, set, &mut rules);
            }
        }
        for name in self.tables.values().flat_map(|table| table.chains.keys()) {
            read_chain(name, &mut rules);
        }
        rules
    }

    /// What would have to be changed for the tables to hold all that belongs to `rules`, which they [say](Listing::rules), and
    /// nothing else, one change an entry; empty if they are intact.
    pub fn damage(&self, rules: &Rules) -> Vec<String> {
        edit(rules, self).map(|document| document.changes().to_vec()).unwrap_or_default()
    }
}

impl Found {
    fn chain(&mut self, name: String) -> &mut FoundChain {
        self.chains.entry(name).or_insert(FoundChain { place: Place::Regular, rules: Vec::new() })
    }
}

/// None if it is something else.
fn read<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Option<T> {
    serde_json::from_str(text.get()).ok()
}

fn read_place(chain: &Value) -> Place {
    fn field<T: DeserializeOwned>(chain: &Value, name: &str) -> Option<T> {
        serde_json::from_value(chain.get(name)?.clone()).ok()
    }
    if chain.get("hook").is_none() {
        return Place::Regular;
    }
    match (field(chain, "type"), field(chain, "hook"), field(chain, "prio")) {
        (Some(kind), Some(hook), Some(priority)) if chain.get("dev").is_none() => Place::Base {
            base: Base { kind, hook, priority },
            accepts: chain.get("policy").and_then(Value::as_str) == Some("accept"),
        },
        _ => Place::Foreign,
    }
}

/// None if the set is of no shape that we use, or holds what we cannot read.
fn read_set(family: Family, set: &Value, elements: Option<&RawValue>) -> Option<Set> {
    let address = match family {
        Family::Ip => "ipv4_addr",
        Family::Ip6 => "ipv6_addr",
    };
    let kind = set.get("type")?;
    if is_dynamic(set) && kind == address && set.get("map").is_none() {
        return Some(Set { shape: Shape::Dynamic, elements: Elements::default() });
    }
    // Intervals, time-outs and bounds change what an element means or whether it can be added.
    if ["flags", "timeout", "gc-interval", "size"].iter().any(|field| set.get(field).is_some()) {
        return None;
    }
    let shape = match (kind.as_array().map(Vec::as_slice), set.get("map").map(Value::as_str)) {
        (None, None) if kind == address => Shape::Addresses,
        (Some([first, second]), None) if first == address && second == "inet_service" => Shape::Sockets,
        (Some([first, second]), Some(Some("verdict"))) if first == address && second == "inet_service" => {
            Shape::Verdicts
        }
        _ => return None,
    };
    let listed: Vec<&RawValue> = elements.map_or(Some(Vec::new()), read)?;
    let mut chains = BTreeSet::new();
    let elements =
        listed.into_iter().map(|element| read_element(family, shape, &read(element)?, &mut chains));
    Some(Set { shape, elements: elements.collect::<Option<_>>()? })
}

fn is_dynamic(set: &Value) -> bool {
    let flags = set.get("flags").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    flags.iter().any(|flag| flag == "timeout")
        && flags.iter().all(|flag| flag == "timeout" || flag == "dynamic")
        && set.get("timeout").and_then(Value::as_u64) == Some(DYNAMIC_TIMEOUT.into())
        && set.get("size").and_then(Value::as_u64) == Some(DYNAMIC_SIZE.into())
        && set.get("gc-interval").is_none()
}

/// There are few `chains` for many elements: each name is there once.
fn read_element(
    family: Family,
    shape: Shape,
    element: &Value,
    chains: &mut BTreeSet<Arc<str>>,
) -> Option<(Key, Option<Arc<str>>)> {
    let (key, verdict) = match (shape, element.as_array().map(Vec::as_slice)) {
        (Shape::Verdicts, Some([key, verdict])) => (key, verdict.pointer("/goto/target")),
        (Shape::Verdicts, _) => return None,
        _ => (element, None),
    };
    // With a counter or a comment the key is wrapped.
    let key = key.pointer("/elem/val").unwrap_or(key);
    let (address, port) = match (shape, key.pointer("/concat").and_then(Value::as_array).map(Vec::as_slice)) {
        (Shape::Addresses, None) => (key, None),
        (Shape::Sockets | Shape::Verdicts, Some([address, port])) => {
            (address, Some(u16::try_from(port.as_u64()?).ok()?))
        }
        _ => return None,
    };
    let key = Key { address: address.as_str()?.parse().ok()?, port };
    let chain = verdict.and_then(Value::as_str).map(|name| match chains.get(name) {
        Some(chain) => Arc::clone(chain),
        None => {
            let chain = Arc::from(name);
            chains.insert(Arc::clone(&chain));
            chain
        }
    });
    (Family::of(key.address) == family).then_some((key, chain))
}
