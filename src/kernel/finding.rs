//! One thing that is not as it must be, by a short name that stays: what was seen, what follows, what to do.
//! `docs/troubleshooting.md` says more of each.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Datagrams are lost, or answered by the wrong server or from the wrong address.
    Error,
    /// This may come, or less works than could.
    Warning,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name.
    pub id: Id,
    /// How bad it is.
    pub severity: Severity,
    /// What was read: the rule, the route, the key and its value.
    pub seen: String,
    /// What comes of it.
    pub follows: String,
    /// What to do; commands where there are some.
    pub cure: String,
}

impl Finding {
    /// An error.
    pub fn error(id: Id, seen: String, follows: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { id, severity: Severity::Error, seen, follows: follows.into(), cure: cure.into() }
    }

    /// A warning.
    pub fn warning(id: Id, seen: String, follows: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(id, seen, follows, cure) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.seen, self.follows, self.cure)
    }
}

macro_rules! ids {
    ($($variant:ident $name:literal,)*) => {
        /// The names of all findings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub enum Id {
            $(
                #[doc = concat!("`", $name, "`")]
                #[serde(rename = $name)]
                $variant,
            )*
        }

        impl Id {
            /// Every one.
            pub const ALL: &[Id] = &[$(Id::$variant,)*];

            /// As it is printed.
            pub fn name(self) -> &'static str {
                match self {
                    $(Id::$variant => $name,)*
                }
            }
        }
    };
}

ids! {
    NoIpvs "no-ipvs",
    OldKernel "old-kernel",
    NoNft "no-nft",
    NatIcmpSend "nat-icmp-send",
    DropPacket "drop-packet",
    BackupOnly "backup-only",
    ScheduleIcmp "schedule-icmp",
    ConnMax "conn-max",
    RunEstimation "run-estimation",
    ForwardingOff "forwarding-off",
    RpFilter "rp-filter",
    SendRedirects "send-redirects",
    Keepalived "keepalived",
    VipAbsent "vip-absent",
    ServiceMissing "service-missing",
    NoOps "no-ops",
    Scheduler "scheduler",
    NoWeight "no-weight",
    DeadSlot "dead-slot",
    SharedServer "shared-server",
    LoopbackServer "loopback-server",
    PinnedClients "pinned-clients",
    ReplyRules "reply-rules",
    ReplySnat "reply-snat",
    ForeignRewrite "foreign-rewrite",
    TrackedClients "tracked-clients",
    DropsRequests "drops-requests",
    DropsScheduled "drops-scheduled",
    DropsReplies "drops-replies",
    NoRoute "no-route",
    SharedSegment "shared-segment",
    GroForwarding "gro-forwarding",
    OneQueue "one-queue",
    LostBeforeInput "lost-before-input",
    LostAtInput "lost-at-input",
    LostInIpvs "lost-in-ipvs",
    LostAtOutput "lost-at-output",
    ServerRefuses "server-refuses",
    ServerSilent "server-silent",
    Bypass "bypass",
    LostInRouting "lost-in-routing",
    LostAtForward "lost-at-forward",
    NotRewritten "not-rewritten",
    LostToClient "lost-to-client",
}
