//! `ipvsd doctor`: why it does not work, and what to do.
//!
//! ```text
//! kernel, nft, iptables, ip, ethtool ──facts──> Facts ──┐
//! config ────────────────────────────────────────────────┴─judge──> findings
//! a datagram through the VIP (--probe) ──probe──> what each hop counted ──judge──> findings
//! ```
//! The judges are pure. Reading changes nothing; only the probe makes something, and takes it away again.

mod facts;
mod judge;
mod probe;
mod program;

use std::cell::RefCell;

use serde::Serialize;

use crate::core::model::Config;
use crate::kernel::finding::Finding;
use facts::Facts;

/// What was found, the worst first, and what could not be looked for.
#[derive(Debug)]
pub struct Report {
    /// The kernel and IPVS that were looked at.
    pub kernel: String,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is not known.
    pub skipped: Vec<Skipped>,
    /// What the probe did, a line each.
    pub probed: Vec<String>,
    /// The probe was asked for, and could not be made.
    pub unprobed: bool,
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Skipped {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// What is being looked at, for those who wait.
#[derive(Debug, Default)]
pub struct Progress(RefCell<String>);

impl Progress {
    fn step(&self, what: impl Into<String>) {
        *self.0.borrow_mut() = what.into();
    }

    /// What is being looked at now.
    pub fn now(&self) -> String {
        self.0.borrow().clone()
    }
}

/// Looks at all services of `config`, or at the one of this name; with `probe` also sends datagrams through their VIPs. If the
/// future is dropped, what the probe made is taken away.
pub async fn examine(config: &Config, service: Option<&str>, probe: bool, progress: &Progress) -> Report {
    let mut scope = config.clone();
    scope.services.retain(|it| service.is_none_or(|name| it.name == name));
    let mut skipped = Vec::new();
    let facts = Facts::read(&scope, progress, &mut skipped).await;
    let mut findings = judge::judge(config, &scope, &facts);
    let (mut probed, mut unprobed) = (Vec::new(), false);
    if probe {
        match probe::probe(&scope, &facts, progress).await {
            Ok((mut found, said)) => {
                findings.append(&mut found);
                probed = said;
            }
            Err(why) => {
                unprobed = true;
                skipped.push(Skipped::new("what becomes of a datagram", why));
            }
        }
    }
    findings.sort_by_key(|finding| finding.severity);
    let version = facts.ipvs.map_or(String::new(), |version| format!(", IPVS {version}"));
    Report { kernel: format!("Linux {}{version}", facts.release), findings, skipped, probed, unprobed }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::kernel::finding::Id;

    #[test]
    fn the_manual_has_each_finding_and_no_other() {
        let manual = include_str!("../docs/troubleshooting.md");
        let headings = manual.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
        let known: BTreeSet<&str> = Id::ALL.iter().map(|id| id.name()).collect();
        assert_eq!(headings.collect::<Vec<_>>().len(), known.len(), "one heading each");
        let headings = manual.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
        assert_eq!(headings.collect::<BTreeSet<_>>(), known);
    }
}
