//! Before the first change: what the daemon needs is there, and what would silently break it is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipvs_netlink::Error;
use ipvs_netlink::tokio::Client;

use super::remember;
use crate::command::{self, Account};
use crate::core::desired;
use crate::core::model::{Config, Probe, Rules, Service};
use crate::kernel::facts;
use crate::kernel::preflight;
use crate::nft::{self, Nft, firewall};

/// What keeps the daemon from starting, with its cure; one line each.
#[derive(Debug)]
pub struct Refusal(Vec<String>);

impl Refusal {
    /// One reason.
    pub fn new(reason: String) -> Self {
        Self(vec![reason])
    }

    /// A failed system call, by what was tried.
    pub fn io(tried: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::new(format!("cannot {tried}: {error}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Refusal {}

/// Connects to IPVS; none if this kernel has none.
pub async fn connect() -> Result<Option<Client>, Refusal> {
    match Client::connect().await {
        Ok(client) => Ok(Some(client)),
        Err(Error::NotInKernel) => Ok(None),
        Err(error) => Err(Refusal::new(error.to_string())),
    }
}

/// Connects to IPVS, or says that there is none.
pub async fn ipvs() -> Result<Client, Refusal> {
    connect().await?.ok_or_else(|| Refusal::new(Error::NotInKernel.to_string()))
}

/// What the daemon is told must be the operator's word: the files of its config, and what that lets it run.
pub fn trust(files: &[PathBuf], config: &Config) -> Result<(), Refusal> {
    let user = nix::unistd::geteuid().as_raw();
    let checks = config.services.iter().flat_map(Service::all_checks);
    let of_checks = checks.filter_map(|check| match &check.probe {
        Probe::Exec(exec) => Some((&exec.argv, &exec.user)),
        _ => None,
    });
    let of_services = config.services.iter().flat_map(Service::commands).map(|it| (&it.argv, &it.user));
    let reader = config.notify.iter().map(|notify| (&notify.command, &None));
    let commands: BTreeSet<(&Vec<String>, &Option<String>)> =
        of_services.chain(of_checks).chain(reader).collect();
    let executables: BTreeSet<&String> = commands.iter().filter_map(|(argv, _)| argv.first()).collect();
    let others = commands.iter().filter_map(|(argv, user)| other_user(argv, user.as_deref()?));
    let refusals: Vec<String> = files
        .iter()
        .map(PathBuf::as_path)
        .chain(executables.into_iter().map(Path::new))
        .filter_map(|path| Some(command::trusted(path, user).err()?.to_string()))
        .chain(others)
        .collect();
    if refusals.is_empty() { Ok(()) } else { Err(Refusal(refusals)) }
}

/// Why a command cannot run as the user that it names.
fn other_user(argv: &[String], wanted: &str) -> Option<String> {
    let command = argv.join(" ");
    let Some(account) = Account::named(wanted) else {
        return Some(format!("`{command}` is to run as {wanted}, and there is no such user or group here"));
    };
    let refused = !account.is_own() && !command::may_change();
    refused.then(|| {
        let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
        format!(
            "`{command}` is to run as {wanted}, and ipvsd runs as user {user}, group {group}, and may not change that: take `user` \
             (`script_user` in a keepalived.conf) out, give ipvsd's unit this `User=` and `Group=`, or let it run as root with \
             CAP_SETUID, CAP_SETGID and CAP_KILL"
        )
    })
}

/// Looks for obstacles, warns of those that it can live with.
pub async fn prepare(config: &Config) -> Result<Client, Refusal> {
    let mut client = ipvs().await?;
    let services = client.list_services().await.map_err(|error| Refusal::new(error.to_string()))?;
    let (_, memory) = remember::read()?;
    let mut own = memory.unwrap_or_default().created;
    own.extend(desired::listens(config).map(|(key, _)| key));
    let foreign = services.iter().filter(|service| !own.contains(&service.key)).count();
    let facts = facts::read(config, foreign).map_err(Refusal::io("read the network's settings"))?;

    let verdict = preflight::judge(config, &facts);
    for finding in &verdict.warnings {
        tracing::warn!("{finding}");
    }
    let mut refusals: Vec<String> = verdict.refusals.iter().map(ToString::to_string).collect();
    let rules = desired::rules_of(config);
    if !rules.is_empty() {
        match Nft::new().ruleset_json().await {
            Ok(ruleset) => say_obstacles(&ruleset, &rules, facts.server_links),
            Err(error @ nft::Error::Unreadable { .. }) => {
                tracing::warn!(%error, "whether a firewall drops requests or replies could not be looked at");
            }
            Err(error) => refusals.push(error.to_string()),
        }
    }
    if refusals.is_empty() { Ok(client) } else { Err(Refusal(refusals)) }
}

/// Rules of iptables do not show everything that they match: what they seem to drop may be let through already.
fn say_obstacles(ruleset: &serde_json::Value, rules: &Rules, servers: BTreeMap<IpAddr, String>) {
    let ways = firewall::Ways { servers, ..firewall::Ways::default() };
    for obstacle in firewall::obstacles(ruleset, rules, &ways) {
        let cure = obstacle.cure();
        if obstacle.certain {
            tracing::warn!("{obstacle}; run\n{cure}");
        } else {
            tracing::info!("{obstacle}; unless a rule of iptables lets them through already, run\n{cure}");
        }
    }
}
