//! What there is to say about a file: what `keepalived -t` complains of, and what it passes over in silence.

use serde::Serialize;

use super::place::Place;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// keepalived does not do what the file says; `keepalived -t` complains.
    Error,
    /// keepalived fills something in, or changes it, as it always does; `keepalived -t` complains.
    Warning,
    /// `keepalived -t` says nothing; whoever reads the file should know.
    Note,
}

/// Which rule of keepalived a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A limit of this parser is reached; the rest of the file is not read.
    Limit,
    /// A file that may be missing is not there.
    Include,
    /// A file could not be read, or is missing where the include demands it: keepalived does not start.
    Unread,
    /// A quote has no end, or a file is not text.
    Text,
    /// A `~SEQ` or `~LST` that cannot be.
    Generator,
    /// A brace too many, missing, or where none belongs.
    Brace,
    /// No keyword of this block.
    UnknownKeyword,
    /// A keyword of versions after 2.2.7.
    NewKeyword,
    /// A keyword without its value: keepalived gives the whole file up.
    MissingValue,
    /// A value that is none for this keyword.
    BadValue,
    /// A keyword that has an effect only after another one.
    Order,
    /// A script that is given twice: the first one holds.
    SecondScript,
    /// A block that lacks what it needs, and is ignored.
    Incomplete,
    /// No scheduler: wlc.
    NoScheduler,
    /// No protocol: UDP.
    NoProtocol,
    /// No forwarding method: NAT.
    NoForwarding,
    /// A protocol for a firewall mark.
    ProtocolIgnored,
    /// One-packet scheduling without UDP.
    OpsNeedsUdp,
    /// No port without persistence.
    ZeroPort,
    /// A quorum above the sum of the weights.
    Quorum,
    /// A hysteresis that is not below the quorum.
    Hysteresis,
    /// A real server twice.
    DuplicateServer,
    /// A virtual server without real servers.
    NoServers,
    /// Another port than the virtual server's where the method cannot change it.
    PortReset,
    /// Another address family than the virtual server's.
    Family,
    /// `ha_suspend` for a firewall mark.
    HaSuspend,
    /// A check that names something that is not there.
    UnknownName,
    /// A check that can never succeed.
    NeverSucceeds,
    /// A keyword with a newer name.
    Deprecated,
}

/// One thing to say, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which rule it is about.
    pub rule: Rule,
    /// Where.
    pub place: Place,
    /// What is wrong, and what keepalived makes of it.
    pub message: String,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn error(&mut self, rule: Rule, place: Place, message: impl Into<String>) {
        self.add(Severity::Error, rule, place, message.into());
    }

    pub fn warning(&mut self, rule: Rule, place: Place, message: impl Into<String>) {
        self.add(Severity::Warning, rule, place, message.into());
    }

    pub fn note(&mut self, rule: Rule, place: Place, message: impl Into<String>) {
        self.add(Severity::Note, rule, place, message.into());
    }

    /// So many are kept: a file that is no keepalived.conf has one for each of its words.
    const MOST: usize = 10_000;

    fn add(&mut self, severity: Severity, rule: Rule, place: Place, message: String) {
        if self.0.len() < Self::MOST {
            let message =
                if message.contains(char::is_control) { message.escape_debug().to_string() } else { message };
            self.0.push(Finding { severity, rule, place, message });
        }
    }
}
