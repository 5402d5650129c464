//! What is said of each kind of difference; and that a plan never does what was not said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipvs_netlink::{Family, Forward, Netmask};
use proptest::prelude::*;

use super::*;
use crate::config;
use crate::core::desired::Needs;
use crate::core::model::{Refusals, Server};
use crate::core::plan::{self, Action, Circumstances};

const CONFIG: &str = r#"
[[service]]
name = "dns"
listen = ["192.0.2.53:53", "[2001:db8::53]:53"]
servers = ["10.0.1.11:5300", { address = "10.0.1.12:5300", weight = 5 }, "[fd00:1::11]:5300"]
scheduler = "wrr"
check = { type = "dns", query = "example.com" }
drain = "30s"

[[service]]
name = "log"
listen = "192.0.2.54:514"
servers = ["10.0.1.21:514"]
forward = "tunnel"
check = "none"
"#;

fn parsed(text: &str) -> Config {
    config::parse("ipvsd.toml", text).unwrap_or_else(|report| panic!("{report}")).config
}

/// The kernel as it is when all that `config` asks for is there, every server with its weight.
fn made(config: &Config) -> (FoundServices, Rules) {
    let services = desired::listens(config).map(|(key, place)| {
        let Wanted { config, servers, .. } = wanted(&config.services[place], key, None, &[]);
        let servers = servers
            .into_iter()
            .map(|(key, server)| (key, DestinationConfig { weight: server.full, ..server.config }));
        (key, FoundService { config, servers: Arc::new(servers.collect()) })
    });
    (services.collect(), desired::rules_of(config))
}

fn said(config: &Config, found: &FoundServices, held: &Rules) -> String {
    let own: BTreeSet<ServiceKey> = found.keys().copied().collect();
    changes(config, found, &own, held, &[], &[]).iter().map(|change| format!("{change}\n")).collect()
}

fn key(vip: &str) -> ServiceKey {
    ServiceKey::udp(vip.parse().unwrap())
}

fn server(address: &str) -> DestinationKey {
    DestinationKey(address.parse().unwrap())
}

#[test]
fn an_empty_kernel() {
    insta::assert_snapshot!(said(&parsed(CONFIG), &FoundServices::new(), &Rules::default()), @r"
    + service dns at 192.0.2.53:53: scheduler wrr, OPS on
    + server 10.0.1.11:5300 of dns at 192.0.2.53:53: forward nat, weight 0 (its weight 1 comes when its check succeeds)
    + server 10.0.1.12:5300 of dns at 192.0.2.53:53: forward nat, weight 0 (its weight 5 comes when its check succeeds)
    + service dns at [2001:db8::53]:53: scheduler wrr, OPS on
    + server [fd00:1::11]:5300 of dns at [2001:db8::53]:53: forward nat, weight 0 (its weight 1 comes when its check succeeds)
    + service log at 192.0.2.54:514: scheduler rr, OPS on
    + server 10.0.1.21:514 of log at 192.0.2.54:514: forward tunnel (ipip), weight 1
    + request rule of 192.0.2.53:53
    + request rule of 192.0.2.54:514
    + request rule of [2001:db8::53]:53
    + reply rule of 10.0.1.11:5300: VIP 192.0.2.53:53
    + reply rule of 10.0.1.12:5300: VIP 192.0.2.53:53
    + reply rule of [fd00:1::11]:5300: VIP [2001:db8::53]:53
    + tunnel rule of 10.0.1.21
    ");
}

#[test]
fn nothing_to_do() {
    let config = parsed(CONFIG);
    let (mut found, held) = made(&config);
    assert_eq!(said(&config, &found, &held), "");
    // A server that is down stays as it is: its check decides.
    let dns = found.get_mut(&key("192.0.2.53:53")).unwrap();
    dns.servers_mut().get_mut(&server("10.0.1.11:5300")).unwrap().weight = 0;
    assert_eq!(said(&config, &found, &held), "");
}

#[test]
fn other_rules_for_refusals() {
    let config = parsed(CONFIG);
    let (found, mut held) = made(&config);
    held.refusals = Refusals { group: None, hidden: true };
    assert_eq!(said(&config, &found, &held), "~ rules for refusals: nflog group none → 26998\n");
    held.refusals = Refusals { group: Some(26_998), hidden: false };
    assert_eq!(said(&config, &found, &held), "~ rules for refusals: hidden no → yes\n");
}

#[test]
fn a_changed_file() {
    let old = parsed(CONFIG);
    let (mut found, held) = made(&old);
    // What goes may be down.
    let dns = found.get_mut(&key("192.0.2.53:53")).unwrap();
    dns.servers_mut().get_mut(&server("10.0.1.11:5300")).unwrap().weight = 0;
    let new = CONFIG
        .replace("\"10.0.1.11:5300\", ", "\"10.0.1.13:5300\", ")
        .replace("weight = 5", "weight = 7")
        .replace(", \"[2001:db8::53]:53\"", "")
        .replace(", \"[fd00:1::11]:5300\"", "")
        .replace("forward = \"tunnel\"", "forward = \"direct\"\nscheduler = \"sh\"");
    insta::assert_snapshot!(said(&parsed(&new), &found, &held), @r"
    ~ server 10.0.1.12:5300 of dns at 192.0.2.53:53: weight 5 → 7
    + server 10.0.1.13:5300 of dns at 192.0.2.53:53: forward nat, weight 0 (its weight 1 comes when its check succeeds)
    - server 10.0.1.11:5300 of dns at 192.0.2.53:53 (weight 0, and deleted after 30s)
    ~ service log at 192.0.2.54:514: scheduler rr → sh (about 20 ms of loss while the scheduler changes)
    ~ server 10.0.1.21:514 of log at 192.0.2.54:514: forward tunnel (ipip) → direct
    - service at [2001:db8::53]:53 (its servers get weight 0, and go with it when they are drained)
    - server [fd00:1::11]:5300 at [2001:db8::53]:53
    + reply rule of 10.0.1.13:5300: VIP 192.0.2.53:53
    - reply rule of 10.0.1.11:5300
    - reply rule of [fd00:1::11]:5300
    - tunnel rule of 10.0.1.21
    - request rule of [2001:db8::53]:53
    ");
}

#[test]
fn a_changed_kernel() {
    let config = parsed(CONFIG);
    let (mut found, mut held) = made(&config);
    let dns = found.get_mut(&key("192.0.2.53:53")).unwrap();
    dns.config.scheduler = "rr".parse().unwrap();
    dns.config.flags = Flags::exactly(Flags::HASHED | Flags::PERSISTENT);
    dns.config.timeout = 300;
    dns.config.netmask = Netmask::V4([255, 255, 255, 0]);
    dns.servers_mut().get_mut(&server("10.0.1.11:5300")).unwrap().upper_threshold = 100;
    dns.servers_mut().get_mut(&server("10.0.1.12:5300")).unwrap().weight = 1;
    let stranger = DestinationConfig { weight: 1, ..dns.servers[&server("10.0.1.11:5300")] };
    dns.servers_mut().insert(server("10.0.1.99:5300"), stranger);
    found.get_mut(&key("192.0.2.54:514")).unwrap().servers_mut().clear();
    held.replies.insert("10.0.1.11:5300".parse().unwrap(), "192.0.2.99:53".parse().unwrap());
    let own = found.keys().copied().collect();
    let damage = ["add chain output".to_owned()];
    let changes = changes(&config, &found, &own, &held, &damage, &[]);
    let lines: String = changes.iter().map(|change| format!("{change}\n")).collect();
    insta::assert_snapshot!(lines, @r"
    ~ service dns at 192.0.2.53:53: scheduler rr → wrr, OPS off → on, flags 0x1 → 0x0, persistence 300 s → 0 s, netmask 255.255.255.0 → the whole address (about 20 ms of loss while the scheduler changes; connection entries made until now pin their clients until they are evicted)
    ~ server 10.0.1.11:5300 of dns at 192.0.2.53:53: upper threshold 100 → 0
    ~ server 10.0.1.12:5300 of dns at 192.0.2.53:53: weight 1 → 5
    - server 10.0.1.99:5300 of dns at 192.0.2.53:53 (weight 0, and deleted after 30s)
    + server 10.0.1.21:514 of log at 192.0.2.54:514: forward tunnel (ipip), weight 1
    ~ reply rule of 10.0.1.11:5300: VIP 192.0.2.99:53 → 192.0.2.53:53
    ~ tables of the rules (not as ipvsd made them: add chain output)
    ");
}

#[test]
fn a_pool_that_would_be_emptied_waits() {
    let config = parsed(CONFIG);
    let (mut found, held) = made(&config);
    let dns = found.get_mut(&key("192.0.2.53:53")).unwrap();
    let sorry = *dns.servers.values().next().unwrap();
    dns.servers_mut().values_mut().for_each(|server| server.weight = 0);
    dns.servers_mut().insert(server("10.0.1.99:5300"), sorry);
    let waits = "- server 10.0.1.99:5300 of dns at 192.0.2.53:53 (when another server has weight: weight 0, and deleted after 30s)\n";
    assert_eq!(said(&config, &found, &held), waits);
}

#[test]
fn what_is_not_ours_is_not_named() {
    let config = parsed(CONFIG);
    let (mut found, held) = made(&config);
    let foreign = found[&key("192.0.2.54:514")].clone();
    found.insert(key("192.0.2.99:53"), foreign);
    assert_eq!(changes(&config, &found, &BTreeSet::new(), &held, &[], &[]), []);
}

#[test]
fn a_service_that_moves_to_another_vip() {
    let config = parsed(CONFIG);
    let (found, held) = made(&config);
    let moved = parsed(&CONFIG.replace("\"192.0.2.53:53\", ", "\"192.0.2.55:53\", "));
    let said = said(&moved, &found, &held);
    for line in [
        "+ service dns at 192.0.2.55:53: scheduler wrr, OPS on (its servers are still behind another VIP: clients \
         are refused here until the first has been drained there, for `drain`)\n",
        "+ server 10.0.1.11:5300 of dns at 192.0.2.55:53: forward nat, weight 0 (its weight 1 comes when its check \
         succeeds; it has no weight here until it has been drained at 192.0.2.53:53)\n",
    ] {
        assert!(said.contains(line), "no {line}in\n{said}");
    }
    // One server more that is free: nobody is refused.
    let free = parsed(
        &CONFIG
            .replace("\"192.0.2.53:53\", ", "\"192.0.2.55:53\", ")
            .replace("servers = [\"10.0.1.11:5300\"", "servers = [\"10.0.1.13:5300\", \"10.0.1.11:5300\""),
    );
    assert!(!self::said(&free, &found, &held).contains("refused"));
}

#[test]
fn connection_entries_of_ops_services_go() {
    let config = parsed(&CONFIG.replace("check = \"none\"", "check = \"none\"\nops = false"));
    let (mut found, _) = made(&config);
    let entries: BTreeSet<(ServiceKey, DestinationKey)> = [
        ("192.0.2.53:53", "10.0.1.11:5300"),
        ("192.0.2.53:53", "10.0.1.12:5300"),
        // Not in the config any more, not OPS, not ours.
        ("192.0.2.53:53", "10.0.1.99:5300"),
        ("192.0.2.54:514", "10.0.1.21:514"),
        ("192.0.2.99:53", "10.0.1.11:5300"),
    ]
    .map(|(vip, address)| (key(vip), server(address)))
    .into();
    let said = |found: &FoundServices, entries| {
        evictions(&config, found, entries).iter().map(|change| format!("{change}\n")).collect::<String>()
    };
    insta::assert_snapshot!(said(&found, &entries), @"- connection entries of dns at 192.0.2.53:53 (they pin clients to 2 servers: each is taken out for a moment, one after the other)");
    let dns = found.get_mut(&key("192.0.2.53:53")).unwrap();
    dns.servers_mut().get_mut(&server("10.0.1.12:5300")).unwrap().weight = 0;
    let one = [(key("192.0.2.53:53"), server("10.0.1.11:5300"))].into();
    insta::assert_snapshot!(said(&found, &one), @"- connection entries of dns at 192.0.2.53:53 (they pin clients to 1 server: when another server has weight, it is taken out for a moment)");
    assert_eq!(said(&found, &BTreeSet::new()), "");
}

#[test]
fn a_sysctl_of_an_interrupted_eviction_is_put_back() {
    let sysctl = |value: &str| BTreeMap::from([(EXPIRE.to_owned(), value.to_owned())]);
    let memory = Memory { sysctls: sysctl("0"), ..Memory::default() };
    let change = put_back(&memory, &sysctl("1")).unwrap().to_string();
    assert_eq!(change, format!("~ sysctl {EXPIRE}: value 1 → 0 (put back as it was before ipvsd)"));
    assert_eq!(put_back(&memory, &sysctl("0")), None);
    assert_eq!(put_back(&Memory::default(), &sysctl("1")), None);
}

#[test]
fn as_data() {
    let config = parsed(CONFIG);
    let (mut found, held) = made(&config);
    let dns = found.get_mut(&key("192.0.2.53:53")).unwrap();
    dns.config.scheduler = "rr".parse().unwrap();
    dns.servers_mut().remove(&server("10.0.1.12:5300"));
    let mut changes = changes(&config, &found, &BTreeSet::new(), &held, &[], &[]);
    changes.push(Change::sysctl("net.ipv4.vs.drop_packet", "1", "0", "the kernel drops requests"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&changes).unwrap(), @r#"
    [
      {
        "change": "change",
        "object": "service",
        "service": "dns",
        "vip": "192.0.2.53:53",
        "differences": [
          {
            "field": "scheduler",
            "old": "rr",
            "new": "wrr"
          }
        ],
        "note": "about 20 ms of loss while the scheduler changes"
      },
      {
        "change": "add",
        "object": "server",
        "service": "dns",
        "vip": "192.0.2.53:53",
        "server": "10.0.1.12:5300",
        "differences": [
          {
            "field": "forward",
            "old": null,
            "new": "nat"
          },
          {
            "field": "weight",
            "old": null,
            "new": "0"
          }
        ],
        "note": "its weight 5 comes when its check succeeds"
      },
      {
        "change": "change",
        "object": "sysctl",
        "key": "net.ipv4.vs.drop_packet",
        "differences": [
          {
            "field": "value",
            "old": "1",
            "new": "0"
          }
        ],
        "note": "the kernel drops requests"
      }
    ]
    "#);
}

/// Some of two VIPs and three servers at each, in any state.
fn kernel() -> impl Strategy<Value = FoundServices> {
    let forward = prop_oneof![Just(Forward::Masquerade), Just(Forward::Direct)];
    let config = (forward, 0u32..3).prop_map(|(forward, weight)| DestinationConfig {
        forward,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
    });
    let servers = proptest::collection::btree_map(1u8..4, config, 0..4);
    let flags = proptest::sample::select(vec![0, Flags::ONE_PACKET, Flags::ONE_PACKET | Flags::HASHED]);
    let service = (proptest::sample::select(vec!["rr", "wrr"]), flags, servers);
    proptest::collection::btree_map(1u8..3, service, 0..3).prop_map(|services| {
        let services = services.into_iter().map(|(vip, (scheduler, flags, servers))| {
            let mut config = ServiceConfig::new(scheduler.parse().unwrap(), Family::Inet);
            config.flags = Flags::exactly(flags);
            let servers =
                servers.into_iter().map(|(last, config)| (server(&format!("10.0.{vip}.{last}:53")), config));
            let service = FoundService { config, servers: Arc::new(servers.collect()) };
            (key(&format!("192.0.2.{vip}:53")), service)
        });
        services.collect()
    })
}

/// A config that asks for the services of such a kernel.
fn asks_for(kernel: &FoundServices, check: bool) -> Config {
    let mut config = parsed(CONFIG);
    let log = config.services.remove(1);
    let checks = if check { config.services.remove(0).checks } else { Vec::new() };
    for (number, (key, found)) in kernel.iter().enumerate() {
        let servers = found.servers.iter();
        config.services.push(Service {
            name: format!("s{number}"),
            listen: vec![Vip(*key)],
            ops: found.config.flags.contains(Flags::ONE_PACKET),
            scheduler: found.config.scheduler.clone(),
            forward: Forward::Masquerade,
            servers: servers.map(|(key, has)| Server::new(key.0, has.weight, Forward::Masquerade)).collect(),
            checks: checks.clone(),
            ..log.clone()
        });
    }
    config
}

proptest! {
    /// Plan after plan, as far as they go: each step was said, and what is left to say waits for another server.
    #[test]
    fn a_plan_does_what_is_said(mut found in kernel(), asked in kernel(), before in kernel(), check: bool) {
        let config = asks_for(&asked, check);
        let mut held = desired::rules_of(&asks_for(&before, check));
        let own: BTreeSet<ServiceKey> =
            found.keys().chain(asked.keys()).copied().chain(held.requests.iter().map(|vip| ServiceKey::udp(*vip))).collect();
        let all = changes(&config, &found, &own, &held, &[], &[]);
        let said = |vip: Vip, server: Option<SocketAddr>| all.iter().any(|change| match &change.object {
            Object::Service { vip: at, .. } => *at == vip && server.is_none(),
            Object::Server { vip: at, server: it, .. } => *at == vip && server == Some(*it),
            _ => false,
        });
        for round in 0.. {
            prop_assert!(round < 20, "no end");
            let wanted: BTreeMap<ServiceKey, Wanted> = desired::listens(&config)
                .map(|(key, place)| (key, wanted(&config.services[place], key, found.get(&key), &[])))
                .collect();
            let needs = wanted.iter().map(|(key, wanted)| (*key, Needs::of(wanted))).collect();
            let mut rules = desired::rules(&needs, &found, &held, std::iter::empty());
            rules.refuse(config.refusals);
            let mut idle = rules == held;
            held = rules;
            for key in &own {
                let circumstances = Circumstances {
                    rules: &held,
                    to_be: &held,
                    drained: |_: &_| true,
                    gives_up: false,
                    unwanted: "",
                };
                let vip = Vip(*key);
                for step in plan::plan(wanted.get(key), found.get(key), &circumstances) {
                    idle = false;
                    match step.action {
                        Action::AddService(config) => {
                            prop_assert!(said(vip, None));
                            found.insert(*key, FoundService { config, servers: Arc::default() });
                        }
                        Action::SetService(config) => {
                            prop_assert!(said(vip, None));
                            found.get_mut(key).unwrap().config = config;
                        }
                        Action::DeleteService => {
                            prop_assert!(said(vip, None));
                            found.remove(key);
                        }
                        Action::AddServer(server, config) | Action::SetServer(server, config) => {
                            prop_assert!(said(vip, Some(server.0)), "{server} at {vip}: {config:?}, said {all:?}");
                            found.get_mut(key).unwrap().servers_mut().insert(server, config);
                        }
                        Action::DeleteServer(server) => {
                            prop_assert!(said(vip, Some(server.0)));
                            found.get_mut(key).unwrap().servers_mut().remove(&server);
                        }
                    }
                }
            }
            if idle {
                break;
            }
        }
        for change in changes(&config, &found, &own, &held, &[], &[]) {
            let waits = change.note.as_ref().is_some_and(|note| note.starts_with("when another server has weight"));
            let its_rule = matches!(change.object, Object::ReplyRule { .. });
            prop_assert!(change.change == Kind::Remove && (waits || its_rule), "{change}");
        }
    }
}
