//! `source`, `interface` and `mark`: where the probes of a check come from.

use std::net::{IpAddr, SocketAddr};

use super::super::address;
use super::super::draft::{At, Field};
use super::super::report::Problems;
use super::super::toml_table::{Table, Value, place};
use super::super::toml_value::{number, string};
use crate::core::model::{Origin, Probe};

/// The keys of all types whose probes go over the network.
pub const KEYS: [&str; 3] = ["source", "interface", "mark"];

/// The kernel's names of interfaces are shorter than this (`IFNAMSIZ`).
const NAME: usize = 16;

/// The draft of an origin.
#[derive(Debug)]
pub struct Draft {
    /// Port 0 where none is given.
    pub source: Field<SocketAddr>,
    pub interface: Field<String>,
    pub mark: Field<i64>,
}

impl Draft {
    pub fn read(table: &Table<'_>, problems: &mut Problems) -> Self {
        Self {
            source: table.get("source", problems, source),
            interface: table.get("interface", problems, string),
            mark: table.get("mark", problems, number),
        }
    }

    /// The origin of this probe; none if there is an error.
    pub fn judge(&self, probe: Option<&Probe>, problems: &mut Problems) -> Option<Origin> {
        let source = match &self.source {
            Field::Missing => Some(None),
            Field::Broken => None,
            Field::Given(at) => judge_source(at, probe, problems).map(Some),
        };
        let interface = match &self.interface {
            Field::Missing => Some(None),
            Field::Broken => None,
            Field::Given(at) if is_name(&at.value) => Some(Some(at.value.clone())),
            Field::Given(at) => {
                problems
                    .error(at.place, format!("`{}` is not the name of an interface", at.value))
                    .help("as `ip link` has it: \"eth1\"");
                None
            }
        };
        let mark = match &self.mark {
            Field::Missing => Some(None),
            Field::Broken => None,
            Field::Given(at) => at.within("`mark`", 0..=u32::MAX, problems).map(Some),
        };
        Some(Origin { source: source?, interface: interface?, mark: mark? })
    }
}

/// An address, perhaps with a port.
fn source(value: Value<'_>, problems: &mut Problems) -> Option<SocketAddr> {
    let word = string(value, problems)?;
    let address = word.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    let address = address.or_else(|_| word.parse()).ok();
    if address.is_none() {
        problems
            .error(place(value), format!("`{word}` is not an address, nor one with a port"))
            .help("written `192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1` or `[2001:db8::1]:5000`");
    }
    address
}

fn judge_source(at: &At<SocketAddr>, probe: Option<&Probe>, problems: &mut Problems) -> Option<SocketAddr> {
    address::judge("the source", at.value.ip(), at.place, problems);
    let why = match probe {
        Some(Probe::Icmp) => "a ping comes from no port",
        Some(Probe::Tftp(_)) => "a `tftp` probe needs a port of its own: its answer may come from any",
        _ => return Some(at.value),
    };
    if at.value.port() > 0 {
        problems.error(at.place, why).help(format!("`source = \"{}\"`", at.value.ip()));
    }
    Some(at.value)
}

/// As the kernel's `dev_valid_name` has it.
fn is_name(name: &str) -> bool {
    let odd = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace();
    (1..NAME).contains(&name.len()) && name != "." && name != ".." && !name.contains(odd)
}
