//! What one of our tables consists of: the vocabulary that the wanted ruleset and the listing share.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nftables::types::{NfChainType, NfFamily, NfHook};
use serde_json::Value;

use crate::apart;

/// The name of both tables.
pub const NAME: &str = "ipvsd";

/// The address family of one of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::Ip, Family::Ip6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::Ip } else { Family::Ip6 }
    }

    /// nft's word for it, which also names the header in a payload expression.
    pub fn word(self) -> &'static str {
        match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
        }
    }

    /// The crate's word for it.
    pub fn nft(self) -> NfFamily {
        match self {
            Family::Ip => NfFamily::IP,
            Family::Ip6 => NfFamily::IP6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One table as it should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Sets and maps by name.
    pub sets: BTreeMap<String, Set>,
    /// Chains by name.
    pub chains: BTreeMap<Arc<str>, Chain>,
}

/// A set or a map with its elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// What its elements are.
    pub shape: Shape,
    /// Its elements.
    pub elements: Elements,
}

/// Each element once, in a map with the chain to which its verdict goes; in the order of the keys. Of thousands, a `BTreeMap` takes
/// twice as much.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Elements(Vec<(Key, Option<Arc<str>>)>);

impl Elements {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its chain.
    pub fn iter(&self) -> impl Iterator<Item = &(Key, Option<Arc<str>>)> + Clone {
        self.0.iter()
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The chains.
    pub fn chains(&self) -> impl Iterator<Item = &Option<Arc<str>>> {
        self.0.iter().map(|(_, chain)| chain)
    }

    /// The chain of the element with this key.
    pub fn get(&self, key: &Key) -> Option<&Option<Arc<str>>> {
        let place = self.0.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        Some(&self.0[place].1)
    }
}

impl FromIterator<(Key, Option<Arc<str>>)> for Elements {
    fn from_iter<I: IntoIterator<Item = (Key, Option<Arc<str>>)>>(elements: I) -> Self {
        let mut all = apart::list();
        all.extend(elements);
        all.sort_unstable_by_key(|(key, _)| *key);
        all.dedup_by_key(|(key, _)| *key);
        Self(all)
    }
}

/// What the elements of a set or map are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `set { type ipv4_addr; }`
    Addresses,
    /// `set { type ipv4_addr . inet_service; }`
    Sockets,
    /// `map { type ipv4_addr . inet_service : verdict; counter; }`; whether it counts is no part of the shape.
    Verdicts,
    /// `set { type ipv4_addr; size 65535; flags dynamic,timeout; timeout 1m; }`: rules put elements into it, which are none of
    /// ours and never compared.
    Dynamic,
}

impl Shape {
    /// `set` or `map`, as nft calls it.
    pub fn word(self) -> &'static str {
        if self == Shape::Verdicts { "map" } else { "set" }
    }
}

/// How many elements a dynamic set may have.
pub const DYNAMIC_SIZE: u32 = 65_535;
/// So many seconds after it was put in, an element leaves a dynamic set.
pub const DYNAMIC_TIMEOUT: u32 = 60;

/// An element of a set, or the key of a map's element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The address.
    pub address: IpAddr,
    /// The UDP port, in sets of addresses and ports.
    pub port: Option<u16>,
}

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Key {
        Key { address, port: None }
    }
}

impl From<SocketAddr> for Key {
    fn from(socket: SocketAddr) -> Key {
        Key { address: socket.ip(), port: Some(socket.port()) }
    }
}

/// A chain and its rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// Where it hangs in the kernel, if it is a base chain. Its policy is accept.
    pub base: Option<Base>,
    /// The rules in order.
    pub rules: Vec<Body>,
}

/// Where a base chain hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// `filter` in all of ours.
    pub kind: NfChainType,
    /// The hook.
    pub hook: NfHook,
    /// Lower runs earlier.
    pub priority: i32,
}

/// The statements of a rule in the form in which `nft -j` prints them, as text: there is a chain for each VIP, and as values its
/// rules would take 3 kB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(String);

impl Body {
    /// A rule of these statements.
    pub fn new(statements: Vec<Value>) -> Body {
        Body(Value::Array(statements).to_string())
    }

    /// The statements.
    pub fn statements(&self) -> Value {
        // It was written from one.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}
