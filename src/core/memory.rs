//! What must be known after a crash: what ipvsd itself created, and what it changed and is to put back.

use std::collections::{BTreeMap, BTreeSet};

use ipvs_netlink::ServiceKey;
use serde::{Deserialize, Serialize};

/// What the state file holds. Without it ipvsd owns what the config names, and puts nothing back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// IPVS services that ipvsd created: they are deleted when the config no longer names them.
    pub created: BTreeSet<ServiceKey>,
    /// Sysctls that ipvsd changed, with the value that they had.
    pub sysctls: BTreeMap<String, String>,
}
