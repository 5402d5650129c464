//! What the doctor reads: values only, each part none where it could not be read. Nothing is changed by reading.

mod network;
mod table;
mod tracking;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipvs_netlink::{DestinationKey, ServiceKey, Version};
use serde_json::Value;

use super::{Progress, Skipped, program};
use crate::core::desired;
use crate::core::model::{Config, Rules};
use crate::core::plan::FoundServices;
use crate::kernel::{connections, facts, preflight, sysctl};
use crate::nft::firewall::iptables;
use crate::nft::{self, Family, Nft};

/// All of it.
#[derive(Debug, Default)]
pub struct Facts {
    /// `uname -r`.
    pub release: String,
    /// The version of IPVS; none without IPVS, or if it was not told.
    pub ipvs: Option<Version>,
    /// Whether the kernel has IPVS, where that is known.
    pub has_ipvs: Option<bool>,
    /// What is read at start, too.
    pub start: Option<preflight::Facts>,
    /// `net.ipv4.vs.run_estimation`.
    pub run_estimation: Option<String>,
    /// Every IPVS service with its servers, those of others as well.
    pub services: Option<FoundServices>,
    /// Connection entries of the config's services.
    pub entries: Option<BTreeSet<(ServiceKey, DestinationKey)>>,
    /// What the reply rules hold, and what is damaged of them.
    pub rules: Option<(Rules, Vec<String>)>,
    /// There is no nft.
    pub nft_missing: bool,
    /// Everybody's packet filters.
    pub filters: Vec<Filter>,
    /// Tracked UDP connections.
    pub tracked: Option<Vec<Tracked>>,
    /// The servers that no route leads to, and what the kernel says of it.
    pub unreached: BTreeMap<IpAddr, String>,
    /// The interface that the route to each server leaves by, where there is one.
    pub links_to: BTreeMap<IpAddr, String>,
    /// The addresses of this machine, and how many bits of each are its network's.
    pub addresses: Vec<Address>,
    /// The interfaces that are up, without lo.
    pub links: Vec<Link>,
    /// The processors that are online.
    pub cpus: usize,
    /// An ipvsd runs in this network namespace.
    pub daemon_runs: bool,
}

/// A ruleset as `nft -j list ruleset` prints it.
#[derive(Debug)]
pub struct Filter {
    /// Who has it.
    pub kind: FilterKind,
    /// The listing.
    pub ruleset: Value,
}

/// Who has a ruleset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterKind {
    /// nftables; rules of iptables-nft stand there with names in place of what they match.
    Nftables,
    /// iptables-nft, with all that its rules match.
    Iptables,
    /// iptables-legacy, which nft does not show.
    Legacy,
}

/// An entry of connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Who sent the first packet.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// Where an answer to it would go.
    pub reply_destination: SocketAddr,
}

/// An address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The bits of the network.
    pub prefix: u8,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The features of UDP GRO that are on, as `ethtool -k` calls them.
    pub gro: Vec<String>,
    /// Of a NIC: how many receive queues it has, and whether packets of them are spread over processors (RPS).
    pub queues: Option<(usize, bool)>,
}

impl Facts {
    /// Reads everything that the services of `scope` depend on; what could not be read goes to `skipped`.
    pub async fn read(scope: &Config, progress: &Progress, skipped: &mut Vec<Skipped>) -> Facts {
        let mut facts = Facts {
            release: read("/proc/sys/kernel/osrelease"),
            daemon_runs: crate::daemon::runs(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            ..Facts::default()
        };
        progress.step("IPVS");
        facts.read_table(skipped).await;
        match connections::read(&desired::listens(scope).map(|(key, _)| key).collect()) {
            Ok(entries) => facts.entries = Some(entries),
            Err(error) => skipped.push(Skipped::new("connection entries", error.to_string())),
        }
        progress.step("sysctls and routes");
        // Whether others use IPVS matters to what a daemon may set, and here nothing is set.
        match facts::read(scope, 0) {
            Ok(read) => facts.start = Some(read),
            Err(error) => skipped.push(Skipped::new("sysctls, VIPs and keepalived", error.to_string())),
        }
        facts.run_estimation = sysctl::get("net.ipv4.vs.run_estimation").ok().flatten();
        facts.read_routes(scope, skipped).await;
        facts.read_links(skipped).await;
        progress.step("packet filters");
        facts.read_rules(skipped).await;
        facts.read_filters(skipped).await;
        progress.step("connection tracking");
        match tracking::read().await {
            Ok(entries) => facts.tracked = Some(entries),
            Err(why) => skipped.push(Skipped::new("tracked connections", why)),
        }
        facts
    }

    async fn read_rules(&mut self, skipped: &mut Vec<Skipped>) {
        match Nft::new().observe().await {
            Ok(listing) => {
                let rules = listing.rules();
                let damage = listing.damage(&rules);
                self.rules = Some((rules, damage));
            }
            Err(nft::Error::NotInstalled { .. }) => self.nft_missing = true,
            Err(error) => skipped.push(Skipped::new("reply rules", error.to_string())),
        }
    }

    async fn read_filters(&mut self, skipped: &mut Vec<Skipped>) {
        let mut iptables_nft = false;
        match Nft::new().ruleset_json().await {
            Ok(ruleset) => {
                iptables_nft = ruleset.to_string().contains("\"xt\":");
                self.filters.push(Filter { kind: FilterKind::Nftables, ruleset });
            }
            Err(nft::Error::NotInstalled { .. }) => {}
            Err(error) => skipped.push(Skipped::new("rules of nftables", error.to_string())),
        }
        for (family, prefix, tables) in [
            (Family::Ip, "iptables", "/proc/net/ip_tables_names"),
            (Family::Ip6, "ip6tables", "/proc/net/ip6_tables_names"),
        ] {
            // To list a table of iptables-legacy that is not there would make it.
            let legacy = Path::new(tables).exists() && !fs::read(tables).is_ok_and(|names| names.is_empty());
            let kinds = [(FilterKind::Iptables, "nft", iptables_nft), (FilterKind::Legacy, "legacy", legacy)];
            for (kind, variant, wanted) in kinds {
                if !wanted {
                    continue;
                }
                match program::run(&format!("{prefix}-{variant}-save"), &[]).await {
                    Ok(text) => {
                        self.filters.push(Filter { kind, ruleset: iptables::ruleset(&text, family) });
                    }
                    Err(why) => {
                        skipped.push(Skipped::new("what rules of iptables match", why));
                    }
                }
            }
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
