//! What the expressions of a rule are for a packet of ours, as far as it can be known.

use std::net::IpAddr;
use std::ops::Not;

use serde_json::Value;

use super::tables::Tables;
use super::{Direction, Packet, nfproto};
use crate::nft::table::Family;

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    No,
    Unknown,
    Yes,
}

use Truth::{No, Unknown, Yes};

impl Truth {
    fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (No, _) | (_, No) => No,
            (Yes, Yes) => Yes,
            _ => Unknown,
        }
    }

    fn or(self, other: Truth) -> Truth {
        !(!self).and(!other)
    }
}

impl Not for Truth {
    type Output = Truth;

    fn not(self) -> Truth {
        match self {
            No => Yes,
            Unknown => Unknown,
            Yes => No,
        }
    }
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Truth {
        if truth { Yes } else { No }
    }
}

/// The left side of a comparison.
pub enum Datum<'w> {
    Address(IpAddr),
    Number(u64),
    Word(&'static str),
    /// The name of an interface; if none, then some other than lo.
    Interface(Option<&'w str>),
    Concat(Vec<Datum<'w>>),
    /// The packet has no such field: the rule ends here, whatever it compares with.
    Absent,
    Unknown,
}

const UDP: u64 = 17;

/// Evaluates expressions in the rules of one table.
pub struct Matching<'a, 't> {
    pub tables: &'t Tables<'a>,
    pub packet: Packet<'t>,
    /// Family and name of the table.
    pub table: (&'a str, &'a str),
}

impl<'a, 't> Matching<'a, 't> {
    /// A `match` statement.
    pub fn holds(&self, statement: &'a Value) -> Truth {
        let (Some(left), Some(right)) = (statement.get("left"), statement.get("right")) else {
            return Unknown;
        };
        let left = self.datum(left);
        if matches!(left, Datum::Absent) {
            return No;
        }
        let order = |holds: fn(u64, u64) -> bool| match (&left, right.as_u64()) {
            (Datum::Number(left), Some(right)) => holds(*left, right).into(),
            _ => Unknown,
        };
        match statement.get("op").and_then(Value::as_str) {
            Some("==" | "in") => self.equals(&left, right),
            Some("!=") => !self.equals(&left, right),
            Some("<") => order(|left, right| left < right),
            Some("<=") => order(|left, right| left <= right),
            Some(">") => order(|left, right| left > right),
            Some(">=") => order(|left, right| left >= right),
            _ => Unknown,
        }
    }

    /// The value of an expression for the packet.
    pub fn datum(&self, expression: &Value) -> Datum<'t> {
        let Some((kind, body)) = expression.as_object().and_then(|object| object.iter().next()) else {
            return Datum::Unknown;
        };
        let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
        match kind.as_str() {
            "payload" => self.payload(text("protocol"), text("field")),
            "meta" => self.meta(text("key")),
            // An untracked packet has a state and nothing else.
            "ct" if text("key") == "state" => Datum::Word("untracked"),
            "ct" => Datum::Absent,
            "fib" => {
                let destination = body.get("flags").and_then(Value::as_array);
                let destination =
                    destination.is_some_and(|flags| matches!(flags.as_slice(), [flag] if flag == "daddr"));
                match self.packet.direction {
                    Direction::Request if destination && text("result") == "type" => Datum::Word("local"),
                    _ => Datum::Unknown,
                }
            }
            "concat" => {
                let parts: Vec<_> =
                    body.as_array().into_iter().flatten().map(|part| self.datum(part)).collect();
                if parts.iter().any(|part| matches!(part, Datum::Absent)) {
                    Datum::Absent
                } else {
                    Datum::Concat(parts)
                }
            }
            _ => Datum::Unknown,
        }
    }

    fn payload(&self, protocol: &str, field: &str) -> Datum<'t> {
        let Packet { direction, socket, .. } = self.packet;
        let header = match protocol {
            "ip" => Some(Family::Ip),
            "ip6" => Some(Family::Ip6),
            _ => None,
        };
        if header.is_some_and(|family| family != self.packet.family()) {
            return Datum::Absent;
        }
        let (address, port, ..) = direction.end();
        match (protocol, field) {
            ("ip" | "ip6", field) if field == address => Datum::Address(socket.ip()),
            ("udp" | "th", field) if field == port => Datum::Number(socket.port().into()),
            ("ip", "protocol") | ("ip6", "nexthdr") => Datum::Number(UDP),
            ("ip" | "ip6" | "udp" | "th" | "ether" | "vlan" | "", _) => Datum::Unknown,
            // nft asks for the transport protocol before it looks at a field of TCP, ICMP, …
            _ => Datum::Absent,
        }
    }

    fn meta(&self, key: &str) -> Datum<'t> {
        match (key, self.packet.direction) {
            ("l4proto", _) => Datum::Number(UDP),
            ("nfproto", _) => Datum::Word(nfproto(self.packet.family())),
            ("protocol", _) => Datum::Word(self.packet.family().word()),
            ("iif" | "iifname", Direction::Request | Direction::Reply) => Datum::Interface(self.packet.from),
            ("oif" | "oifname", Direction::Scheduled | Direction::Reply) => Datum::Interface(self.packet.to),
            _ => Datum::Unknown,
        }
    }

    /// Whether a value is, or is among, what stands on the right side.
    pub fn equals(&self, left: &Datum<'_>, right: &'a Value) -> Truth {
        let any = |items: &'a [Value]| items.iter().fold(No, |found, item| found.or(self.equals(left, item)));
        match right {
            Value::Array(items) => any(items),
            Value::Object(object) => match object.iter().next() {
                Some((kind, Value::Array(items))) if kind == "set" || kind == "|" => any(items),
                Some((kind, Value::Array(ends))) if kind == "range" => in_range(left, ends),
                Some((kind, body)) if kind == "prefix" => in_prefix(left, body),
                Some((kind, Value::Array(parts))) if kind == "concat" => match left {
                    Datum::Concat(lefts) if lefts.len() == parts.len() => {
                        let pairs = lefts.iter().zip(parts);
                        pairs.fold(Yes, |all, (left, right)| all.and(self.equals(left, right)))
                    }
                    _ => Unknown,
                },
                Some((kind, body)) if kind == "elem" => {
                    body.get("val").map_or(Unknown, |value| self.equals(left, value))
                }
                _ => Unknown,
            },
            Value::String(text) => match text.strip_prefix('@') {
                Some(name) => self.tables.elements((self.table.0, self.table.1, name)).map_or(Unknown, any),
                None => is_text(left, text),
            },
            Value::Number(number) => match (left, number.as_u64()) {
                (Datum::Number(left), Some(right)) => (*left == right).into(),
                _ => Unknown,
            },
            Value::Bool(_) | Value::Null => Unknown,
        }
    }
}

fn is_text(left: &Datum<'_>, text: &str) -> Truth {
    match left {
        Datum::Address(address) => text.parse::<IpAddr>().map_or(Unknown, |right| (*address == right).into()),
        Datum::Word(word) => (*word == text).into(),
        Datum::Interface(_) if text == "lo" => No,
        Datum::Interface(Some(name)) => match text.strip_suffix('*') {
            Some(stem) => name.starts_with(stem).into(),
            None => (*name == text).into(),
        },
        // Protocols by name; the names of ports depend on the machine.
        Datum::Number(UDP) => match text {
            "udp" => Yes,
            "tcp" | "icmp" | "icmpv6" | "ipv6-icmp" | "esp" | "ah" | "gre" | "sctp" | "igmp" | "vrrp" => No,
            _ => Unknown,
        },
        _ => Unknown,
    }
}

fn in_range(left: &Datum<'_>, ends: &[Value]) -> Truth {
    let [low, high] = ends else { return Unknown };
    let address = |end: &Value| end.as_str()?.parse::<IpAddr>().ok();
    match left {
        Datum::Number(left) => match (low.as_u64(), high.as_u64()) {
            (Some(low), Some(high)) => (low..=high).contains(left).into(),
            _ => Unknown,
        },
        Datum::Address(left) => match (address(low), address(high)) {
            (Some(low), Some(high)) => (low..=high).contains(left).into(),
            _ => Unknown,
        },
        _ => Unknown,
    }
}

fn in_prefix(left: &Datum<'_>, prefix: &Value) -> Truth {
    let network = prefix.get("addr").and_then(Value::as_str).and_then(|text| text.parse::<IpAddr>().ok());
    let length = prefix.get("len").and_then(Value::as_u64).and_then(|length| u32::try_from(length).ok());
    let (Datum::Address(address), Some(network), Some(length)) = (left, network, length) else {
        return Unknown;
    };
    // The bits after the prefix are shifted out; a prefix of 0 bits would shift by all.
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if length <= 32 => {
            let differing = u32::from(*address) ^ u32::from(network);
            (differing.checked_shr(32 - length).unwrap_or(0) == 0).into()
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if length <= 128 => {
            let differing = u128::from(*address) ^ u128::from(network);
            (differing.checked_shr(128 - length).unwrap_or(0) == 0).into()
        }
        _ => Unknown,
    }
}
