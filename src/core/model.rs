//! The nouns: what a valid config says, what the kernel holds, what the rules must hold. Values only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{Forward, SchedulerName};
use serde::{Deserialize, Serialize};

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
}

/// `[passive]`: what is done with refusals, the ICMP errors (port unreachable) of servers about client traffic that the
/// reply rewrite stands behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refusals {
    /// The nflog group by which the daemon hears of them; none if it does not.
    pub group: Option<u16>,
    /// They are dropped: to the client they would name the server's own address.
    pub hidden: bool,
}

/// `[kernel]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSettings {
    /// The keys of `net.ipv4.vs` that break one-packet scheduling.
    pub sysctls: Sysctls,
    /// `ip_forward` and its IPv6 twin.
    pub forwarding: Forwarding,
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
    /// VIP and port of each IPVS service that this one becomes; at least one, none twice.
    pub listen: Vec<SocketAddr>,
    /// One-packet scheduling, and with it the reply rewrite.
    pub ops: bool,
    /// The IPVS scheduler.
    pub scheduler: SchedulerName,
    /// How packets reach the servers: `Masquerade` (`nat` in the config), `Direct` or `Tunnel`.
    pub forward: Forward,
    /// The servers of both families; each family of `listen` has at least one.
    pub servers: Vec<Server>,
    /// How the servers are asked whether they live; none is `check = "none"`.
    pub check: Option<Arc<Check>>,
    /// What happens when the last server of a VIP goes down.
    pub when_all_down: WhenAllDown,
    /// How long a server taken from the config may still answer before it is deleted.
    pub drain: Duration,
    /// What happens when somebody else changes the service in the kernel.
    pub drift: Drift,
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

/// One of a service's `servers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Where the traffic goes.
    pub address: SocketAddr,
    /// Its share under a weighted scheduler when it is up, 0 to `i32::MAX`.
    pub weight: u32,
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
}

/// One way to ask a server whether it lives. Equal checks of one address are probed once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Check {
    /// What is asked and which answer is right.
    pub probe: Probe,
    /// From one probe to the next; at least 1 ms.
    pub interval: Duration,
    /// How long an answer may take; at least 1 ms.
    pub timeout: Duration,
    /// From one confirming probe to the next while an answer is missing or was wrong; at least 1 ms.
    pub retry_interval: Duration,
    /// So many successes in a row make a server up that was down; at least 1.
    pub rise: u32,
    /// So many failures in a row make a server down; at least 1.
    pub fall: u32,
    /// Where to probe, if not at the server's own address.
    pub address: Option<IpAddr>,
    /// Where to probe, if not at the server's own port.
    pub port: Option<u16>,
}

impl Check {
    /// Where the server with the traffic address `server` is probed.
    pub fn target(&self, server: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.address.unwrap_or(server.ip()), self.port.unwrap_or(server.port()))
    }

    /// The longest time from a server's death to its verdict if it falls silent.
    pub fn worst_case(&self) -> Duration {
        self.interval + self.timeout + self.retry_interval * (self.fall - 1)
    }
}

/// What is asked and which answer is right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Probe {
    /// A datagram of one's own.
    Udp {
        /// The payload.
        send: Vec<u8>,
        /// Which answer is right.
        reply: Reply,
    },
    /// A DNS query.
    Dns(DnsProbe),
}

/// Which answer to a `udp` probe is right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reply {
    /// Any datagram.
    Any,
    /// One that matches this regular expression (bytes, not only UTF-8); valid by construction of [`Config`].
    Matches(String),
    /// One that begins with these bytes.
    StartsWith(Vec<u8>),
    /// None is needed: only an ICMP error means failure. If one comes, it may be anything.
    Optional,
}

/// The query of a `dns` probe and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DnsProbe {
    /// The name asked for, as typed; a valid domain name by construction of [`Config`].
    pub query: String,
    /// The record type asked for, in upper case (`A`, `AAAA`, `SOA`, …).
    pub record: String,
    /// The response code that the answer must have, in upper case (`NOERROR`, `NXDOMAIN`, …).
    pub rcode: String,
    /// Text that the data of one record of the answer section must be (`192.0.2.1`, …).
    pub answer: Option<String>,
}

/// What the tables `ip ipvsd` and `ip6 ipvsd` must hold, both families together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// VIP:port of every OPS service: requests to it are not tracked.
    pub requests: BTreeSet<SocketAddr>,
    /// server:port → VIP:port of every server under NAT with OPS: replies are not tracked, and leave from VIP:port.
    pub replies: BTreeMap<SocketAddr, SocketAddr>,
    /// The servers that are reached through a tunnel: the outer packets are not tracked.
    pub tunnels: BTreeSet<Outer>,
    /// What is done with refusals of the servers in `replies`; nothing where there are none.
    pub refusals: Refusals,
}

/// The outer packets of a tunnel as a rule can tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outer {
    /// IP in IP or GRE to this address.
    Ip(IpAddr),
    /// UDP (GUE) to this address and port.
    Udp(SocketAddr),
}

/// Names one probed (address, check) for as long as the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetId(pub u32);

/// One thing to probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name in verdicts.
    pub id: TargetId,
    /// Where the probes go.
    pub address: SocketAddr,
    /// How.
    pub check: Arc<Check>,
    /// It already has weight in the kernel: it counts as up until `fall` probes have failed.
    pub assumed_up: bool,
}

/// A verdict that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whose.
    pub target: TargetId,
    /// Up or down.
    pub up: bool,
    /// Why, in words for the log: `refused (ICMP port unreachable), 3 in a row`.
    pub reason: String,
}
