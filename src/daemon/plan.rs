//! What a daemon with this config would change. Reads the kernel, and changes nothing in it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipvs_netlink::{Flags, ServiceKey};

use super::prepare::{self, Refusal};
use super::remember;
use crate::core::changes::{Change, changes, evictions, put_back};
use crate::core::model::{Config, Rules};
use crate::core::plan::FoundServices;
use crate::core::{desired, sysctls};
use crate::kernel::{connections, facts, look, preflight, timeouts};
use crate::nft::{self, Nft};

/// What differs between the kernel and `config`, sysctls first.
///
/// # Errors
/// The kernel cannot be read, or a daemon would not start with this config; each reason with its cure.
pub async fn plan(config: &Config) -> Result<Vec<Change>, Refusal> {
    let mut client = prepare::ipvs().await?;
    let needs_rules = !desired::rules_of(config).is_empty();
    let (mut held, damage) = match Nft::new().observe().await {
        Ok(listing) => {
            let rules = listing.rules();
            let damage = listing.damage(&rules);
            (rules, damage)
        }
        Err(nft::Error::NotInstalled { .. }) if !needs_rules => (Rules::default(), Vec::new()),
        Err(error) => return Err(Refusal::new(error.to_string())),
    };
    let named: BTreeSet<ServiceKey> = desired::listens(config).map(|(key, _)| key).collect();
    let (_, memory) = remember::read()?;
    let memory = memory.unwrap_or_default();
    let own: BTreeSet<ServiceKey> = named.union(&memory.created).copied().collect();
    let found = look::find(&mut client, &own).await.map_err(|error| Refusal::new(error.to_string()))?;
    let found: FoundServices = found.into_iter().collect();
    leave_to_others(&mut held, &found, &own);
    let foreign = found.iter().filter(|(key, _)| !own.contains(key)).count();
    let mut facts = facts::read(config, foreign).map_err(Refusal::io("read the network's settings"))?;
    let timeouts = client.get_timeouts().await.map_err(|error| Refusal::new(error.to_string()))?;
    facts.sysctls.extend(timeouts::named(&timeouts));

    let due = sysctls::due(config, &facts.sysctls, foreign > 0);
    let set = |(key, value, why): (&str, String, &str)| Change::sysctl(key, &facts.sysctls[key], &value, why);
    let mut all: Vec<Change> = due.into_iter().map(set).collect();
    let refusals = preflight::judge(config, &facts).refusals;
    if !refusals.is_empty() {
        let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        return Err(Refusal::new(said.join("\n")));
    }
    let entries = connections::read(&named).map_err(Refusal::io("read /proc/net/ip_vs_conn"))?;
    let evictions = evictions(config, &found, &entries);
    // As long as there are evictions they need it.
    if evictions.is_empty() {
        all.extend(put_back(&memory, &facts.sysctls));
    }
    all.extend(changes(config, &found, &own, &held, &damage, &memory.overrides));
    all.extend(evictions);
    Ok(all)
}

/// A service that was adopted, and that no config names any more, goes on as it is, and with it the rules that it needs.
fn leave_to_others(held: &mut Rules, found: &FoundServices, own: &BTreeSet<ServiceKey>) {
    let works = |vip: &SocketAddr| {
        let key = ServiceKey::udp(*vip);
        let ops = |flags: Flags| flags.contains(Flags::ONE_PACKET);
        !own.contains(&key) && found.get(&key).is_some_and(|service| ops(service.config.flags))
    };
    held.requests.retain(|vip| !works(vip));
    held.replies.retain(|_, vip| !works(vip));
}
