//! The LVS half of a keepalived.conf as keepalived means it: defaults filled in, inheritance resolved, places kept.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::keywords::Keyword;
use super::place::{At, Place};
use super::text::arguments;

/// A value that always is: given, inherited or keepalived's own default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<T> {
    /// The value.
    pub value: T,
    /// Where the file gives it, for this object or one that it inherits from; none for a default.
    pub place: Option<Place>,
}

/// All that IPVS is told, and how servers are checked.
#[derive(Clone, Debug, Default)]
pub struct Lvs {
    /// `global_defs`, as far as it matters to LVS.
    pub global: Global,
    /// The groups, in the order of the file.
    pub groups: Vec<Group>,
    /// The virtual servers that keepalived makes, in the order of the file.
    pub virtual_servers: Vec<VirtualServer>,
    /// The files of `FILE_CHECK`.
    pub track_files: Vec<TrackFile>,
    /// What `SSL_GET` shows and trusts.
    pub ssl: Option<Ssl>,
    /// The names of the BFD instances.
    pub bfd: Vec<At<String>>,
    /// Each keyword of the LVS half and of the root that stands in the file, with its place; what is in other blocks is not looked at.
    pub keywords: Vec<At<&'static Keyword>>,
}

/// What holds for all virtual servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// `lvs_timeouts tcp`: how long IPVS remembers an idle connection.
    pub tcp_timeout: Option<At<Duration>>,
    /// `lvs_timeouts tcpfin`
    pub tcp_fin_timeout: Option<At<Duration>>,
    /// `lvs_timeouts udp`
    pub udp_timeout: Option<At<Duration>>,
    /// `lvs_notify_fifo`, or `notify_fifo`
    pub notify_fifo: Option<Script>,
    /// `lvs_notify_fifo_script`, or `notify_fifo_script`
    pub notify_fifo_script: Option<Script>,
    /// `script_user`: user and group.
    pub script_user: Option<At<Account>>,
    /// `enable_script_security`
    pub script_security: Option<Place>,
    /// `net_namespace_ipvs`, else `net_namespace`
    pub namespace: Option<At<String>>,
}

/// `virtual_server_group`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: At<String>,
    /// Its lines, none of them wrong.
    pub members: Vec<At<Member>>,
}

/// One line of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// All addresses between two of the same family, both included; one has first and last alike.
    Addresses {
        /// The first one.
        first: IpAddr,
        /// The last one; not below the first.
        last: IpAddr,
        /// Their port; 0 for all.
        port: u16,
    },
    /// Packets with a firewall mark.
    Fwmark {
        /// The mark.
        mark: u32,
        /// The family, if the line gives it.
        family: Option<Family>,
    },
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4
    Inet,
    /// IPv6
    Inet6,
}

/// What a virtual server listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An address and a port; 0 for all.
    Address(IpAddr, u16),
    /// A firewall mark.
    Fwmark(u32),
    /// A group's name; the group may be missing.
    Group(String),
}

/// The protocol of a virtual server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

/// `lvs_method` or `lb_kind`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The server's address is written into the packet.
    Nat,
    /// The packet goes to the server's MAC address.
    Dr,
    /// The packet goes to the server in another one.
    Tun(Tunnel),
}

/// `type` of `TUN`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tunnel {
    /// IP in IP
    Ipip,
    /// Generic UDP encapsulation, to a port.
    Gue(u16, Checksum),
    /// GRE
    Gre(Checksum),
}

/// The checksum of the outer packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// `nocsum`
    #[default]
    None,
    /// `csum`
    Plain,
    /// `remcsum`
    Remote,
}

/// What runs, and who runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The command with its arguments, in one string as in the file, escapes resolved.
    pub command: String,
    /// User and group, if they are named.
    pub account: Option<Account>,
    /// Where the keyword stands.
    pub place: Place,
}

/// A user and perhaps a group, by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: String,
    /// The group; else the user's.
    pub group: Option<String>,
}

/// Which clients are one to persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// A mask of IPv4, as it is written.
    Mask(std::net::Ipv4Addr),
    /// The length of an IPv6 prefix: 1 to 128.
    Prefix(u8),
}

/// Times that are given, and are inherited where they are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// From one probe to the next.
    pub delay_loop: Option<At<Duration>>,
    /// Further probes before a server that was up is down.
    pub retry: Option<At<u32>>,
    /// The pause before each of them.
    pub delay_before_retry: Option<At<Duration>>,
    /// The first probe waits for a random part of it.
    pub warmup: Option<At<Duration>>,
    /// How long a probe may take.
    pub connect_timeout: Option<At<Duration>>,
}

/// `virtual_server`
#[derive(Clone, Debug)]
pub struct VirtualServer {
    /// Where it begins.
    pub place: Place,
    /// What it listens to.
    pub target: Target,
    /// The family, if it is known: by the address, `ip_family` or the first real server.
    pub family: Option<Family>,
    /// `lvs_sched` or `lb_algo`; wlc. The name of a scheduler that keepalived knows.
    pub scheduler: Value<String>,
    /// `flag-1`, `sh-port` …: bits 1, 2 and 3, that is 1, 2 and 4.
    pub flags: Vec<At<u8>>,
    /// `ops`: one-packet scheduling.
    pub ops: Option<Place>,
    /// `lvs_method` or `lb_kind`; NAT.
    pub method: Value<Method>,
    /// `persistence_engine`
    pub engine: Option<At<String>>,
    /// `persistence_timeout`; 360 s without a number, with a granularity, or without a port.
    pub persistence: Option<At<Duration>>,
    /// `persistence_granularity`
    pub granularity: Option<At<Granularity>>,
    /// `protocol`; UDP. None for a firewall mark: all protocols.
    pub protocol: Option<Value<Protocol>>,
    /// `ha_suspend`: no probes while the address is not local.
    pub ha_suspend: Option<Place>,
    /// `virtualhost`
    pub virtualhost: Option<At<String>>,
    /// `alpha`: servers start as failed.
    pub alpha: Option<Place>,
    /// `omega`: the down scripts run at the end.
    pub omega: Option<Place>,
    /// `quorum`; 1, and never more than all weights together.
    pub quorum: Value<u32>,
    /// `hysteresis`; 0, and less than the quorum.
    pub hysteresis: Value<u32>,
    /// `quorum_up`
    pub quorum_up: Option<Script>,
    /// `quorum_down`
    pub quorum_down: Option<Script>,
    /// `sorry_server`
    pub sorry: Option<SorryServer>,
    /// `inhibit_on_failure`
    pub inhibit: Option<Place>,
    /// What its real servers inherit.
    pub timers: Timers,
    /// The real servers; at least one.
    pub real_servers: Vec<RealServer>,
}

/// `sorry_server`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SorryServer {
    /// Where it stands.
    pub place: Place,
    /// Its address.
    pub address: IpAddr,
    /// Its port; the virtual server's if none is given, 0 for the client's own.
    pub port: u16,
    /// `sorry_server_lvs_method`; the virtual server's.
    pub method: Value<Method>,
    /// `sorry_server_inhibit`
    pub inhibit: Option<Place>,
}

/// `real_server`
#[derive(Clone, Debug)]
pub struct RealServer {
    /// Where it begins.
    pub place: Place,
    /// Its address.
    pub address: IpAddr,
    /// Its port; the virtual server's if none is given, 0 for the client's own.
    pub port: u16,
    /// The file names its port.
    pub has_port: bool,
    /// `weight`; the virtual server's; 1. 0 to 2^31-1.
    pub weight: Value<u32>,
    /// `lvs_method`; the virtual server's.
    pub method: Value<Method>,
    /// `uthreshold`; 0: no limit.
    pub upper_threshold: Value<u32>,
    /// `lthreshold`; 0.
    pub lower_threshold: Value<u32>,
    /// `inhibit_on_failure`; the virtual server's.
    pub inhibit: Value<bool>,
    /// `alpha`; the virtual server's.
    pub alpha: Value<bool>,
    /// `notify_up`
    pub notify_up: Option<Script>,
    /// `notify_down`
    pub notify_down: Option<Script>,
    /// `virtualhost`; the virtual server's.
    pub virtualhost: Option<At<String>>,
    /// The checks; the server is up while all of them succeed. None: always.
    pub checks: Vec<Check>,
}

/// One check of a real server.
#[derive(Clone, Debug)]
pub struct Check {
    /// Where it begins.
    pub place: Place,
    /// What is asked.
    pub kind: CheckKind,
    /// Whom, and from where; none for a script, a file or BFD.
    pub connection: Option<Connection>,
    /// When; none for a file or BFD.
    pub timing: Option<Timing>,
    /// `alpha`; the server's.
    pub alpha: Value<bool>,
}

/// Where a check goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `connect_ip`; the server's.
    pub address: Value<IpAddr>,
    /// `connect_port`; the server's.
    pub port: Value<u16>,
    /// `bindto`
    pub bind_address: Option<At<IpAddr>>,
    /// `bind_port`
    pub bind_port: Option<At<u16>>,
    /// `bind_if`
    pub bind_interface: Option<At<String>>,
    /// `fwmark` of the probes.
    pub mark: Option<At<u32>>,
    /// `connect_timeout`; 5 s.
    pub timeout: Value<Duration>,
}

/// When a check goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// `delay_loop`; 60 s.
    pub interval: Value<Duration>,
    /// `retry`; 1, for DNS 3, for a script 0.
    pub retry: Value<u32>,
    /// `delay_before_retry`; 1 s, for HTTP 3 s, for DNS the interval.
    pub retry_delay: Value<Duration>,
    /// `warmup`; the interval.
    pub warmup: Value<Duration>,
}

/// The kinds of checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A connection can be made.
    Tcp,
    /// A datagram is answered, or at least not refused.
    Udp {
        /// What is sent; else 32 bytes of keepalived's choice.
        payload: Option<At<Vec<u8>>>,
        /// `require_reply`: an answer must come, and look like this.
        reply: Option<At<Pattern>>,
        /// The least bytes of an answer; heeded only with a pattern.
        least: Value<u16>,
        /// The most bytes of an answer; heeded only with a pattern.
        most: Value<u16>,
    },
    /// An echo comes back.
    Ping,
    /// A question is answered without an error.
    Dns {
        /// `type`; SOA. In upper case.
        record: Value<String>,
        /// `name`; the root, `.`.
        name: Value<String>,
    },
    /// A script says so.
    Misc {
        /// `misc_path`, run as `user`.
        script: Script,
        /// `misc_timeout`; the interval.
        timeout: Value<Duration>,
        /// `misc_dynamic`: its status sets the weight.
        dynamic: Option<Place>,
    },
    /// Pages are there.
    Http {
        /// `SSL_GET`
        tls: bool,
        /// `http_protocol` in upper case: `1.0`, `1.0C` or `1.1`; `1.0`.
        version: Value<String>,
        /// `virtualhost`; the server's.
        virtualhost: Option<At<String>>,
        /// `enable_sni`
        sni: Value<bool>,
        /// `sni_name`
        sni_name: Option<At<String>>,
        /// The pages; at least one.
        urls: Vec<Url>,
    },
    /// A mail server greets.
    Smtp {
        /// `helo_name`
        helo: Option<At<String>>,
    },
    /// A number in a file changes the weight, or says down.
    File {
        /// The name of a [`TrackFile`].
        track_file: At<String>,
        /// What the number is multiplied with, here or at the file; 0: any number but 0 says down.
        weight: Value<i64>,
    },
    /// A BFD session is up.
    Bfd {
        /// The name of an instance.
        name: At<String>,
    },
}

/// What the first bytes of an answer must be: each byte with a mask of the bits that count. Empty: any answer will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern(pub Vec<(u8, u8)>);

/// `url`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Where it begins.
    pub place: Place,
    /// `path`
    pub path: At<String>,
    /// `digest`: the MD5 sum of the page, 32 digits.
    pub digest: Option<At<String>>,
    /// `status_code`: ranges, both ends included; 200 to 299.
    pub statuses: Vec<(u16, u16)>,
    /// `virtualhost`
    pub virtualhost: Option<At<String>>,
    /// `regex`
    pub regex: Option<At<String>>,
    /// `regex_no_match`
    pub regex_no_match: Option<Place>,
    /// `regex_options`
    pub regex_options: Vec<At<String>>,
    /// `regex_min_offset`
    pub regex_min_offset: Option<At<u32>>,
    /// `regex_max_offset`
    pub regex_max_offset: Option<At<u32>>,
}

/// `track_file`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFile {
    /// Its name.
    pub name: At<String>,
    /// The file.
    pub path: At<String>,
    /// `weight`; 1, as keepalived 2.2.7 has it, whatever its manual says. Negative with `reverse`.
    pub weight: Value<i64>,
}

/// `SSL`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssl {
    /// `password` of the key.
    pub password: Option<At<String>>,
    /// `ca`: a file.
    pub ca: Option<At<String>>,
    /// `certificate`: a file.
    pub certificate: Option<At<String>>,
    /// `key`: a file.
    pub key: Option<At<String>>,
}

impl<T> Value<T> {
    pub(super) fn default(value: T) -> Self {
        Self { value, place: None }
    }
}

impl<T> From<At<T>> for Value<T> {
    fn from(at: At<T>) -> Self {
        Self { value: at.value, place: Some(at.place) }
    }
}

impl Script {
    /// The program and its arguments: the words of the command. None if a quote in it has no end.
    pub fn arguments(&self) -> Option<Vec<String>> {
        arguments(&self.command)
    }
}

impl RealServer {
    /// Whether one of its checks asks over HTTP, so that `virtualhost` is more than a label.
    pub fn asks_http(&self) -> bool {
        self.checks.iter().any(|check| matches!(check.kind, CheckKind::Http { .. }))
    }
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Inet } else { Self::Inet6 }
    }
}

impl Method {
    /// Whether the server's port is that of the packet: only NAT can change it.
    pub fn keeps_port(self) -> bool {
        self != Self::Nat
    }

    /// Whether it is a tunnel, whose server may be of the other family.
    pub fn is_tunnel(self) -> bool {
        matches!(self, Self::Tun(_))
    }
}
