//! Edits against a model of the kernel that refuses what the real one refuses, from any rules and any damage.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::document::Document;
use super::edit::edit;
use super::kernel_tests::every_shape;
use super::listing::Listing;
use super::ruleset::tests::rules;
use super::table::{Family, NAME};
use crate::core::model::Rules;

/// One table of the model.
#[derive(Clone, Debug, Default)]
struct Table {
    /// Kind and declaration by name, and the elements.
    sets: BTreeMap<String, (String, Value, Vec<Value>)>,
    chains: BTreeMap<String, Value>,
    /// Chain, handle and statements, in order.
    rules: Vec<(String, u64, Value)>,
    others: Vec<String>,
    handle: u64,
}

#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<String, Table>);

/// What a statement or element uses: `@set`, or the chain of a verdict.
fn uses(value: &Value, set: Option<&str>, chain: Option<&str>) -> bool {
    match value {
        Value::String(text) => set.is_some_and(|set| text.strip_prefix('@') == Some(set)),
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            (key == "target" && chain.is_some() && value.as_str() == chain) || uses(value, set, chain)
        }),
        Value::Array(items) => items.iter().any(|item| uses(item, set, chain)),
        _ => false,
    }
}

fn key(element: &Value) -> &Value {
    element.get(0).unwrap_or(element)
}

impl Table {
    fn in_use(&self, set: Option<&str>, chain: Option<&str>) -> bool {
        self.rules.iter().any(|(_, _, expr)| uses(expr, set, chain))
            || self
                .sets
                .values()
                .any(|(_, _, elements)| elements.iter().any(|element| uses(element, set, chain)))
    }

    /// All that `expr` uses must be there.
    fn resolves(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => text.strip_prefix('@').is_none_or(|name| self.sets.contains_key(name)),
            Value::Object(fields) => fields.iter().all(|(key, value)| match value.as_str() {
                Some(target) if key == "target" => self.chains.contains_key(target),
                _ => self.resolves(value),
            }),
            Value::Array(items) => items.iter().all(|item| self.resolves(item)),
            _ => true,
        }
    }

    fn command(&mut self, verb: &str, kind: &str, object: &Value) -> bool {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let name = text("name");
        match (verb, kind) {
            ("add", "chain") => match self.chains.get_mut(&name) {
                Some(chain) => {
                    let same = ["type", "hook", "prio"].iter().all(|field| chain[*field] == object[*field]);
                    chain.clone_from(object);
                    same
                }
                None => self.chains.insert(name, object.clone()).is_none(),
            },
            ("flush", "chain") => {
                self.rules.retain(|(chain, _, _)| *chain != name);
                self.chains.contains_key(&name)
            }
            ("delete", "chain") => {
                !self.in_use(None, Some(&name))
                    && !self.rules.iter().any(|(chain, _, _)| *chain == name)
                    && self.chains.remove(&name).is_some()
            }
            ("add" | "insert", "rule") => {
                let place = match object["handle"].as_u64() {
                    Some(handle) => self.rules.iter().position(|(_, found, _)| *found == handle),
                    None => Some(self.rules.len()),
                };
                let Some(place) = place else { return false };
                self.handle += 1;
                self.rules.insert(place, (text("chain"), self.handle, object["expr"].clone()));
                self.chains.contains_key(&text("chain")) && self.resolves(&object["expr"])
            }
            ("delete", "rule") => {
                let before = self.rules.len();
                self.rules.retain(|(_, handle, _)| object["handle"].as_u64() != Some(*handle));
                self.rules.len() + 1 == before
            }
            ("add", "set" | "map") => {
                self.sets.insert(name, (kind.into(), object.clone(), Vec::new())).is_none()
            }
            ("delete", "set" | "map") => {
                !self.in_use(Some(&name), None)
                    && self.sets.remove(&name).is_some_and(|(found, _, _)| found == kind)
            }
            ("add", "element") => object["elem"].as_array().into_iter().flatten().all(|element| {
                let resolves = self.resolves(element);
                let Some((_, _, elements)) = self.sets.get_mut(&name) else { return false };
                let new = !elements.iter().any(|found| key(found) == key(element));
                elements.push(element.clone());
                resolves && new
            }),
            ("delete", "element") => object["elem"].as_array().into_iter().flatten().all(|element| {
                let Some((_, _, elements)) = self.sets.get_mut(&name) else { return false };
                let place = elements.iter().position(|found| key(found) == element);
                place.map(|place| elements.remove(place)).is_some()
            }),
            ("delete", "counter") => {
                let place = self.others.iter().position(|other| *other == name);
                place.map(|place| self.others.remove(place)).is_some()
            }
            _ => false,
        }
    }
}

fn text_of(document: Document) -> Value {
    serde_json::from_slice(&document.into_text()).unwrap()
}

impl Model {
    fn commit(&mut self, document: Document) {
        let document = text_of(document);
        for command in document["nftables"].as_array().unwrap() {
            let (verb, command_object) = command.as_object().unwrap().iter().next().unwrap();
            let (kind, object) = command_object.as_object().unwrap().iter().next().unwrap();
            let family = object["family"].as_str().unwrap().to_owned();
            let done = match (verb.as_str(), kind.as_str()) {
                ("add", "table") => self.0.insert(family, Table::default()).is_none(),
                ("delete", "table") => self.0.remove(&family).is_some(),
                (verb, kind) => {
                    assert_eq!(object["table"], NAME);
                    self.0.get_mut(&family).is_some_and(|table| table.command(verb, kind, object))
                }
            };
            assert!(done, "the kernel refuses {command} of {document} in {self:#?}");
        }
    }

    /// As nft prints it.
    fn observe(&self) -> Listing {
        let mut listing = Listing::default();
        for family in Family::ALL {
            let Some(table) = self.0.get(family.word()) else { continue };
            let sets = table.sets.values().map(|(kind, set, elements)| {
                let mut set = set.clone();
                set["elem"] = elements.clone().into();
                json!({kind: set})
            });
            let chains = table.chains.values().map(|chain| json!({"chain": chain}));
            let rules = table.rules.iter().map(
                |(chain, handle, expr)| json!({"rule": {"chain": chain, "handle": handle, "expr": expr}}),
            );
            let others = table.others.iter().map(|name| json!({"counter": {"name": name}}));
            let objects: Vec<_> = sets.chain(chains).chain(rules).chain(others).collect();
            listing.read(family, json!({"nftables": objects}).to_string().as_bytes()).unwrap();
        }
        listing
    }

    /// What someone else may do; `place` chooses where.
    fn damage(&mut self, kind: u8, place: prop::sample::Index) {
        let tables = self.0.len().max(1);
        let Some(table) = self.0.values_mut().nth(place.index(tables)) else { return };
        let rule = || place.index(table.rules.len());
        let (set, chain) = (place.index(table.sets.len().max(1)), place.index(table.chains.len().max(1)));
        match kind {
            0 if !table.rules.is_empty() => _ = table.rules.remove(rule()),
            1 if !table.rules.is_empty() => {
                let at = rule();
                let chain = table.rules[at].0.clone();
                table.handle += 1;
                table.rules.insert(at, (chain, table.handle, json!([{"accept": null}])));
            }
            2 if !table.rules.is_empty() => {
                let at = rule();
                table.rules[at].2 = json!([{"drop": null}]);
            }
            3 => table.sets.values_mut().nth(set).into_iter().for_each(|(_, _, elements)| _ = elements.pop()),
            4 => table.sets.values_mut().nth(set).into_iter().for_each(|(_, _, elements)| {
                elements
                    .iter_mut()
                    .filter_map(|element| element.get_mut(1))
                    .for_each(|verdict| *verdict = json!({"accept": null}));
            }),
            5 => table
                .sets
                .values_mut()
                .nth(set)
                .into_iter()
                .for_each(|(_, set, _)| set["flags"] = json!(["interval"])),
            6 => table
                .chains
                .values_mut()
                .nth(chain)
                .into_iter()
                .filter(|chain| chain.get("hook").is_some())
                .for_each(|chain| chain["prio"] = json!(7)),
            7 => table
                .chains
                .values_mut()
                .nth(chain)
                .into_iter()
                .filter(|chain| chain.get("hook").is_some())
                .for_each(|chain| chain["policy"] = json!("drop")),
            8 => {
                let target = table.chains.keys().nth(chain).cloned().unwrap_or_default();
                let name = format!("stray{}", table.handle);
                table.chains.insert(name.clone(), json!({"name": name}));
                table.handle += 1;
                table.rules.push((name, table.handle, json!([{"jump": {"target": target}}])));
            }
            9 => table.others.push("stray".into()),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn an_edit_leads_from_anything_to_what_is_wanted(
        before in rules(),
        damages in vec((0..10u8, any::<prop::sample::Index>()), 0..4),
        wanted in rules(),
    ) {
        let mut model = Model::default();
        edit(&before, &model.observe()).into_iter().for_each(|document| model.commit(document));
        let found = model.observe();
        prop_assert_eq!(&found.rules(), &before);
        prop_assert_eq!(found.damage(&before), Vec::<String>::new());
        damages.iter().for_each(|(kind, place)| model.damage(*kind, *place));

        edit(&wanted, &model.observe()).into_iter().for_each(|document| model.commit(document));
        let found = model.observe();
        prop_assert_eq!(&found.rules(), &wanted);
        prop_assert!(edit(&wanted, &found).is_none());
    }
}

#[test]
fn one_server_is_one_element() {
    let mut wanted = every_shape();
    let mut model = Model::default();
    model.commit(edit(&wanted, &Listing::default()).unwrap());
    wanted.replies.insert("10.0.1.15:5300".parse().unwrap(), "192.0.2.53:53".parse().unwrap());
    let document = edit(&wanted, &model.observe()).unwrap();
    assert_eq!(
        document.changes(),
        ["replies", "servers-5300", "sources"].map(|set| format!("ip ipvsd: add 1 element to {set}"))
    );
}

#[test]
fn the_first_load() {
    let document = edit(&every_shape(), &Listing::default()).unwrap();
    let document = text_of(document);
    let commands: Vec<_> = document["nftables"].as_array().unwrap().iter().map(Value::to_string).collect();
    insta::assert_snapshot!(commands.join("\n"));
    assert!(edit(&Rules::default(), &Listing::default()).is_none());
}

#[test]
fn of_a_table_with_flags_only_these_are_cleared() {
    let mut found = Listing::default();
    found.unreadable(Family::Ip);
    // As nft 1.0.6 prints it.
    let table = json!({"table": {"family": "ip6", "name": NAME, "handle": 1, "flags": NAME}});
    found.read(Family::Ip6, json!({"nftables": [table]}).to_string().as_bytes()).unwrap();
    let clear = |family: &str| format!("{family} {NAME}: clear the flags of the table");
    let changes = |wanted: &Rules| edit(wanted, &found).unwrap().changes().to_vec();
    assert_eq!(changes(&every_shape()), [clear("ip"), clear("ip6")]);
    assert_eq!(found.damage(&found.rules())[0], clear("ip"));
    assert!(found.has_flags());
}
