//! Packet filters: what drops, what rewrites, and rules of ours that are gone.

use lab::{Network, case, wait_until};
use libtest_mimic::Trial;

use super::{Ward, findings, names, run_cures};
use crate::setup::{IPVSD, LIMIT};

pub fn tests() -> Vec<Trial> {
    vec![
        case("doctor::filters_of_nftables", nftables),
        case("doctor::filters_of_iptables", || iptables("nft")),
        case("doctor::filters_of_iptables_legacy", || iptables("legacy")),
        case("doctor::rewrites_of_others", rewrites),
        case("doctor::reply_rules_that_are_gone", reply_rules),
    ]
}

fn nftables() {
    let ward = Ward::new(2, "");
    let chain = |hook: &str, more: &str| {
        format!(
            "table inet filter {{
                chain {hook} {{
                    type filter hook {hook} priority filter; policy drop
                    ct state established,related accept
                    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
                    {more}
                }}
            }}"
        )
    };
    // The director's own probes go on.
    let probes = "ct state new udp dport 5300 accept";
    for (hook, more, id) in [
        ("input", "", "drops-requests"),
        ("output", probes, "drops-scheduled"),
        ("forward", "", "drops-replies"),
    ] {
        let load = |network: &Network| network.director.nft(&chain(hook, more));
        ward.named(&[id], load, |network, found| run_cures(network, found, "nft insert"));
        ward.network.director.nft("delete table inet filter");
    }
}

/// The same with the options that nft does not show; a rule that lets untracked packets pass is seen as such.
fn iptables(variant: &str) {
    let ward = Ward::new(2, "");
    let load = |network: &Network| {
        for program in ["iptables", "ip6tables"] {
            let run = |rule: &str| {
                let arguments: Vec<&str> = rule.split(' ').collect();
                network.director.check(&format!("{program}-{variant}"), &arguments);
            };
            run("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
            run("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment x -j ACCEPT");
            run("-t nat -A POSTROUTING -p udp -j MASQUERADE");
            if program == "ip6tables" {
                run("-A INPUT -p ipv6-icmp -j ACCEPT");
            }
            run("-P INPUT DROP");
            run("-P FORWARD DROP");
        }
    };
    ward.named(&["drops-replies", "drops-requests"], load, |network, found| {
        assert!(found.iter().all(|it| it["severity"] == "error"), "{found:#?}");
        let alias =
            |program: &str| if variant == "nft" { program.to_owned() } else { format!("{program}-legacy") };
        run_cures(network, found, &format!("{} -I", alias("iptables")));
        run_cures(network, found, &format!("{} -I", alias("ip6tables")));
    });
}

fn rewrites() {
    let ward = Ward::new(2, "");
    for hook in ["prerouting", "forward"] {
        let table = format!(
            "table ip guide {{
                chain replies {{
                    type filter hook {hook} priority 0
                    ip saddr 10.0.1.0/24 udp sport 5300 udp sport set 53 ip saddr set 192.0.2.53
                }}
            }}"
        );
        ward.named(
            &["foreign-rewrite"],
            |network| network.director.nft(&table),
            |network, _| network.director.nft("delete table ip guide"),
        );
    }
}

fn reply_rules() {
    let mut ward = Ward::new(2, "");
    assert!(ward.findings(&[]).is_empty());
    super::kill(&mut ward.daemon);
    ward.network.director.nft("delete element ip ipvsd sources { 10.0.1.12 . 5300 }");
    let found = ward.findings(&[]);
    assert_eq!(names(&found), ["reply-rules"]);
    assert!(found[0]["cure"].as_str().is_some_and(|cure| cure.starts_with("start ipvsd")), "{found:#?}");
    ward.network.director.nft("delete table ip ipvsd");
    assert_eq!(names(&ward.findings(&[])), ["reply-rules"]);
    let daemon = lab::Daemon::start(&ward.network.director, IPVSD, &super::config(&ward.network, ""));
    wait_until(LIMIT, "nothing is found", || findings(&ward.network, &daemon.config_file(), &[]).is_empty());
}
