//! Our tables against the running kernel, in network namespaces of the tests' own; skipped without root or `nft`.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::edit::edit;
use super::ruleset::tests::rules;
use super::run::Nft;
use crate::core::model::{Outer, Refusals, Rules};

/// Runs `test` in a thread with a network namespace of its own, or says why not.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let run = || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return eprintln!("skipped: no network namespace ({error}); run as root");
        }
        if Command::new("nft").arg("--version").output().is_err() {
            return eprintln!("skipped: no nft; install nftables");
        }
        test();
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Waits for a future of [`Nft`] on this thread, whose namespace its processes then have.
pub fn wait<T>(future: impl Future<Output = Result<T, super::Error>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs one command of nft's text language.
pub fn nft(command: &str) {
    let output = Command::new("nft").arg(command).output().unwrap();
    assert!(output.status.success(), "nft {command}: {}", String::from_utf8_lossy(&output.stderr));
}

fn nft_json(text: &str) {
    let mut child = Command::new("nft").args(["-j", "-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
}

/// One of each kind, in both families.
pub fn every_shape() -> Rules {
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    let pair = |(server, vip)| (socket(server), socket(vip));
    Rules {
        requests: ["192.0.2.53:53", "[2001:db8::53]:53"].map(socket).into(),
        replies: [
            ("10.0.1.11:53", "192.0.2.53:53"),
            ("10.0.1.12:5300", "192.0.2.53:53"),
            ("[2001:db8:1::11]:53", "[2001:db8::53]:53"),
            ("[2001:db8:1::12]:5300", "[2001:db8::53]:53"),
        ]
        .map(pair)
        .into(),
        tunnels: ["10.0.1.13", "2001:db8:1::13"]
            .map(|address| Outer::Ip(address.parse::<IpAddr>().unwrap()))
            .into_iter()
            .chain(["10.0.1.14:5555", "[2001:db8:1::14]:5555"].map(|outer| Outer::Udp(socket(outer))))
            .collect(),
        refusals: Refusals { group: Some(26_998), hidden: true },
    }
}

#[track_caller]
fn holds(wanted: &Rules) {
    let found = wait(Nft::new().observe());
    assert_eq!(found.damage(&found.rules()), Vec::<String>::new());
    assert_eq!(&found.rules(), wanted);
    assert!(edit(wanted, &found).is_none());
}

#[test]
fn what_is_applied_is_found_again() {
    in_namespace(|| {
        let wanted = every_shape();
        assert!(wait(Nft::new().apply(&wanted)));
        holds(&wanted);
        assert!(!wait(Nft::new().apply(&wanted)));
        assert!(wait(Nft::new().remove()));
        assert!(!wait(Nft::new().remove()));
        holds(&Rules::default());
    });
}

/// Makes the map of replies what it was in tables that counted nothing.
fn uncount(family: &str) {
    let output =
        Command::new("nft").args(["-j", "list", "map", family, "ipvsd", "sources"]).output().unwrap();
    let mut printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let map =
        printed["nftables"].as_array_mut().unwrap().iter_mut().find_map(|it| it.get_mut("map")).unwrap();
    map["name"] = "rewrite".into();
    map.as_object_mut().unwrap().remove("stmt");
    for element in map["elem"].as_array_mut().unwrap() {
        element[0] = element[0]["elem"]["val"].clone();
    }
    let add = json!({"nftables": [{"add": {"map": map}}]}).to_string();
    nft_json(&add);
    nft(&format!("flush chain {family} ipvsd postrouting"));
    nft(&format!("add rule {family} ipvsd postrouting oif != lo {family} saddr . udp sport vmap @rewrite"));
    nft(&format!("delete map {family} ipvsd sources"));
}

#[test]
fn a_map_that_does_not_count_is_replaced_and_deleted_after_that() {
    in_namespace(|| {
        let wanted = every_shape();
        wait(Nft::new().apply(&wanted));
        assert_eq!(wait(Nft::new().count()).len(), 4);
        uncount("ip");
        let found = wait(Nft::new().observe());
        assert_eq!(found.rules(), wanted, "it says the same");
        let changes = found.damage(&wanted);
        assert!(changes.contains(&"ip ipvsd: add map sources".to_owned()), "{changes:?}");
        assert!(!changes.iter().any(|change| change.contains("delete map")), "{changes:?}");
        // With servers that leave at the same time, whose chains only the old map still goes to.
        let mut fewer = wanted.clone();
        fewer.replies.remove(&"10.0.1.12:5300".parse().unwrap());
        assert!(wait(Nft::new().apply_to(&found, &fewer)));
        holds(&fewer);
        assert_eq!(wait(Nft::new().count()).len(), 3);
    });
}

#[test]
fn any_rules_follow_any_rules() {
    in_namespace(|| {
        let config =
            Config { cases: 24, max_shrink_iters: 20, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&rules(), |wanted| {
                wait(Nft::new().apply(&wanted));
                holds(&wanted);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn damage_is_found_and_repaired() {
    let damages: &[&[&str]] = &[
        &["delete element ip ipvsd requests { 192.0.2.53 . 53 }"],
        &["add element ip ipvsd requests { 192.0.2.54 . 53 }"],
        &["flush set ip6 ipvsd replies"],
        &["flush map ip ipvsd sources"],
        &[
            "delete element ip ipvsd sources { 10.0.1.11 . 53 }",
            "add element ip ipvsd sources { 10.0.1.11 . 53 : accept }",
        ],
        &[
            "delete element ip ipvsd sources { 10.0.1.11 . 53 }",
            "add element ip ipvsd sources { 10.0.1.11 . 53 : goto to-192.0.2.53-port-53 }",
        ],
        &["flush chain ip ipvsd prerouting"],
        &["flush chain ip6 ipvsd to-2001-db8--53-port-53"],
        &["insert rule ip ipvsd prerouting accept"],
        &["add rule ip ipvsd prerouting counter"],
        &["add rule ip ipvsd to-192.0.2.53 udp sport set 99"],
        &["insert rule ip ipvsd to-192.0.2.53-port-53 return"],
        &[
            "add chain ip ipvsd stray",
            "add rule ip ipvsd stray jump to-192.0.2.53",
            "add rule ip ipvsd output jump stray",
        ],
        &["add set ip ipvsd stray { type ipv4_addr; }", "add rule ip ipvsd output ip saddr @stray drop"],
        &[
            "add map ip ipvsd stray { type mark : verdict; }",
            "add chain ip ipvsd lost",
            "add element ip ipvsd stray { 1 : jump lost }",
        ],
        &["add counter ip ipvsd stray", "add rule ip ipvsd output counter name stray"],
        &["add chain ip ipvsd stray { type filter hook forward priority 0; policy drop; }"],
        &["chain ip ipvsd postrouting { policy drop; }"],
        &["flush chain ip ipvsd prerouting", "delete chain ip ipvsd prerouting"],
        &[
            "delete chain ip ipvsd prerouting",
            "add chain ip ipvsd prerouting { type filter hook prerouting priority 0; }",
            "add rule ip ipvsd prerouting ip saddr 10.0.1.11 notrack",
        ],
        &["delete chain ip ipvsd prerouting", "add chain ip ipvsd prerouting"],
        &[
            "flush chain ip ipvsd output",
            "delete set ip ipvsd tunnels",
            "add set ip ipvsd tunnels { type ipv4_addr; flags interval; }",
            "add rule ip ipvsd output ip daddr @tunnels accept",
        ],
        &[
            "flush chain ip ipvsd postrouting",
            "delete map ip ipvsd sources",
            "add set ip ipvsd sources { type ipv4_addr . inet_service; }",
        ],
        &[
            "flush chain ip ipvsd prerouting",
            "flush chain ip ipvsd output",
            "delete set ip ipvsd requests",
            "add set ip ipvsd requests { type ipv4_addr . inet_service; flags interval; }",
            "add rule ip ipvsd prerouting ip daddr . udp dport @requests notrack",
        ],
        &["flush chain ip ipvsd refused-log-26998-drop"],
        &["flush chain ip ipvsd refusals"],
        &["insert rule ip6 ipvsd refusals return"],
        &["flush set ip6 ipvsd servers-5300"],
        &[
            "flush chain ip ipvsd refused-log-26998-drop",
            "add rule ip ipvsd refused-log-26998-drop log group 26997",
            "add rule ip ipvsd refused-log-26998-drop drop",
        ],
        &[
            "flush chain ip ipvsd refused-log-26998-drop",
            "delete set ip ipvsd refused",
            "add set ip ipvsd refused { type ipv4_addr; size 2; flags dynamic,timeout; timeout 1h; }",
            "add rule ip ipvsd refused-log-26998-drop update @refused { ip saddr } log group 26998",
            "add rule ip ipvsd refused-log-26998-drop drop",
        ],
        &["add chain ip ipvsd refused-log-1"],
        &["add table ip ipvsd { flags dormant; }"],
        &[
            "add table ip6 ipvsd { flags dormant; }",
            "flush map ip6 ipvsd sources",
            "delete chain ip6 ipvsd postrouting",
            "add chain ip6 ipvsd stray { type filter hook forward priority 0; policy drop; }",
        ],
        &["delete table ip6 ipvsd"],
        &["delete table ip ipvsd", "add table ip ipvsd"],
    ];
    in_namespace(move || {
        let wanted = every_shape();
        wait(Nft::new().apply(&wanted));
        for damage in damages {
            damage.iter().for_each(|command| nft(command));
            let found = wait(Nft::new().observe());
            assert!(
                !found.damage(&found.rules()).is_empty() || found.rules() != wanted,
                "{damage:?} is not seen"
            );
            let changes = edit(&wanted, &found).unwrap().changes().to_vec();
            assert!(
                !changes.iter().any(|change| change.contains("delete the table")),
                "{damage:?}: {changes:?}"
            );
            assert!(wait(Nft::new().apply(&wanted)), "{damage:?}");
            holds(&wanted);
            let text = Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout;
            assert!(!String::from_utf8_lossy(&text).contains("dormant"), "{damage:?}");
        }
    });
}

#[test]
fn foreign_tables_stay() {
    in_namespace(|| {
        nft(
            "add table inet ipvsd; add table ip mine; add chain ip mine ipvsd; add rule ip mine ipvsd accept",
        );
        let others = || -> BTreeSet<String> {
            let ruleset = wait(Nft::new().ruleset_json());
            let objects = ruleset["nftables"].as_array().unwrap();
            let foreign = |object: &&serde_json::Value| {
                !["ip", "ip6"].iter().any(|family| {
                    let object = object.as_object().unwrap().values().next().unwrap();
                    object["family"] == *family
                        && (object["table"] == "ipvsd"
                            || object["name"] == "ipvsd" && object.get("table").is_none())
                })
            };
            objects.iter().filter(foreign).map(|object| object.to_string()).collect()
        };
        let before = others();
        wait(Nft::new().apply(&every_shape()));
        assert_eq!(others(), before);
        wait(Nft::new().remove());
        assert_eq!(others(), before);
    });
}

#[test]
fn ten_thousand_servers() {
    in_namespace(|| {
        let server = |n: u32| SocketAddr::new(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), 5300);
        let vip = |n: u32| SocketAddr::new(IpAddr::from((0xc000_0200 + n / 10).to_be_bytes()), 53);
        let mut wanted = Rules {
            requests: (0..10_000).map(vip).collect(),
            replies: (0..10_000).map(|n| (server(n), vip(n))).collect(),
            ..Rules::default()
        };
        let timed = |what, wanted: &Rules| {
            let start = Instant::now();
            assert!(wait(Nft::new().apply(wanted)));
            eprintln!("10 000 servers, {what}: {:?}", start.elapsed());
        };
        timed("first load", &wanted);
        wanted.replies.remove(&server(77));
        timed("one server less", &wanted);
        let start = Instant::now();
        holds(&wanted);
        eprintln!("10 000 servers, observe and compare: {:?}", start.elapsed());
    });
}
