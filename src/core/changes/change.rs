//! One change, as data and as a line.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use crate::core::difference::Difference;
use crate::core::model::Vip;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happens to it.
    pub change: Kind,
    /// What changes.
    #[serde(flatten)]
    pub object: Object,
    /// The fields that change, or those of a new thing; empty where there is nothing to tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What it costs, or what comes later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What happens to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is added.
    Add,
    /// It is changed in place.
    Change,
    /// It is removed.
    Remove,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "object", rename_all = "snake_case")]
pub enum Object {
    /// An IPVS service.
    Service {
        /// Its name in the config; none if it is not there.
        service: Option<String>,
        /// Where it listens.
        vip: Vip,
    },
    /// A server.
    Server {
        /// The name of its service in the config; none if it is not there.
        service: Option<String>,
        /// Where its service listens.
        vip: Vip,
        /// The server.
        server: SocketAddr,
    },
    /// Connection entries of an OPS service, which is to have none.
    ConnectionEntries {
        /// The name of the service in the config.
        service: String,
        /// Where it listens.
        vip: Vip,
    },
    /// The rule that keeps requests to a VIP untracked.
    RequestRule {
        /// VIP and port.
        vip: SocketAddr,
    },
    /// The rule that lets the replies of a server leave from a VIP.
    ReplyRule {
        /// The server.
        server: SocketAddr,
    },
    /// The rule that keeps the outer packets of a tunnel untracked.
    TunnelRule {
        /// Where the tunnel ends, with a port where it is UDP.
        to: String,
    },
    /// The rules for the ICMP errors by which servers refuse client traffic.
    RefusalRules,
    /// The tables of the rules, where somebody else has changed them.
    Tables,
    /// A sysctl.
    Sysctl {
        /// Its name.
        key: String,
    },
}

impl Change {
    /// A sysctl gets another value.
    pub fn sysctl(key: &str, old: &str, new: &str, why: &str) -> Self {
        let difference = Difference { field: "value", old: Some(old.to_owned()), new: new.to_owned() };
        Self {
            change: Kind::Change,
            object: Object::Sysctl { key: key.to_owned() },
            differences: vec![difference],
            note: Some(why.to_owned()),
        }
    }
}

impl fmt::Display for Change {
    /// One line: `~ server 10.0.1.11:53 of dns at 192.0.2.53:53: weight 1 → 5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.change {
            Kind::Add => '+',
            Kind::Change => '~',
            Kind::Remove => '-',
        };
        write!(f, "{sign} {}", self.object)?;
        for (place, difference) in self.differences.iter().enumerate() {
            write!(f, "{}{difference}", if place == 0 { ": " } else { ", " })?;
        }
        match &self.note {
            Some(note) => write!(f, " ({note})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { service: Some(name), vip } => write!(f, "service {name} at {vip}"),
            Self::Service { service: None, vip } => write!(f, "service at {vip}"),
            Self::Server { service: Some(name), vip, server } => {
                write!(f, "server {server} of {name} at {vip}")
            }
            Self::Server { service: None, vip, server } => write!(f, "server {server} at {vip}"),
            Self::ConnectionEntries { service, vip } => {
                write!(f, "connection entries of {service} at {vip}")
            }
            Self::RequestRule { vip } => write!(f, "request rule of {vip}"),
            Self::ReplyRule { server } => write!(f, "reply rule of {server}"),
            Self::TunnelRule { to } => write!(f, "tunnel rule of {to}"),
            Self::RefusalRules => f.write_str("rules for refusals"),
            Self::Tables => f.write_str("tables of the rules"),
            Self::Sysctl { key } => write!(f, "sysctl {key}"),
        }
    }
}
