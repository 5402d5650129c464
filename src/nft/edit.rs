//! The difference between the tables as they should be and as they are, as one transaction.
//!
//! A table is never replaced while it is in use: that lets replies with the servers' own addresses through even inside
//! one transaction. Only what differs is touched, in an order in which nft takes it: rules before the sets they use go,
//! elements before the chains they go to; chains before the rules and elements that go to them come.
//!
//! A map that a rule no longer uses goes one transaction later than the rule: the kernel lets packets that are on their way
//! through the old rules look things up as they are after the transaction, and they would find nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::document::{Commands, Document, Element};
use super::listing::{Flags, Found, FoundChain, Listing, Place};
use super::ruleset;
use super::table::{Body, Chain, Family, Key, Set, Shape, Table};
use crate::core::model::Rules;

/// The transaction that makes the tables hold `wanted` and nothing else; none if they do. Two things take one more: of a table
/// with flags it only clears these, since nothing else goes into that transaction; and the maps that it has left behind
/// (`Document::more`).
pub fn edit(wanted: &Rules, found: &Listing) -> Option<Document> {
    let mut document = Document::default();
    for family in Family::ALL {
        let mut commands = document.on(family);
        match (ruleset::table(wanted, family), found.tables.get(&family)) {
            (None, None) => {}
            (_, Some(Found { flags: Flags::Unreadable, .. }))
            | (Some(_), Some(Found { flags: Flags::Some, .. })) => commands.clear_flags(),
            (None, Some(_)) => commands.delete_table(),
            (Some(wanted), None) => {
                commands.add_table();
                edit_table(&wanted, &Found::default(), &mut commands);
            }
            (Some(wanted), Some(found)) => edit_table(&wanted, found, &mut commands),
        }
    }
    (!document.is_empty()).then_some(document)
}

fn edit_table(wanted: &Table, found: &Found, commands: &mut Commands<'_>) {
    let kept_chain = |name: &str| {
        let (wanted, found) = (wanted.chains.get(name)?, found.chains.get(name)?);
        stays(wanted, found).then_some((wanted, found))
    };
    let kept_set = |name: &str| {
        let (wanted, found) = (wanted.sets.get(name)?, found.sets.get(name)?.set.as_ref()?);
        (wanted.shape == found.shape).then_some((wanted, found))
    };
    // A set of another shape can only be deleted and added, and with it the rules that use it.
    let gone: Vec<String> =
        found.sets.keys().filter(|name| kept_set(name).is_none()).map(|name| format!("@{name}")).collect();

    let surplus: Vec<&(u64, Body)> = found
        .chains
        .keys()
        .filter_map(|name| kept_chain(name))
        .flat_map(|(wanted, found)| differing(&wanted.rules, &found.rules, &gone).1)
        .collect();
    let left = |name: &str| {
        let at = [format!("@{name}")];
        !wanted.sets.contains_key(name) && surplus.iter().any(|(_, body)| mentions(&body.statements(), &at))
    };
    let maps = found.sets.iter().filter_map(|(name, found)| Some((name, found.set.as_ref()?)));
    let left: BTreeMap<&String, &Set> =
        maps.filter(|(name, map)| map.shape == Shape::Verdicts && left(name)).collect();
    let goes_there = |name: &str| {
        let mut elements = left.values().flat_map(|map| map.elements.chains());
        elements.any(|chain| chain.as_deref() == Some(name))
    };
    if !left.is_empty() {
        commands.leave_for_later();
    }

    for (name, chain) in &found.chains {
        match kept_chain(name) {
            Some((wanted, found)) => {
                let (_, surplus, _) = differing(&wanted.rules, &found.rules, &gone);
                surplus.iter().for_each(|(handle, _)| commands.delete_rule(name, *handle));
            }
            None if chain.rules.is_empty() || goes_there(name) => {}
            None => commands.flush_chain(name),
        }
    }
    for (name, found) in &found.sets {
        match kept_set(name) {
            Some((wanted, found)) => {
                commands.delete_elements(name, missing(found, wanted).map(|(key, _)| key));
            }
            None if left.contains_key(name) => {}
            None => commands.delete_object(found.word, name),
        }
    }
    for name in found.chains.keys().filter(|name| kept_chain(name).is_none() && !goes_there(name)) {
        commands.delete_chain(name);
    }
    for (kind, name) in &found.others {
        commands.delete_object(kind, name);
    }

    for (name, set) in wanted.sets.iter().filter(|(name, _)| kept_set(name).is_none()) {
        commands.add_set(name, set.shape);
    }
    for (name, chain) in &wanted.chains {
        let found = kept_chain(name).map(|(_, found)| found);
        if found.is_none_or(|found| matches!(found.place, Place::Base { accepts: false, .. })) {
            commands.add_chain(name, chain.base);
        }
    }
    for (name, chain) in &wanted.chains {
        let found = kept_chain(name).map(|(_, found)| found);
        let (missing, _, next) = differing(&chain.rules, found.map_or(&[], |found| &found.rules), &gone);
        missing.iter().for_each(|body| commands.add_rule(name, next, body));
    }
    for (name, wanted) in &wanted.sets {
        match kept_set(name) {
            Some((wanted, found)) => commands.add_elements(name, missing(wanted, found)),
            None => commands.add_elements(name, wanted.elements.iter().map(borrowed)),
        }
    }
}

/// Whether a chain hangs where it should. If not it can only be deleted and added.
fn stays(wanted: &Chain, found: &FoundChain) -> bool {
    match found.place {
        Place::Regular => wanted.base.is_none(),
        Place::Base { base, .. } => wanted.base == Some(base),
        Place::Foreign => false,
    }
}

/// The elements of `one` that are not so in `other`.
fn missing<'a>(one: &'a Set, other: &'a Set) -> impl Iterator<Item = Element<'a>> + Clone {
    one.elements.iter().filter(|(key, chain)| other.elements.get(key) != Some(chain)).map(borrowed)
}

fn borrowed((key, chain): &(Key, Option<Arc<str>>)) -> Element<'_> {
    (*key, chain.as_ref())
}

/// What is left of a chain without the rules that are right at its beginning and its end: the rules to add, those to
/// delete, and the handle of the rule before which to add. A rule is not right if it uses one of the sets `gone`.
fn differing<'a>(
    wanted: &'a [Body],
    found: &'a [(u64, Body)],
    gone: &[String],
) -> (&'a [Body], &'a [(u64, Body)], Option<u64>) {
    let right = |(wanted, (_, found)): &(&Body, &(u64, Body))| {
        wanted == &found && (gone.is_empty() || !mentions(&found.statements(), gone))
    };
    let head = wanted.iter().zip(found).take_while(right).count();
    let (wanted, found) = (&wanted[head..], &found[head..]);
    let tail = wanted.iter().rev().zip(found.iter().rev()).take_while(right).count();
    let (found, after) = found.split_at(found.len() - tail);
    (&wanted[..wanted.len() - tail], found, after.first().map(|(handle, _)| *handle))
}

fn mentions(value: &Value, names: &[String]) -> bool {
    match value {
        Value::String(text) => names.contains(text),
        Value::Array(items) => items.iter().any(|item| mentions(item, names)),
        Value::Object(fields) => fields.values().any(|item| mentions(item, names)),
        _ => false,
    }
}
