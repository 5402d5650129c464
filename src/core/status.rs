//! How everything stands: what `ipvsd status`, `explain` and the metrics show, in values that can be sent to another process.

mod read;

use std::net::SocketAddr;
use std::time::Duration;

use ipvs_netlink::DestinationKey;
use serde::{Deserialize, Serialize};

use super::Time;
use super::drift::Thing;
use super::model::{Factor, TargetId, Vip, WhenAllDown};
use super::overrides::Override;
use super::pool::{Health, Standing};
use super::probes::{Ended, Probes};
use super::traffic::{Counters, Traffic};

/// All that the core knows. Times are those of the core's clock, in the daemon the Unix time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When this was so.
    pub now: Time,
    /// When the kernel was read last; none before the first time.
    pub read: Option<Time>,
    /// Every server that is probed has had its first verdict, and the kernel is as it is to be as far as that is known.
    pub ready: bool,
    /// What failed and is tried again, in words.
    pub failing: Vec<String>,
    /// The IPVS services of the config: one an address that a service listens on.
    pub services: Vec<ServiceStatus>,
    /// What operators say, of servers that the config does not know, too.
    pub overrides: Vec<Override>,
    /// When the kernel's counters were read; none: they were not asked for, or could not be read.
    pub counted: Option<Time>,
}

/// One IPVS service of the config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name in the config; several have the same if it listens on several addresses.
    pub name: String,
    /// Its VIP and port.
    pub vip: Vip,
    /// Whether it has one-packet scheduling in the config.
    pub ops: bool,
    /// Its scheduler in the config.
    pub scheduler: String,
    /// How packets reach the servers, as the config has it: `nat`, `direct` or `tunnel`.
    pub forward: String,
    /// Whether it is in the kernel.
    pub present: bool,
    /// Its servers are not probed, since none of its VIPs is an address of this machine (`ha_suspend`).
    #[serde(default)]
    pub suspended: bool,
    /// So many servers are up by their verdicts, fallbacks and drained ones apart.
    pub up: usize,
    /// With fewer servers up than this it fails open; at least 1.
    pub minimum: usize,
    /// What happens when none is up.
    pub when_all_down: WhenAllDown,
    /// A server that comes back gets its weight over this time; zero: at once.
    pub slow_start: Duration,
    /// How it stands as a whole by its verdicts.
    pub health: Health,
    /// Whether its quorum is reached; none before that is known.
    pub quorum: Option<bool>,
    /// The last drift.
    pub drift: Option<LastDrift>,
    /// What goes through it; none where counters are not known.
    pub traffic: Option<Traffic>,
    /// Its servers: those of the config, then those that leave.
    pub servers: Vec<ServerStatus>,
}

/// What somebody else changed last in a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastDrift {
    /// When it was seen.
    pub at: Time,
    /// The service or a server.
    pub thing: Thing,
    /// What, in words.
    pub what: String,
    /// It was repaired at once.
    pub repaired: bool,
}

/// One server of an IPVS service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its address and port.
    pub address: SocketAddr,
    /// Its weight in the config; none if it is no longer there, and leaves when it has been drained.
    pub configured: Option<u32>,
    /// Its weight in the kernel; none if it is not there.
    pub weight: Option<u32>,
    /// The weight that it is to have; none: whatever it has.
    pub due: Option<u32>,
    /// Why.
    pub why: String,
    /// It gets weight only while no other server is up.
    pub fallback: bool,
    /// What its checks say together.
    pub verdict: Standing,
    /// Since when; none before the first verdict.
    pub since: Option<Time>,
    /// What an operator says.
    pub operator: Option<Override>,
    /// What goes through it; none where counters are not known, or it is not in the kernel.
    pub traffic: Option<Traffic>,
    /// Its checks.
    pub checks: Vec<CheckStatus>,
}

/// One check of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name between the core and the checker.
    pub target: TargetId,
    /// Its type: `dns`.
    pub check: String,
    /// Where it is asked.
    pub address: SocketAddr,
    /// From one probe to the next while all is well.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many successes in a row make it up.
    pub rise: u32,
    /// So many failures in a row make it down.
    pub fall: u32,
    /// What it says; none: nothing yet.
    pub up: Option<bool>,
    /// Why.
    pub reason: String,
    /// What the weight is multiplied by while it is up, in percent.
    pub factor: Factor,
    /// Its last probe; none if none has ended yet, or it was not asked for.
    pub last: Option<LastProbe>,
}

/// The last probe of a check.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastProbe {
    /// When it ended.
    pub at: Time,
    /// What became of it.
    pub ended: Ended,
    /// How long the last answer took; none before the first one.
    pub latency: Option<Duration>,
}

impl Status {
    /// The part of it that is about one service (by its name), or one server of it (address and port).
    ///
    /// # Errors
    /// There is no such thing; in words, with those that there are.
    pub fn of(mut self, service: Option<&str>, server: Option<&str>) -> Result<Self, String> {
        let Some(name) = service else { return Ok(self) };
        let (of, others): (Vec<_>, Vec<_>) = self.services.into_iter().partition(|it| it.name == name);
        if of.is_empty() {
            let mut names: Vec<String> = others.into_iter().map(|it| it.name).collect();
            names.dedup();
            names.truncate(20);
            return Err(format!("the config has no service \"{name}\"; it has {}", names.join(", ")));
        }
        self.services = of;
        self.overrides.retain(|it| it.service == name);
        let Some(server) = server else { return Ok(self) };
        self.services.iter_mut().for_each(|it| it.servers.retain(|it| means(server, it.address)));
        self.services.retain(|it| !it.servers.is_empty());
        match self.services.is_empty() {
            true => {
                Err(format!("service \"{name}\" has no server {server}; `ipvsd status {name}` shows them"))
            }
            false => Ok(self),
        }
    }

    /// Adds what went through services and servers.
    pub fn count(&mut self, counters: &Counters) {
        self.counted = Some(counters.at);
        for service in &mut self.services {
            let Some(counted) = counters.services.get(&service.vip.0) else { continue };
            service.traffic = Some(counted.traffic);
            for server in &mut service.servers {
                server.traffic = counted.servers.get(&DestinationKey(server.address)).copied();
            }
        }
    }

    /// Adds what became of the last probes.
    pub fn probed(&mut self, probes: &Probes) {
        let servers = self.services.iter_mut().flat_map(|service| &mut service.servers);
        for check in servers.flat_map(|server| &mut server.checks) {
            check.last = probes.last.get(&check.target).map(|last| LastProbe {
                at: self.now.saturating_sub(last.ago),
                ended: last.ended,
                latency: last.latency,
            });
        }
    }
}

/// Whether somebody who writes `words` means this server: its address and port, or its address alone, in brackets or not.
pub fn means(words: &str, server: SocketAddr) -> bool {
    let bare = words.trim_matches(['[', ']']);
    words.parse() == Ok(server) || bare.parse() == Ok(server.ip())
}
