//! What a daemon with this config would change. Reads the kernel, and changes nothing in it.

use std::collections::BTreeSet;

use ipvs_netlink::ServiceKey;

use super::prepare::{self, Refusal};
use crate::core::changes::{Change, changes};
use crate::core::desired;
use crate::core::model::{Config, Rules};
use crate::kernel::preflight::{self, Finding};
use crate::kernel::{facts, ipvs};
use crate::nft::{self, Nft};

/// What differs between the kernel and `config`, sysctls first.
///
/// # Errors
/// The kernel cannot be read, or a daemon would not start with this config; each reason with its cure.
pub async fn plan(config: &Config) -> Result<Vec<Change>, Refusal> {
    let mut client = prepare::connect().await?;
    let needs_rules = !desired::rules_of(config).is_empty();
    let (held, damage) = match Nft::new().observe().await {
        Ok(listing) => (listing.rules(), listing.damage()),
        Err(nft::Error::NotInstalled { .. }) if !needs_rules => (Rules::default(), Vec::new()),
        Err(error) => return Err(Refusal::new(error.to_string())),
    };
    let named: BTreeSet<ServiceKey> = desired::listens(config).map(|(key, ..)| key).collect();
    let own = named.iter().copied().chain(held.requests.iter().map(|vip| ServiceKey::udp(*vip))).collect();
    let found = ipvs::find(&mut client, &own).await.map_err(|error| Refusal::new(error.to_string()))?;
    let foreign = found.iter().filter(|(key, _)| !named.contains(key)).count();
    let facts = facts::read(config, foreign).map_err(Refusal::io("read the network's settings"))?;

    let mut all = Vec::new();
    let mut refusals = Vec::new();
    for finding in preflight::judge(config, &facts) {
        match &finding {
            Finding::Set { key, old, new, why } => all.push(Change::sysctl(key, old, new, why)),
            Finding::Warn { .. } => {}
            Finding::Refuse { .. } => refusals.push(finding.to_string()),
        }
    }
    if !refusals.is_empty() {
        return Err(Refusal::new(refusals.join("\n")));
    }
    all.extend(changes(config, &found.into_iter().collect(), &own, &held, &damage));
    Ok(all)
}
