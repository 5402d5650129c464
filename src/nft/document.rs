//! A transaction for `nft -j -f -`: commands on the objects of our tables, and what they change in words.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use nftables::expr::{Expression, NamedExpression, Verdict};
use nftables::schema::{Chain, FlushObject, NfCmd, NfListObject, Set, SetFlag, SetType, SetTypeValue, Table};
use nftables::stmt::JumpTarget;
use nftables::types::NfChainPolicy;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::table::{Base, Body, DYNAMIC_SIZE, DYNAMIC_TIMEOUT, Family, Key, NAME, Shape};
use crate::apart;

/// One nftables transaction, written as `nft -j -f -` reads it, command by command: as values the commands for ten thousand
/// servers would take several times as much.
#[derive(Debug, Default)]
pub struct Document {
    /// JSON objects with commas between them.
    commands: Vec<u8>,
    changes: Vec<String>,
    /// Something is left for a transaction of its own, when this one is done.
    pub(super) more: bool,
}

/// Elements of one set. There may be tens of thousands: what the crate's types make of one is there only while that is written.
#[derive(Serialize)]
struct Elements<'a, I: Iterator<Item = Element<'a>> + Clone> {
    family: &'static str,
    table: &'static str,
    name: &'a str,
    #[serde(serialize_with = "one_by_one")]
    elem: I,
}

/// An element of a set, or of a map, with the chain to which its verdict goes.
pub(super) type Element<'a> = (Key, Option<&'a Arc<str>>);

fn one_by_one<'a, S: Serializer, I>(elements: &I, to: S) -> Result<S::Ok, S::Error>
where
    I: Iterator<Item = Element<'a>> + Clone,
{
    to.collect_seq(elements.clone().map(|(key, chain)| match chain {
        None => expression(key),
        Some(chain) => {
            let verdict = Verdict::Goto(JumpTarget { target: Cow::Borrowed(chain) });
            Expression::List(vec![expression(key), Expression::Verdict(verdict)])
        }
    }))
}

const TABLE: Cow<str> = Cow::Borrowed(NAME);

impl Document {
    /// The changes in words, one a command: `ip ipvsd: add 2 elements to replies`.
    pub fn changes(&self) -> &[String] {
        &self.changes
    }

    /// What `nft -j -f -` reads.
    pub(super) fn into_text(self) -> Vec<u8> {
        let mut text = self.commands;
        text.extend(b"]}");
        text
    }

    /// Whether there is no command.
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Begins commands on the table of `family`.
    pub(super) fn on(&mut self, family: Family) -> Commands<'_> {
        Commands { document: self, family }
    }
}

/// Appends commands on one table to a document.
pub(super) struct Commands<'a> {
    document: &'a mut Document,
    family: Family,
}

impl Commands<'_> {
    /// Sets [`Document::more`].
    pub fn leave_for_later(&mut self) {
        self.document.more = true;
    }

    fn push(&mut self, command: &impl Serialize, change: String) {
        let commands = &mut self.document.commands;
        match commands.is_empty() {
            true => {
                *commands = apart::list();
                commands.extend(br#"{"nftables":["#);
            }
            false => commands.push(b','),
        }
        serde_json::to_writer(commands, command).expect("a command has no map with keys that are not text");
        self.document.changes.push(format!("{} {NAME}: {change}", self.family));
    }

    fn table(&self) -> NfListObject<'static> {
        NfListObject::Table(Table { family: self.family.nft(), name: TABLE, handle: None })
    }

    fn chain(&self, name: &str) -> Chain<'static> {
        Chain { family: self.family.nft(), table: TABLE, name: name.to_owned().into(), ..Chain::default() }
    }

    /// The members of a raw object that say where it is.
    fn place(&self, rest: Value) -> Value {
        let mut object = json!({"family": self.family.word(), "table": NAME});
        if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
            object.extend(rest);
        }
        object
    }

    pub fn add_table(&mut self) {
        self.push(&NfCmd::Add(self.table()), "add the table".into());
    }

    /// A table that exists and is added without flags has none from then on: a dormant one works again.
    pub fn clear_flags(&mut self) {
        self.push(&NfCmd::Add(self.table()), "clear the flags of the table".into());
    }

    pub fn delete_table(&mut self) {
        self.push(&NfCmd::Delete(self.table()), "delete the table".into());
    }

    /// `base` is none for a regular chain. A base chain that exists gets the policy accept.
    pub fn add_chain(&mut self, name: &str, base: Option<Base>) {
        let mut chain = self.chain(name);
        if let Some(Base { kind, hook, priority }) = base {
            chain = Chain {
                _type: Some(kind),
                hook: Some(hook),
                prio: Some(priority),
                policy: Some(NfChainPolicy::Accept),
                ..chain
            };
        }
        self.push(&NfCmd::Add(NfListObject::Chain(chain)), format!("add chain {name}"));
    }

    /// Takes all rules out of a chain.
    pub fn flush_chain(&mut self, name: &str) {
        let chain = FlushObject::Chain(self.chain(name));
        self.push(&NfCmd::Flush(chain), format!("flush chain {name}"));
    }

    /// No rule and no element may point to it.
    pub fn delete_chain(&mut self, name: &str) {
        let chain = NfListObject::Chain(self.chain(name));
        self.push(&NfCmd::Delete(chain), format!("delete chain {name}"));
    }

    /// Puts a rule before the one with the handle `before`, or at the end of its chain.
    pub fn add_rule(&mut self, chain: &str, before: Option<u64>, body: &Body) {
        let (verb, handle) = match before {
            Some(handle) => ("insert", json!({"handle": handle})),
            None => ("add", json!({})),
        };
        let mut rule = self.place(json!({"chain": chain, "expr": body.statements()}));
        if let (Some(rule), Value::Object(handle)) = (rule.as_object_mut(), handle) {
            rule.extend(handle);
        }
        self.push(&json!({verb: {"rule": rule}}), format!("add a rule to chain {chain}"));
    }

    pub fn delete_rule(&mut self, chain: &str, handle: u64) {
        let rule = self.place(json!({"chain": chain, "handle": handle}));
        self.push(&json!({"delete": {"rule": rule}}), format!("delete a rule of chain {chain}"));
    }

    pub fn add_set(&mut self, name: &str, shape: Shape) {
        let address = match self.family {
            Family::Ip => SetType::Ipv4Addr,
            Family::Ip6 => SetType::Ipv6Addr,
        };
        let set_type = match shape {
            Shape::Addresses | Shape::Dynamic => SetTypeValue::Single(address),
            Shape::Sockets | Shape::Verdicts => {
                SetTypeValue::Concatenated(vec![address, SetType::InetService].into())
            }
        };
        let change = format!("add {} {name}", shape.word());
        if shape == Shape::Verdicts {
            // Each element counts what goes its way. nft before 0.9.9 does not read the statement; then nothing is counted.
            let counted = json!([{"counter": null}]);
            let map = json!({"name": name, "type": set_type, "map": "verdict", "stmt": counted});
            let map = self.place(map);
            return self.push(&json!({"add": {"map": map}}), change);
        }
        let (family, name) = (self.family.nft(), name.to_owned().into());
        let mut set = Set { family, table: TABLE, name, set_type, ..Set::default() };
        if shape == Shape::Dynamic {
            // The flag `dynamic` is one that nft before 1.1 does not read here; it sets it for the rules that use the set.
            set.flags = Some([SetFlag::Timeout].into());
            (set.size, set.timeout) = (Some(DYNAMIC_SIZE), Some(DYNAMIC_TIMEOUT));
        }
        self.push(&NfCmd::Add(NfListObject::Set(Box::new(set))), change);
    }

    /// No rule may use it. `kind` is nft's word for the object: `set`, `map`, `counter`, …
    pub fn delete_object(&mut self, kind: &str, name: &str) {
        let object = self.place(json!({"name": name}));
        self.push(&json!({"delete": {kind: object}}), format!("delete {kind} {name}"));
    }

    /// Nothing if there are none. The chains that a map's elements go to must be there.
    pub fn add_elements<'a>(&mut self, set: &'a str, elements: impl Iterator<Item = Element<'a>> + Clone) {
        self.elements("add", "to", set, elements);
    }

    /// Nothing if there are none.
    pub fn delete_elements(&mut self, set: &str, keys: impl Iterator<Item = Key> + Clone) {
        self.elements("delete", "from", set, keys.map(|key| (key, None)));
    }

    fn elements<'a>(
        &mut self,
        verb: &str,
        preposition: &str,
        set: &'a str,
        elem: impl Iterator<Item = Element<'a>> + Clone,
    ) {
        let number = elem.clone().count();
        if number > 0 {
            let object = Elements { family: self.family.word(), table: NAME, name: set, elem };
            let command = BTreeMap::from([(verb, BTreeMap::from([("element", object)]))]);
            self.push(&command, format!("{verb} {} {preposition} {set}", count(number)));
        }
    }
}

fn expression(key: Key) -> Expression<'static> {
    let address = Expression::String(key.address.to_string().into());
    match key.port {
        None => address,
        Some(port) => {
            Expression::Named(NamedExpression::Concat(vec![address, Expression::Number(port.into())]))
        }
    }
}

fn count(elements: usize) -> String {
    if elements == 1 { "1 element".into() } else { format!("{elements} elements") }
}
