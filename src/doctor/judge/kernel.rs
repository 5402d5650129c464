//! The kernel itself, and its counters.

use crate::core::desired;
use crate::core::model::Config;
use crate::doctor::facts::Facts;
use crate::kernel::finding::{Finding, Id};

/// Linux 5.9 brought the flush of the entries of deleted servers, without which clients that are pinned cannot be freed.
const OLDEST: (u32, u32) = (5, 9);

pub fn judge(scope: &Config, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.has_ipvs == Some(false) {
        findings.push(Finding::error(
            Id::NoIpvs,
            "there is no /proc/net/ip_vs".to_owned(),
            "the kernel has no IPVS, so nothing is forwarded",
            "run `modprobe ip_vs`; if there is no such module, install the kernel that has it (no \
             \"cloud\" or container kernel)",
        ));
    }
    if version(&facts.release).is_some_and(|version| version < OLDEST) {
        findings.push(Finding::warning(
            Id::OldKernel,
            format!("the kernel is Linux {}", facts.release),
            "before 5.9 connection entries of an earlier run cannot be evicted without loss, and nothing here is \
             tested before 5.10",
            "boot Linux 5.10 or newer",
        ));
    }
    if facts.nft_missing && !desired::rules_of(scope).is_empty() {
        findings.push(Finding::error(
            Id::NoNft,
            "there is no `nft` in PATH".to_owned(),
            "the rules that give replies the address of the VIP cannot be made or looked at",
            "install the package nftables (`apt install nftables`)",
        ));
    }
    if facts.run_estimation.as_deref() == Some("0") {
        findings.push(Finding::warning(
            Id::RunEstimation,
            "net.ipv4.vs.run_estimation is 0".to_owned(),
            "the counters of services and servers stand still; traffic does not care",
            "run `sysctl -w net.ipv4.vs.run_estimation=1`",
        ));
    }
    findings
}

/// The first two numbers of `6.1.0-50-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, healthy};
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let facts =
            Facts { has_ipvs: Some(false), nft_missing: true, services: None, rules: None, ..healthy() };
        assert_eq!(found(&facts), [Id::NoIpvs, Id::NoNft]);
        let facts = Facts { nft_missing: false, rules: Some(Default::default()), ..facts };
        assert_eq!(found(&facts), [Id::NoIpvs], "the rest follows");
        let facts = Facts { run_estimation: Some("0".into()), ..healthy() };
        assert_eq!(found(&facts), [Id::RunEstimation]);
    }

    #[test]
    fn only_kernels_before_5_9_are_old() {
        for (release, old) in
            [("4.19.0-27-amd64", true), ("5.8", true), ("5.10.0", false), ("7.2", false), ("?", false)]
        {
            let facts = Facts { release: release.into(), ..healthy() };
            assert_eq!(found(&facts) == [Id::OldKernel], old, "{release}");
        }
    }
}
