//! Why a probe failed, in the words of the log.

use std::fmt;
use std::time::Duration;

use nix::errno::Errno;

use crate::core::probes::Ended;

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came within the check's timeout.
    NoAnswer(Duration),
    /// The same, but something came that was no answer to this probe: late, forged, or for somebody else.
    OnlyStrays(Duration),
    /// An ICMP error came back for the probe.
    Icmp(Unreachable),
    /// A TCP connection was refused or broken, or not made.
    Connection(Errno),
    /// The answer is not the one that the check asks for; says what is wrong with it.
    WrongAnswer(String),
    /// Something else; says what.
    Said(String),
    /// The kernel refused to send the probe (no route, a firewall of the director, …).
    NotSent(Errno),
}

/// What an ICMP or ICMPv6 error said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Nobody listens on the port.
    Port,
    /// The host does not answer ARP or neighbour discovery, or a router says so.
    Host,
    /// No route to the server's network.
    Net,
    /// A firewall said no.
    Prohibited,
    /// Another error, by its ICMP type and code.
    Other(u8, u8),
}

/// What sort of failure it is: the same server may answer wrongly in other words each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Silence.
    Silence,
    /// An ICMP error.
    Icmp(Unreachable),
    /// A broken connection.
    Connection(Errno),
    /// A wrong answer, or what the server says of itself.
    Answer,
    /// The way there.
    NotSent(Errno),
}

impl Failure {
    /// Its sort.
    pub fn sort(&self) -> Sort {
        match self {
            Self::NoAnswer(_) | Self::OnlyStrays(_) => Sort::Silence,
            Self::Icmp(what) => Sort::Icmp(*what),
            Self::Connection(errno) => Sort::Connection(*errno),
            Self::WrongAnswer(_) | Self::Said(_) => Sort::Answer,
            Self::NotSent(errno) => Sort::NotSent(*errno),
        }
    }

    /// What it counts as.
    pub fn ended(&self) -> Ended {
        match self {
            Self::NoAnswer(_) | Self::OnlyStrays(_) => Ended::NoAnswer,
            Self::WrongAnswer(_) | Self::Said(_) => Ended::WrongAnswer,
            Self::Icmp(Unreachable::Port) | Self::Connection(Errno::ECONNREFUSED) => Ended::Refused,
            Self::Icmp(Unreachable::Host | Unreachable::Net)
            | Self::Connection(Errno::EHOSTUNREACH | Errno::ENETUNREACH)
            | Self::NotSent(Errno::EHOSTUNREACH | Errno::ENETUNREACH) => Ended::Unreachable,
            Self::Icmp(Unreachable::Prohibited) => Ended::Prohibited,
            Self::Icmp(Unreachable::Other(..)) | Self::Connection(_) => Ended::Error,
            Self::NotSent(_) => Ended::NotSent,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(timeout) => write!(f, "no answer within {}", humantime::format_duration(*timeout)),
            Self::OnlyStrays(timeout) => write!(
                f,
                "no answer within {} (what came was no answer to this probe)",
                humantime::format_duration(*timeout)
            ),
            Self::Icmp(Unreachable::Port) => f.write_str("refused (ICMP port unreachable)"),
            Self::Icmp(Unreachable::Host) => f.write_str("host unreachable (ICMP)"),
            Self::Icmp(Unreachable::Net) => f.write_str("network unreachable (ICMP)"),
            Self::Icmp(Unreachable::Prohibited) => f.write_str("administratively prohibited (ICMP)"),
            Self::Icmp(Unreachable::Other(kind, code)) => write!(f, "ICMP error (type {kind}, code {code})"),
            Self::Connection(Errno::ECONNREFUSED) => f.write_str("connection refused"),
            Self::Connection(Errno::ECONNRESET | Errno::EPIPE) => f.write_str("connection reset"),
            Self::Connection(Errno::EHOSTUNREACH) => f.write_str("host unreachable"),
            Self::Connection(Errno::ENETUNREACH) => f.write_str("network unreachable"),
            Self::Connection(errno) => write!(f, "no connection: {}", errno.desc()),
            Self::WrongAnswer(what) => write!(f, "wrong answer: {what}"),
            Self::Said(what) => f.write_str(what),
            Self::NotSent(errno @ Errno::EPERM) => {
                write!(f, "the probe cannot be sent: {} (a firewall rule on the director?)", errno.desc())
            }
            Self::NotSent(errno) => write!(f, "the probe cannot be sent: {}", errno.desc()),
        }
    }
}
