//! The settings of IPVS in `/proc/sys/net/ipv4/vs`, of one network namespace each: their names, what they hold, and what
//! the kernel takes. Reading and writing the files is left to the caller.
//!
//! ```
//! use ipvs_netlink::sysctl;
//!
//! // What was read from the file sysctl::SYNC_THRESHOLD.path() …
//! assert_eq!(sysctl::SYNC_THRESHOLD.parse("3\t50\n")?, [3, 50]);
//! // … and what is to be written to sysctl::DROP_PACKET.path().
//! assert_eq!(sysctl::DROP_PACKET.format(&3)?, "3");
//! assert!(sysctl::DROP_PACKET.format(&4).is_err());
//! # Ok::<(), sysctl::InvalidValue>(())
//! ```

mod value;

pub use value::{CpuList, Value};

/// One setting, which holds a `T`.
#[derive(Clone, Copy, Debug)]
pub struct Sysctl<T> {
    /// The file's name.
    pub name: &'static str,
    /// The first kernel that has it, of those that this library is tested with: 5.10, 6.1, 6.12 and 7.2.
    pub since: (u16, u16),
    /// What the kernel takes, in words.
    pub allowed: &'static str,
    fits: fn(&T) -> bool,
}

/// Text that is no value of a setting, or a value that the kernel would not take (EINVAL).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("net.ipv4.vs.{name} cannot be `{value}`: it is {allowed}")]
pub struct InvalidValue {
    /// The file's name.
    pub name: &'static str,
    /// The text, or the value as text.
    pub value: String,
    /// What the kernel takes, in words.
    pub allowed: &'static str,
}

impl<T: Value> Sysctl<T> {
    /// Where it is: a thread sees those of its own network namespace.
    pub fn path(&self) -> String {
        format!("/proc/sys/net/ipv4/vs/{}", self.name)
    }

    /// The value that the file's text stands for.
    pub fn parse(&self, text: &str) -> Result<T, InvalidValue> {
        T::read(text.trim()).ok_or_else(|| self.invalid(text.trim().to_owned()))
    }

    /// What to write for `value`.
    pub fn format(&self, value: &T) -> Result<String, InvalidValue> {
        let text = value.write();
        if (self.fits)(value) { Ok(text) } else { Err(self.invalid(text)) }
    }

    fn invalid(&self, value: String) -> InvalidValue {
        InvalidValue { name: self.name, value, allowed: self.allowed }
    }
}

/// Defines the settings and [`NAMES`].
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $constant:ident: $value:ty = $name:literal, $since:expr, $allowed:expr;)+) => {
        $(
            $(#[doc = $doc])+
            pub const $constant: Sysctl<$value> = {
                let (allowed, fits): (&'static str, fn(&$value) -> bool) = $allowed;
                Sysctl { name: $name, since: $since, allowed, fits }
            };
        )+

        /// The names of all settings, each with the first kernel that has it, as in [`Sysctl::since`].
        pub const NAMES: &[(&str, (u16, u16))] = &[$(($name, $since)),+];
    };
}

/// The kernel takes any number, and only whether it is 0 counts.
const SWITCH: (&str, fn(&bool) -> bool) = ("0 or 1", |_| true);
/// A number of the kernel's `int`.
const ANY: (&str, fn(&i32) -> bool) = ("a whole number of 32 bits", |_| true);
/// The modes of the defences.
const MODE: (&str, fn(&i32) -> bool) = ("0 to 3", |mode| (0..=3).contains(mode));
/// Seconds, which the kernel keeps as ticks of its clock, of which there are at most 1000 in a second.
const SECONDS: (&str, fn(&i32) -> bool) =
    ("0 to 2147483 seconds", |seconds| (0..=i32::MAX / 1000).contains(seconds));
/// How much larger (below 0) or smaller (above 0) a table is than what it holds, as a power of 2.
const FACTOR: (&str, fn(&i32) -> bool) = ("-8 to 8", |factor| (-8..=8).contains(factor));

settings! {
    /// The rate of the mode 3 of [`DROP_PACKET`]: one packet in so many is dropped. 10 unless set.
    AM_DROPRATE: i32 = "am_droprate", (5, 10), ANY;
    /// The pages of memory below which the automatic modes of defence act. 1024 unless set.
    AMEMTHRESH: i32 = "amemthresh", (5, 10), ANY;
    /// While a backup sync daemon runs, IPVS leaves all packets alone. Off unless set.
    BACKUP_ONLY: bool = "backup_only", (5, 10), SWITCH;
    /// Packets for a mark without a server go to where they are addressed. Off unless set.
    CACHE_BYPASS: bool = "cache_bypass", (5, 10), SWITCH;
    /// The load of the table of connection entries. -4 unless set.
    CONN_LFACTOR: i32 = "conn_lfactor", (7, 2), FACTOR;
    /// The most connection entries; one-packet scheduling counts, and 0 drops every packet.
    CONN_MAX: i32 = "conn_max", (7, 2), ("0 to 1073741824", |most| (0..=1 << 30).contains(most));
    /// What a client's port that is used again does: bit 1 reschedules, bit 2 also after a FIN. 1 unless set.
    CONN_REUSE_MODE: i32 = "conn_reuse_mode", (5, 10), ANY;
    /// Keep conntrack's entries for IPVS's connections. Off unless set.
    CONNTRACK: bool = "conntrack", (5, 10), SWITCH;
    /// How much the kernel logs; only where it is built with CONFIG_IP_VS_DEBUG. 0 unless set.
    DEBUG_LEVEL: i32 = "debug_level", (5, 10), ANY;
    /// Drop connection entries when memory is short: 0 never, 1 and 2 as needed (the
    /// kernel turns one into the other), 3 always.
    DROP_ENTRY: i32 = "drop_entry", (5, 10), MODE;
    /// Drop packets that would make a connection entry when memory is short: 0 never, 1 and 2 as needed (the
    /// kernel turns one into the other), 3 always.
    DROP_PACKET: i32 = "drop_packet", (5, 10), MODE;
    /// The processors that the threads of the estimator may use; none stops the estimation.
    EST_CPULIST: CpuList = "est_cpulist", (6, 12), ("a list of processors such as 0-3,6", |_| true);
    /// The niceness of the estimator's threads. 0 unless set.
    EST_NICE: i32 = "est_nice", (6, 12), ("-20 to 19", |nice| (-20..=19).contains(nice));
    /// A packet of an entry whose server is deleted ends the entry; otherwise it is dropped. Off unless set.
    EXPIRE_NODEST_CONN: bool = "expire_nodest_conn", (5, 10), SWITCH;
    /// Persistence ends when the server's weight is 0. Off unless set.
    EXPIRE_QUIESCENT_TEMPLATE: bool = "expire_quiescent_template", (5, 10), SWITCH;
    /// Packets of protocols that IPVS does not know pass it by. Off unless set.
    IGNORE_TUNNELED: bool = "ignore_tunneled", (5, 10), SWITCH;
    /// The seconds after which the scheduler `lblc` forgets a client; only where its module is loaded. 86400 unless set.
    LBLC_EXPIRATION: i32 = "lblc_expiration", (5, 10), SECONDS;
    /// The seconds after which the scheduler `lblcr` forgets a client; only where its module is loaded. 86400 unless set.
    LBLCR_EXPIRATION: i32 = "lblcr_expiration", (5, 10), SECONDS;
    /// ICMP port unreachable for packets from a server that belong to no entry: under one-packet scheduling with
    /// masquerading, that is every reply. Off unless set.
    NAT_ICMP_SEND: bool = "nat_icmp_send", (5, 10), SWITCH;
    /// ICMP fragmentation needed for a packet that is too long for the way to the server. On unless cleared.
    PMTU_DISC: bool = "pmtu_disc", (5, 10), SWITCH;
    /// Estimate rates and take snapshots of the counters: off, they stand still. On unless cleared.
    RUN_ESTIMATION: bool = "run_estimation", (6, 1), SWITCH;
    /// Schedule ICMP packets, too. Off unless set.
    SCHEDULE_ICMP: bool = "schedule_icmp", (5, 10), SWITCH;
    /// A stricter table of TCP states when memory is short: 0 never, 1 and 2 as needed (the
    /// kernel turns one into the other), 3 always.
    SECURE_TCP: i32 = "secure_tcp", (5, 10), MODE;
    /// Any SCTP packet may make a connection entry. Off unless set.
    SLOPPY_SCTP: bool = "sloppy_sctp", (5, 10), SWITCH;
    /// Any TCP packet may make a connection entry. Off unless set.
    SLOPPY_TCP: bool = "sloppy_tcp", (5, 10), SWITCH;
    /// Replies are routed again from the VIP. On unless cleared.
    SNAT_REROUTE: bool = "snat_reroute", (5, 10), SWITCH;
    /// The load of the table of services. -3 unless set.
    SVC_LFACTOR: i32 = "svc_lfactor", (7, 2), FACTOR;
    /// 1: of persistent services, sync the templates alone. 0 unless set.
    SYNC_PERSIST_MODE: i32 = "sync_persist_mode", (5, 10), ANY;
    /// How many threads and ports the sync daemons use. 1 unless set.
    SYNC_PORTS: i32 = "sync_ports", (5, 10), ("a power of 2", |ports| *ports > 0 && ports.count_ones() == 1);
    /// The most sync messages that wait to be sent.
    SYNC_QLEN_MAX: u64 = "sync_qlen_max", (5, 10), ("a whole number, not negative", |_| true);
    /// An entry whose timer differs by so many seconds from what was last synced is synced again; 0 is off.
    SYNC_REFRESH_PERIOD: i32 = "sync_refresh_period", (5, 10), SECONDS;
    /// How often a sync is repeated. 0 unless set.
    SYNC_RETRIES: i32 = "sync_retries", (5, 10), MODE;
    /// The sync sockets' buffer in bytes; 0 is the system's own.
    SYNC_SOCK_SIZE: i32 = "sync_sock_size", (5, 10), ANY;
    /// An entry is synced when it has this many packets, and again every so many. 3 and 50 unless set.
    SYNC_THRESHOLD: [i32; 2] = "sync_threshold", (5, 10), (
        "two whole numbers, not negative, the first below the second unless that is 0",
        |[threshold, period]| *threshold >= 0 && *period >= 0 && (threshold < period || *period == 0),
    );
    /// The version of the sync protocol that is sent. 1 unless set.
    SYNC_VERSION: i32 = "sync_version", (5, 10), ("0 or 1", |version| (0..=1).contains(version));
}

#[cfg(test)]
mod tests;
