//! From facts to findings: pure.

mod kernel;
mod network;
mod rules;
mod table;

use super::facts::Facts;
use crate::core::model::Config;
use crate::kernel::finding::Finding;
use crate::kernel::preflight;

/// All that is wrong with the services of `scope`, which is all or a part of `config`.
pub fn judge(config: &Config, scope: &Config, facts: &Facts) -> Vec<Finding> {
    let mut findings = kernel::judge(scope, facts);
    if let Some(start) = &facts.start {
        findings.extend(preflight::forwarding_off(scope, start));
        findings.extend(preflight::vital_keys(scope, start));
        findings.extend(preflight::reply_path(scope, start));
        findings.extend(preflight::keepalived(start));
        findings.extend(preflight::absent_vips(start));
    }
    findings.extend(table::judge(config, scope, facts));
    findings.extend(rules::judge(scope, facts));
    findings.extend(network::judge(scope, facts));
    findings
}

/// What brings the kernel to what the config says.
fn apply(facts: &Facts) -> &'static str {
    match facts.daemon_runs {
        true => {
            "ipvsd runs and has not mended it: `ipvsd status` and its log say what fails, `ipvsd plan` what it would change"
        }
        false => "start ipvsd (`systemctl start ipvsd`); `ipvsd plan` says what it will change",
    }
}

#[cfg(test)]
mod testing {
    //! A config and the facts of a director where it all works.

    use std::collections::BTreeMap;

    use ipvs_netlink::{DestinationConfig, DestinationKey, Flags, Forward};

    use crate::config;
    use crate::core::desired;
    use crate::core::model::Config;
    use crate::core::plan::FoundService;
    use crate::doctor::facts::{Address, Facts};
    use crate::kernel::finding::{Finding, Id};
    use crate::kernel::preflight;

    pub fn config() -> Config {
        let text = "[[service]]\nname = \"dns\"\nlisten = [\"192.0.2.53:53\", \"[2001:db8::53]:53\"]\n\
                    servers = [\"10.0.1.11:5300\", \"10.0.1.12:5300\", \"[fd00:1::11]:5300\"]\n\
                    check = { type = \"udp\", send = \"a\" }\n";
        config::parse("ipvsd.toml", text).unwrap_or_else(|report| panic!("{}", report.render(false))).config
    }

    pub fn healthy() -> Facts {
        let config = config();
        let mut facts = Facts {
            release: "6.1.0-50-amd64".into(),
            has_ipvs: Some(true),
            start: Some(preflight::Facts::default()),
            run_estimation: Some("1".into()),
            services: Some(BTreeMap::new()),
            entries: Some(Default::default()),
            rules: Some((desired::rules_of(&config), Vec::new())),
            tracked: Some(Vec::new()),
            cpus: 4,
            daemon_runs: true,
            ..Facts::default()
        };
        let services = facts.services.get_or_insert_default();
        for (key, place) in desired::listens(&config) {
            let service = &config.services[place];
            let mut found = ipvs_netlink::ServiceConfig::new("rr".parse().unwrap(), key.family());
            found.flags = Flags::exactly(Flags::ONE_PACKET);
            let server = DestinationConfig {
                forward: Forward::Masquerade,
                weight: 1,
                upper_threshold: 0,
                lower_threshold: 0,
            };
            let servers = desired::servers_of(service, key)
                .map(|it| (DestinationKey(it.address), server))
                .collect::<BTreeMap<_, _>>();
            services.insert(key, FoundService { config: found, servers: servers.into() });
        }
        for (interface, address, prefix) in
            [("lo", "192.0.2.53", 32), ("back", "10.0.1.1", 24), ("front", "10.0.0.1", 24)]
        {
            let address = address.parse().unwrap();
            facts.addresses.push(Address { interface: interface.into(), address, prefix });
        }
        facts
    }

    /// The names of what is found.
    pub fn found(facts: &Facts) -> Vec<Id> {
        let config = config();
        super::judge(&config, &config, facts).iter().map(|finding: &Finding| finding.id).collect()
    }

    #[test]
    fn a_healthy_director_has_no_findings() {
        assert_eq!(found(&healthy()), []);
    }
}
