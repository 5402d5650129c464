//! Rules of others that give the replies of our servers, or the requests to them, another source: with connection tracking
//! (`snat`, `masquerade`), which sees tracked packets only, or without (`ip saddr set`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use serde_json::Value;

use super::tables::Tables;
use super::walk::Walk;
use super::{ASKED, Direction, Packet};

/// A base chain that may give packets another source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// nft's word for the family of its table: `ip`, `ip6` or `inet`.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// nft's word for its hook.
    pub hook: &'static str,
    /// It is of type `nat`: untracked packets do not come there.
    pub tracked: bool,
    /// The first rule that does it.
    pub rule: RuleName,
    /// server:port of the packets.
    pub sockets: BTreeSet<SocketAddr>,
}

/// Which rule of a table it is: `rule snat, handle 3 of chain post`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName {
    /// The word of its statement.
    pub word: String,
    /// Its handle.
    pub handle: u64,
    /// Its chain: the base chain, or one that packets get to from there.
    pub chain: String,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, handle, chain } = self;
        write!(f, "rule {word}, handle {handle} of chain {chain}")
    }
}

/// The translations in `ruleset` (as printed by `nft -j list ruleset`) of replies of these servers, or of the requests that
/// IPVS sends them.
pub fn translations<'s>(
    ruleset: &Value,
    direction: Direction,
    servers: impl IntoIterator<Item = &'s SocketAddr>,
) -> Vec<Translation> {
    let tables = Tables::read(ruleset);
    let mut found: BTreeMap<_, Translation> = BTreeMap::new();
    for &socket in servers.into_iter().take(ASKED) {
        let packet = Packet::new(direction, socket);
        let hooks: &[&'static str] = match direction {
            Direction::Request => &[],
            Direction::Scheduled => &["output", "postrouting"],
            Direction::Reply => &["prerouting", "forward", "postrouting"],
        };
        for &hook in hooks {
            for chain in tables.hooked(packet.family(), hook) {
                let Some(rule) = Walk::new(&tables, packet, false).translates(chain) else { continue };
                let (family, table, name) = chain.id;
                let new = || Translation {
                    family: family.to_owned(),
                    table: table.to_owned(),
                    chain: name.to_owned(),
                    hook,
                    tracked: chain.kind == "nat",
                    rule: rule.clone(),
                    sockets: BTreeSet::new(),
                };
                found.entry((chain.id, rule.clone())).or_insert_with(new).sockets.insert(socket);
            }
        }
    }
    found.into_values().collect()
}
