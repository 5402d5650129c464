//! What must be known after a crash: what ipvsd itself created, what it changed and is to put back, and what operators said.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_netlink::ServiceKey;
use serde::{Deserialize, Serialize};

use super::overrides::Override;

/// What the state file holds. Without it ipvsd owns what the config names, and puts nothing back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// IPVS services that ipvsd created: they are deleted when the config no longer names them.
    pub created: BTreeSet<ServiceKey>,
    /// Sysctls that ipvsd changed, with the value that they had.
    pub sysctls: BTreeMap<String, String>,
    /// What operators say, in the order in which they said it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
}
