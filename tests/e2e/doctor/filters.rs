//! Packet filters: what drops, what rewrites, and rules of ours that are gone.

use std::time::Duration;

use lab::{Burst, Family, Network, case, wait_until};
use libtest_mimic::Trial;

use super::{Ward, findings, names, run_cures};
use crate::setup::{IPVSD, LIMIT, service};

pub fn tests() -> Vec<Trial> {
    vec![
        case("doctor::filters_of_nftables", nftables),
        case("doctor::filters_of_iptables", || iptables("nft")),
        case("doctor::filters_of_iptables_legacy", || iptables("legacy")),
        case("doctor::a_docker_beside_it", docker),
        case("doctor::a_firewalld_beside_it", firewalld),
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

/// As Docker makes them, with one container.
const DOCKER: &str = "
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
";

/// Its policy drops all that does not concern its bridge: replies among that.
fn docker() {
    let ward = Ward::new(2, "");
    ward.network.director.ip(&[
        "link add docker0 type bridge",
        "link set docker0 up",
        "addr add 172.17.0.1/16 dev docker0",
    ]);
    ward.named(
        &["drops-replies"],
        |network| network.director.feed("iptables-nft-restore", &[], DOCKER),
        |network, found| {
            assert_eq!(answered(network), 0);
            run_cures(network, found, "iptables -I");
            assert_eq!(answered(network), 10);
        },
    );
    ward.network.director.check("iptables-nft", &["-F", "FORWARD"]);
    ward.network.director.feed(
        "iptables-nft-restore",
        &[],
        &DOCKER.replace("FORWARD DROP", "FORWARD ACCEPT"),
    );
    assert!(ward.findings(&[]).is_empty(), "all is well with a policy that accepts");
    assert_eq!(answered(&ward.network), 10);
}

/// As firewalld makes them, with an interface in each of two zones.
const FIREWALLD: &str = "
table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname \"lo\" accept
        ct state invalid drop
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_INPUT_ZONES {
        iifname \"back\" goto filter_IN_internal
        iifname \"front\" goto filter_IN_public
        goto filter_IN_public
    }
    chain filter_IN_public {
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport 22 accept
        reject with icmpx admin-prohibited
    }
    chain filter_IN_internal {
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport 22 accept
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname \"lo\" accept
        ct state invalid drop
        jump filter_FORWARD_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD_ZONES {
        iifname \"back\" goto filter_FWD_internal
        iifname \"front\" goto filter_FWD_public
        goto filter_FWD_public
    }
    chain filter_FWD_public {
        reject with icmpx admin-prohibited
    }
    chain filter_FWD_internal {
        oifname \"back\" accept
    }
    chain filter_OUTPUT {
        type filter hook output priority filter + 10; policy accept;
        ct state { established, related } accept
        oifname \"lo\" accept
    }
}";

/// Zones that nobody told of the service; and then somebody does, in firewalld's own way.
fn firewalld() {
    let ward = Ward::new(2, "");
    ward.named(
        &["drops-replies", "drops-requests"],
        |network| network.director.nft(FIREWALLD),
        |network, found| {
            assert_eq!(answered(network), 0);
            run_cures(network, found, "nft insert");
            assert_eq!(answered(network), 10);
        },
    );
    ward.network.director.nft("delete table inet firewalld");
    let open = FIREWALLD
        .replace("tcp dport 22 accept", "udp dport 53 accept")
        .replace("oifname \"back\" accept", "oifname \"front\" accept");
    ward.network.director.nft(&open);
    assert!(ward.findings(&[]).is_empty());
    assert_eq!(answered(&ward.network), 10);
}

/// How many of ten datagrams of a client are answered.
fn answered(network: &Network) -> usize {
    let burst = Burst { patience: Duration::from_millis(300), ..Burst::new(service(Family::V4), 10) };
    10 - burst.run(network.client()).lost.len()
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
