//! The few statements of which our rules are made, from the types of the `nftables` crate.

use std::borrow::Cow;
use std::net::IpAddr;

use nftables::expr::{
    Expression, Fib, FibFlag, FibResult, Meta, MetaKey, NamedExpression, Payload, PayloadBase, PayloadField,
    PayloadRaw, SetItem,
};
use nftables::stmt::{JumpTarget, Mangle, Match, Operator, Statement, VerdictMap};
use serde_json::{Value, json};

use super::table::{Body, Family};

/// A rule of these statements. The crate writes `notrack` as a string, which nft refuses: it is put right here.
pub fn body(statements: Vec<Statement<'static>>) -> Body {
    let value = |statement: &Statement| match statement {
        Statement::Notrack => json!({"notrack": null}),
        other => serde_json::to_value(other).expect("a statement has no map with keys that are not text"),
    };
    Body::new(statements.iter().map(value).collect())
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

/// `icmp FIELD` or `icmpv6 FIELD`.
pub fn icmp(family: Family, field: &'static str) -> Expression<'static> {
    payload(if family == Family::Ip { "icmp" } else { "icmpv6" }, field)
}

/// `@th,OFFSET,LENGTH`, in bits.
pub fn transport(offset: u32, len: u32) -> Expression<'static> {
    let raw = PayloadRaw { base: PayloadBase::TH, offset, len };
    Expression::Named(NamedExpression::Payload(Payload::PayloadRaw(raw)))
}

/// `goto CHAIN`.
pub fn goto(chain: &str) -> Statement<'static> {
    Statement::Goto(JumpTarget { target: Cow::Owned(chain.to_owned()) })
}

/// `update @SET { KEY limit rate 10/second burst 5 packets }`: passes so many packets of each key. The crate's type has no
/// place for the limit.
pub fn limited(key: Expression<'static>, set: &str) -> Value {
    let key = serde_json::to_value(key).expect("an expression has no map with keys that are not text");
    json!({"set": {"op": "update", "elem": key, "set": format!("@{set}"), "stmt": limit()}})
}

fn limit() -> Value {
    json!([{"limit": {"rate": 10, "burst": 5, "per": "second"}}])
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

impl From<String> for Literal {
    fn from(text: String) -> Literal {
        Literal(Expression::String(Cow::Owned(text)))
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

/// The rule as `nft -j` prints it, but without what does not say what the rule does: counters, other spellings of
/// one address, names of ICMP types, and what versions of nft print differently.
pub fn canonical(listed: &[Value]) -> Body {
    let statements = listed.iter().filter(|statement| statement.get("counter").is_none());
    Body::new(statements.map(|statement| same_for_all_versions(canonical_value(statement))).collect())
}

fn same_for_all_versions(mut statement: Value) -> Value {
    let icmp = statement.pointer("/match/left/payload/protocol").and_then(Value::as_str);
    let number = match (icmp, statement.pointer("/match/right").and_then(Value::as_str)) {
        // nft 1.1 prints the code as a number, those before it by name; all print the type by name.
        (Some("icmp"), Some("destination-unreachable" | "port-unreachable")) => Some(3),
        (Some("icmpv6"), Some("destination-unreachable")) => Some(1),
        (Some("icmpv6"), Some("port-unreachable")) => Some(4),
        _ => None,
    };
    if let (Some(number), Some(right)) = (number, statement.pointer_mut("/match/right")) {
        *right = number.into();
    }
    // nft 0.9 neither sets nor prints the limit of the one statement of this kind that we have.
    if let Some(update) = statement.get_mut("set").and_then(Value::as_object_mut) {
        update.entry("stmt").or_insert_with(limit);
    }
    statement
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_versions_of_nft_print_differently_is_the_same() {
        let code = |right: Value| {
            let left = json!({"payload": {"protocol": "icmpv6", "field": "code"}});
            json!({"match": {"op": "==", "left": left, "right": right}})
        };
        assert_eq!(
            canonical(&[code("port-unreachable".into())]),
            body(vec![equal(icmp(Family::Ip6, "code"), 4)])
        );
        assert_eq!(canonical(&[code(4.into())]), canonical(&[code("port-unreachable".into())]));
        assert_ne!(canonical(&[code(3.into())]), canonical(&[code("port-unreachable".into())]));

        let update = limited(ip(Family::Ip, "saddr"), "refused");
        let mut old = update.clone();
        old["set"].as_object_mut().unwrap().remove("stmt");
        let mut faster = update.clone();
        faster["set"]["stmt"][0]["limit"]["rate"] = 11.into();
        let [old, faster, wanted] = [[old], [faster], [update]].map(|listed| canonical(&listed));
        assert_eq!(old, wanted);
        assert_ne!(faster, wanted);
    }
}
