//! The nouns: what a valid config says, what the kernel holds, what the rules must hold. Values only.

mod check;
mod factor;
mod probe;
mod rules;
mod secret;
mod target;
mod vip;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{Forward, SchedulerName};
use serde::{Deserialize, Serialize};

pub use self::check::*;
pub use self::factor::Factor;
pub use self::probe::*;
pub use self::rules::{Outer, Refusals, Rules};
pub use self::secret::Secret;
pub use self::target::{Target, TargetId, Verdict};
pub use self::vip::Vip;

/// A valid config. Only [`crate::config`] makes one from a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The services in the order of the file.
    pub services: Vec<Service>,
    /// What the daemon may set in the kernel beside services and rules.
    pub kernel: KernelSettings,
    /// What stays in the kernel when the daemon ends in order.
    pub on_stop: OnStop,
    /// What is done with the ICMP errors by which servers refuse client traffic.
    pub refusals: Refusals,
    /// Where metrics are served; none: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Who hears of every verdict; none: nobody.
    pub notify: Option<Notify>,
}

/// `[notify]`: the FIFO to which a line is written for each verdict of a server and each turn of a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Its absolute path.
    pub fifo: String,
    /// What reads it and is kept running; it gets the FIFO's path as one more word. No words: nothing.
    pub command: Vec<String>,
}

/// `[kernel]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSettings {
    /// The keys of `net.ipv4.vs` that break one-packet scheduling.
    pub sysctls: Sysctls,
    /// `ip_forward` and its IPv6 twin.
    pub forwarding: Forwarding,
    /// How long idle connection entries live.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// `kernel.timeouts`, in seconds, 0 to 31 days; 0: as the kernel has it. For all IPVS services of the network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Of an established TCP connection.
    pub tcp: u32,
    /// Of a TCP connection after a FIN.
    pub tcp_fin: u32,
    /// Of UDP without one-packet scheduling.
    pub udp: u32,
}

/// `kernel.sysctls`: what happens to a key of `net.ipv4.vs` that stands wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sysctls {
    /// It is set, where no foreign IPVS service depends on it.
    #[default]
    Set,
    /// It is reported.
    Report,
}

/// `kernel.forwarding`: what happens when a family with a `nat` service is not forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    /// Start is refused, with the cure.
    #[default]
    Require,
    /// It is switched on.
    Set,
}

/// `on_stop`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStop {
    /// The kernel goes on forwarding.
    #[default]
    Keep,
    /// Services, servers and rules are taken out.
    Remove,
}

/// One `[[service]]`: a set of servers behind one or more VIPs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Unique among the services.
    pub name: String,
    /// The IPVS services that this one becomes; at least one, none twice.
    pub listen: Vec<Vip>,
    /// One-packet scheduling, and with it the reply rewrite, for all datagrams.
    pub ops: bool,
    /// The IPVS scheduler.
    pub scheduler: SchedulerName,
    /// The scheduler's flags, as [`ipvs_netlink::Flags`] has them: `SCHED1`, `SCHED2` and `SCHED3` only.
    pub scheduler_flags: u32,
    /// A client stays with a server for a while; none: it does not.
    pub persistence: Option<Persistence>,
    /// How packets reach a server that does not say it itself.
    pub forward: Forward,
    /// The servers of both families, fallbacks with them; each family of `listen` has at least one that is no fallback.
    pub servers: Vec<Server>,
    /// How the servers are asked whether they live, fallbacks excepted; all checks must pass. None is `check = "none"`.
    pub checks: Vec<Arc<Check>>,
    /// The same of those servers that say it themselves: few, mostly none, so that the others need no room for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own_checks: BTreeMap<SocketAddr, Box<[Arc<Check>]>>,
    /// The commands of single servers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own_commands: BTreeMap<SocketAddr, Commands>,
    /// The commands for a state that is lost run when the daemon ends in order, too.
    #[serde(default)]
    pub down_on_stop: bool,
    /// Its servers are not probed while none of its VIPs is an address of this machine.
    #[serde(default)]
    pub ha_suspend: bool,
    /// What follows from the verdicts.
    pub policy: Policy,
    /// How long a server taken from the config may still answer before it is deleted.
    pub drain: Duration,
    /// What happens when somebody else changes the service in the kernel.
    pub drift: Drift,
}

/// `persistence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// For so long after a client's last connection, 1 s to 31 days, in whole seconds.
    pub timeout: Duration,
    /// The IPv4 clients of a network with a prefix of this length, 0 to 32, count as one.
    pub prefix_v4: u8,
    /// The same for IPv6, 1 to 128.
    pub prefix_v6: u8,
    /// A persistence engine of the kernel (`sip`).
    pub engine: Option<ipvs_netlink::Name>,
}

impl Service {
    /// Whether what comes to this VIP is scheduled packet by packet.
    pub fn ops_at(&self, vip: Vip) -> bool {
        self.ops && vip.has_datagrams()
    }

    /// Whether no connection entry of this VIP may pin a client to a server: persistence makes some on purpose.
    pub fn pins_nobody_at(&self, vip: Vip) -> bool {
        self.ops_at(vip) && self.persistence.is_none()
    }

    /// How one of its servers is asked whether it lives; no check: not at all.
    pub fn checks_of(&self, server: &Server) -> &[Arc<Check>] {
        if server.fallback {
            return &[];
        }
        self.own_checks.get(&server.address).map_or(&self.checks, |own| own)
    }

    /// All that its servers are asked, some of it perhaps repeatedly.
    pub fn all_checks(&self) -> impl Iterator<Item = &Arc<Check>> {
        self.checks.iter().chain(self.own_checks.values().flatten())
    }

    /// All commands that follow verdicts.
    pub fn commands(&self) -> impl Iterator<Item = &Arc<Command>> {
        let quorum = &self.policy.quorum;
        let own = self.own_commands.values().flat_map(|commands| [&commands.on_up, &commands.on_down]);
        [&quorum.on_up, &quorum.on_down].into_iter().chain(own).flatten()
    }

    /// The longest time from a server's death to its verdict if it falls silent.
    pub fn detection(&self) -> Duration {
        self.all_checks().map(|check| check.worst_case()).max().unwrap_or_default()
    }
}

/// `drift`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// It is repaired, and said.
    #[default]
    Repair,
    /// It is said.
    Report,
}

/// One of a service's `servers`, or its `fallback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Where the traffic goes.
    pub address: SocketAddr,
    /// Its share under a weighted scheduler when it is up, 0 to `i32::MAX`.
    pub weight: u32,
    /// It has weight only while no other server is up, and is not checked.
    pub fallback: bool,
    /// How packets reach it: `Masquerade` (`nat` in the config), `Direct` or `Tunnel`.
    pub forward: Forward,
    /// With so many connections it gets no more, until it has fewer than the lower threshold; 0: no limit.
    pub upper_threshold: u32,
    /// See there; 0: three quarters of the upper one.
    pub lower_threshold: u32,
}

impl Server {
    /// A server without thresholds that is no fallback.
    pub fn new(address: SocketAddr, weight: u32, forward: Forward) -> Self {
        Self { address, weight, fallback: false, forward, upper_threshold: 0, lower_threshold: 0 }
    }
}

/// What a service does with its verdicts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What happens when the last server of a VIP goes down.
    pub when_all_down: WhenAllDown,
    /// With fewer servers up than this behind a VIP, the last healthy set of them keeps its weight; none: only when all are down.
    pub min_healthy: Option<Amount>,
    /// A server that comes back gets its weight over this time, in steps; zero: at once.
    pub slow_start: Duration,
    /// When a VIP is to be offered, and who is told.
    pub quorum: Quorum,
}

/// `min_healthy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amount {
    /// So many servers, at least 1.
    Count(u32),
    /// So many of a hundred of a VIP's servers, 1 to 100; rounded up.
    Percent(u8),
}

/// `quorum`, `hysteresis` and the commands that follow them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// The weights of the servers that are up must add up to this, at least 1.
    pub weight: u32,
    /// Once it is lost, so much more is needed; once it is there, it may fall so far below. Less than `weight`.
    pub hysteresis: u32,
    /// What runs when it is reached.
    pub on_up: Option<Arc<Command>>,
    /// What runs when it is lost.
    pub on_down: Option<Arc<Command>>,
}

impl Default for Quorum {
    fn default() -> Self {
        Self { weight: 1, hysteresis: 0, on_up: None, on_down: None }
    }
}

/// A command that the daemon runs: without a shell, in a process group of its own that is killed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Command {
    /// The executable's absolute path and its arguments; at least one.
    pub argv: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// It keeps `CAP_NET_ADMIN` and `CAP_NET_RAW`; otherwise it has no capabilities.
    pub network: bool,
    /// The user, and after a colon the group, that it runs as; none: the daemon's own. Another has no capabilities, whatever `network` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What runs when a server's checks turn: for their first verdict, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    /// When it is up.
    pub on_up: Option<Arc<Command>>,
    /// When it is down.
    pub on_down: Option<Arc<Command>>,
}

/// `when_all_down`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAllDown {
    /// The last healthy set keeps its weight.
    #[default]
    Keep,
    /// All servers get weight 0; clients are refused by ICMP.
    Refuse,
    /// The service's fallbacks get their weight, and the others 0.
    Fallback,
}
