//! The few statements of which our rules are made, from the types of the `nftables` crate.

use std::borrow::Cow;
use std::net::IpAddr;

use nftables::expr::{
    Expression, Fib, FibFlag, FibResult, Meta, MetaKey, NamedExpression, Payload, PayloadField, SetItem,
};
use nftables::stmt::{Mangle, Match, Operator, Statement, VerdictMap};
use serde_json::{Value, json};

use super::table::{Body, Family};

/// A rule of these statements. The crate writes `notrack` as a string, which nft refuses: it is put right here.
pub fn body(statements: Vec<Statement<'static>>) -> Body {
    let value = |statement: &Statement| match statement {
        Statement::Notrack => json!({"notrack": null}),
        other => serde_json::to_value(other).expect("a statement has no map with keys that are not text"),
    };
    statements.iter().map(value).collect()
}

/// `left == right`; `right` is `@name` for membership in a named set.
pub fn equal(left: Expression<'static>, right: impl Into<Literal>) -> Statement<'static> {
    compare(left, Operator::EQ, right)
}

/// `left != right`.
pub fn differs(left: Expression<'static>, right: impl Into<Literal>) -> Statement<'static> {
    compare(left, Operator::NEQ, right)
}

fn compare(left: Expression<'static>, op: Operator, right: impl Into<Literal>) -> Statement<'static> {
    Statement::Match(Match { left, op, right: right.into().0 })
}

/// `field set value`.
pub fn set(field: Expression<'static>, value: impl Into<Literal>) -> Statement<'static> {
    Statement::Mangle(Mangle { key: field, value: value.into().0 })
}

/// `key vmap @name`.
pub fn vmap(key: Expression<'static>, map: &'static str) -> Statement<'static> {
    Statement::VerdictMap(VerdictMap { key, data: Literal::from(map).0 })
}

/// `ip FIELD` or `ip6 FIELD`.
pub fn ip(family: Family, field: &'static str) -> Expression<'static> {
    payload(family.word(), field)
}

/// `udp FIELD`; in a `match` nft adds `meta l4proto udp` before it and leaves it out of the listing.
pub fn udp(field: &'static str) -> Expression<'static> {
    payload("udp", field)
}

/// `first . second`.
pub fn concat(first: Expression<'static>, second: Expression<'static>) -> Expression<'static> {
    Expression::Named(NamedExpression::Concat(vec![first, second]))
}

/// `meta KEY`.
pub fn meta(key: MetaKey) -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

/// `fib daddr type`.
pub fn destination_type() -> Expression<'static> {
    let flags = [FibFlag::Daddr].into();
    Expression::Named(NamedExpression::Fib(Fib { result: FibResult::Type, flags }))
}

fn payload(protocol: &'static str, field: &'static str) -> Expression<'static> {
    let field = PayloadField { protocol: Cow::Borrowed(protocol), field: Cow::Borrowed(field) };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

/// A value that a rule compares with or sets.
pub struct Literal(pub Expression<'static>);

impl From<&'static str> for Literal {
    fn from(text: &'static str) -> Literal {
        Literal(Expression::String(Cow::Borrowed(text)))
    }
}

impl From<u16> for Literal {
    fn from(number: u16) -> Literal {
        Literal(Expression::Number(number.into()))
    }
}

impl From<IpAddr> for Literal {
    fn from(address: IpAddr) -> Literal {
        Literal(Expression::String(Cow::Owned(address.to_string())))
    }
}

impl<const N: usize> From<[u16; N]> for Literal {
    fn from(numbers: [u16; N]) -> Literal {
        let items = numbers.map(|number| SetItem::Element(Expression::Number(number.into())));
        Literal(Expression::Named(NamedExpression::Set(items.into())))
    }
}

/// The rule as `nft -j` prints it, but without what does not say what the rule does: counters, and other spellings of
/// one address.
pub fn canonical(listed: &[Value]) -> Body {
    listed.iter().filter(|statement| statement.get("counter").is_none()).map(canonical_value).collect()
}

fn canonical_value(value: &Value) -> Value {
    match value {
        Value::String(text) => match text.parse::<IpAddr>() {
            Ok(address) => Value::String(address.to_string()),
            Err(_) => value.clone(),
        },
        Value::Array(items) => items.iter().map(canonical_value).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), canonical_value(value))).collect()
        }
        other => other.clone(),
    }
}
