//! Two configurations of one thing, field by field, in the words of the config.

use std::fmt;
use std::net::Ipv4Addr;

use ipvs_netlink::{
    DestinationConfig, Family, Flags, Forward, Netmask, ServiceConfig, TunnelChecksum, TunnelKind,
};
use serde::Serialize;

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name.
    pub field: &'static str,
    /// Its value; none where the thing is new.
    pub old: Option<String>,
    /// The value that it gets.
    pub new: String,
}

impl fmt::Display for Difference {
    /// `weight 1 → 5`, or for a new thing `weight 5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.old {
            Some(old) => write!(f, "{} {old} → {}", self.field, self.new),
            None => write!(f, "{} {}", self.field, self.new),
        }
    }
}

type Field = (&'static str, String);

/// What a new thing has unless it is said.
const DEFAULTS: [(&str, &str); 7] = [
    ("OPS", "off"),
    ("flags", "0x0"),
    ("persistence", "0 s"),
    ("netmask", "the whole address"),
    ("persistence engine", "none"),
    ("upper threshold", "0"),
    ("lower threshold", "0"),
];

/// The fields of a service that differ; where there is no `old` one, all that is not as by default.
pub fn of_service(old: Option<&ServiceConfig>, new: &ServiceConfig) -> Vec<Difference> {
    compare(old.map(service), service(new))
}

/// The fields of a server that differ; where there is no `old` one, all that is not as by default.
pub fn of_server(old: Option<&DestinationConfig>, new: &DestinationConfig) -> Vec<Difference> {
    compare(old.map(server), server(new))
}

fn compare<const N: usize>(old: Option<[Field; N]>, new: [Field; N]) -> Vec<Difference> {
    match old {
        Some(old) => {
            let different = old.into_iter().zip(new).filter(|(old, new)| old != new);
            different.map(|((field, old), (_, new))| Difference { field, old: Some(old), new }).collect()
        }
        None => {
            let said = new.into_iter().filter(|(field, value)| !DEFAULTS.contains(&(*field, value.as_str())));
            said.map(|(field, new)| Difference { field, old: None, new }).collect()
        }
    }
}

fn service(config: &ServiceConfig) -> [Field; 6] {
    let ops = if config.flags.contains(Flags::ONE_PACKET) { "on" } else { "off" };
    // HASHED is the kernel's own.
    let others = config.flags.value & !(Flags::HASHED | Flags::ONE_PACKET);
    let netmask = match config.netmask {
        whole if [Family::Inet, Family::Inet6].map(Netmask::host).contains(&whole) => {
            "the whole address".to_owned()
        }
        Netmask::V4(mask) => Ipv4Addr::from(mask).to_string(),
        Netmask::V6(length) => format!("/{length}"),
    };
    [
        ("scheduler", config.scheduler.to_string()),
        ("OPS", ops.to_owned()),
        ("flags", format!("{others:#x}")),
        ("persistence", format!("{} s", config.timeout)),
        ("netmask", netmask),
        (
            "persistence engine",
            config.persistence_engine.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
        ),
    ]
}

fn server(config: &DestinationConfig) -> [Field; 4] {
    [
        ("forward", forward(config.forward)),
        ("weight", config.weight.to_string()),
        ("upper threshold", config.upper_threshold.to_string()),
        ("lower threshold", config.lower_threshold.to_string()),
    ]
}

/// How packets reach a server, in words.
pub fn forward(forward: Forward) -> String {
    match forward {
        Forward::Masquerade => "nat".to_owned(),
        Forward::Direct => "direct".to_owned(),
        Forward::Tunnel(tunnel) => {
            let kind = match tunnel.kind {
                TunnelKind::Ipip => "ipip".to_owned(),
                TunnelKind::Gue { port } => format!("gue to port {port}"),
                TunnelKind::Gre => "gre".to_owned(),
                other => format!("{other:?}"),
            };
            match tunnel.checksum {
                TunnelChecksum::None => format!("tunnel ({kind})"),
                checksum => format!("tunnel ({kind}, checksum {checksum:?})").to_lowercase(),
            }
        }
        other => format!("{other:?}"),
    }
}
