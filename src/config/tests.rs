//! Tests of the whole room: the config of the README and every default, golden reports, properties.

mod checks;
mod properties;
mod reports;
mod schema;
mod written;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{Forward, Tunnel, TunnelChecksum, TunnelKind};

use super::{LoadError, Loaded, load, parse};
use crate::core::model::{Check, Forwarding, OnStop, Probe, Refusals, Reply, Service, Sysctls, WhenAllDown};

/// A valid text, which must be without warnings.
fn good(text: &str) -> Loaded {
    let loaded = parse("ipvsd.toml", text).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded
}

/// The one service with these settings after `name`, `listen` and `servers`.
fn service(settings: &str) -> Service {
    let text = format!("[[service]]\nname='a'\nlisten='192.0.2.1:53'\nservers=['10.0.0.1:53']\n{settings}");
    parse("ipvsd.toml", &text).unwrap_or_else(|report| panic!("{report}")).config.services.remove(0)
}

#[test]
fn a_small_file_gets_every_default() {
    let config = good(
        r#"
        [[service]]
        name    = "dns"
        listen  = ["192.0.2.53:53", "[2001:db8::53]:53"]
        servers = ["10.0.1.11:5300", { address = "10.0.1.12:5300", weight = 2 }, "[2001:db8:1::11]:5300"]
        scheduler = "wrr"
        check   = { type = "udp", send = "ping\n", expect = "^pong", interval = "200ms", timeout = "150ms" }
        "#,
    )
    .config;
    assert_eq!(config.on_stop, OnStop::Keep);
    assert_eq!((config.kernel.sysctls, config.kernel.forwarding), (Sysctls::Set, Forwarding::Require));
    assert_eq!(config.refusals, Refusals { group: Some(26_998), hidden: true });
    let [service] = config.services.as_slice() else { panic!("one service") };
    assert_eq!(service.name, "dns");
    assert_eq!(service.listen, ["192.0.2.53:53".parse().unwrap(), "[2001:db8::53]:53".parse().unwrap()]);
    assert!(service.ops);
    assert_eq!(service.forward, Forward::Masquerade);
    assert_eq!(service.servers.iter().map(|server| server.weight).collect::<Vec<_>>(), [1, 2, 1]);
    assert_eq!(service.policy.when_all_down, WhenAllDown::Keep);
    assert_eq!(service.drain, Duration::from_secs(5));
    let [check] = service.checks.as_slice() else { panic!("one check") };
    let reply = Reply::Matches("^pong".to_owned());
    assert_eq!(check.probe, Probe::Udp { send: b"ping\n".to_vec(), reply });
    assert_eq!((check.interval, check.timeout), (Duration::from_millis(200), Duration::from_millis(150)));
    assert_eq!((check.retry_interval, check.rise, check.fall), (Duration::from_millis(100), 2, 3));
    assert_eq!((check.address, check.port), (None, None));
}

#[test]
fn every_setting_arrives() {
    let config = parse(
        "ipvsd.toml",
        r#"
        on_stop = "remove"
        [kernel]
        sysctls = "report"
        forwarding = "set"
        [passive]
        nflog_group = 7
        hide_servers = false
        [[service]]
        name = "a"
        listen = "192.0.2.1:53"
        servers = ["10.0.0.1:5353"]
        ops = false
        scheduler = "wlc"
        forward = "nat"
        when_all_down = "refuse"
        drain = "0s"
        check = { type = "dns", interval = "1s", timeout = "2s", retry_interval = "3ms", rise = 4, fall = 5, address = "10.9.9.9", port = 54 }
        "#,
    )
    .unwrap()
    .config;
    assert_eq!(config.on_stop, OnStop::Remove);
    assert_eq!((config.kernel.sysctls, config.kernel.forwarding), (Sysctls::Report, Forwarding::Set));
    assert_eq!(config.refusals, Refusals { group: Some(7), hidden: false });
    let service = &config.services[0];
    assert!(!service.ops);
    assert_eq!(service.scheduler, "wlc");
    assert_eq!((service.policy.when_all_down, service.drain), (WhenAllDown::Refuse, Duration::ZERO));
    let [check] = service.checks.as_slice() else { panic!("one check") };
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(1), Duration::from_secs(2)));
    assert_eq!((check.retry_interval, check.rise, check.fall), (Duration::from_millis(3), 4, 5));
    assert_eq!(check.target(service.servers[0].address), "10.9.9.9:54".parse().unwrap());
}

#[test]
fn defaults_hold_where_a_service_says_nothing() {
    let services = parse(
        "ipvsd.toml",
        r#"
        [defaults]
        check = "dns"
        scheduler = "sh"
        forward = "direct"
        [[service]]
        name = "a"
        listen = "192.0.2.1:53"
        servers = ["10.0.0.1:53"]
        [[service]]
        name = "b"
        listen = "192.0.2.2:53"
        servers = ["10.0.0.1:53"]
        scheduler = "rr"
        forward = "tunnel"
        check = "none"
        "#,
    )
    .unwrap()
    .config
    .services;
    assert_eq!(services[0].scheduler, "sh");
    assert_eq!(services[0].forward, Forward::Direct);
    assert_eq!(services[0].checks.len(), 1);
    assert_eq!(services[1].scheduler, "rr");
    assert!(matches!(services[1].forward, Forward::Tunnel(_)));
    assert!(services[1].checks.is_empty());
}

#[test]
fn a_server_may_have_a_check_of_its_own() {
    let names = |checks: &[Arc<Check>]| checks.iter().map(|check| check.probe.name()).collect::<Vec<_>>();
    let asked = |text: &str| {
        let text =
            format!("[[service]]\nname='a'\nlisten='192.0.2.1:53'\nfallback='10.0.0.9:53'\nservers=[{text}");
        let mut config = good(&text).config;
        let service = config.services.remove(0);
        let asked: Vec<_> =
            service.servers.iter().map(|server| names(service.checks_of(server)).join(" ")).collect();
        (service, asked)
    };
    let own = "{ address='10.0.0.1:53', check=['ntp', 'icmp'] }, { address='10.0.0.2:53', check='none' }";
    let (service, all) = asked(&format!("{own}, '10.0.0.3:53']\ncheck='ntp'"));
    assert_eq!(all, ["ntp icmp", "", "ntp", ""]);
    assert_eq!(service.own_checks.len(), 2);
    let one = &service.own_checks[&"10.0.0.1:53".parse().unwrap()][0];
    assert!(Arc::ptr_eq(one, &service.checks[0]), "equal checks are one");
    // With one for each, there is nothing to say for all.
    let (service, all) = asked(&format!("{own}]"));
    assert_eq!(all, ["ntp icmp", "", ""]);
    assert_eq!(service.detection(), service.own_checks.values().next().unwrap()[0].worst_case());
    // The word of the service counts, and not the defaults.
    let text = "[defaults]\ncheck='ntp'\n[[service]]\nname='a'\nlisten='192.0.2.1:53'\nservers=['10.0.0.3:53', {address='10.0.0.1:53', check='icmp'}]";
    let service = good(text).config.services.remove(0);
    assert_eq!(
        service.servers.iter().map(|it| names(service.checks_of(it))).collect::<Vec<_>>(),
        [["ntp"], ["icmp"]]
    );
}

#[test]
fn tunnels_have_a_kind_a_port_and_a_checksum() {
    use TunnelChecksum::{Full, None, Remote};
    for (text, kind, checksum) in [
        ("'tunnel'", TunnelKind::Ipip, None),
        ("{ tunnel = 'ipip', checksum = 'none' }", TunnelKind::Ipip, None),
        ("{ tunnel = 'gre', checksum = 'full' }", TunnelKind::Gre, Full),
        ("{ tunnel = 'gue', port = 6080 }", TunnelKind::Gue { port: 6080.try_into().unwrap() }, None),
        (
            "{ tunnel = 'gue', port = 6080, checksum = 'remote' }",
            TunnelKind::Gue { port: 6080.try_into().unwrap() },
            Remote,
        ),
    ] {
        let forward = service(&format!("check = 'none'\nforward = {text}")).forward;
        assert_eq!(forward, Forward::Tunnel(Tunnel { kind, checksum }), "{text}");
    }
}

#[test]
fn every_example_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut examples = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let secret = folder.join("../tests/config/radius.secret").display().to_string();
            let text = std::fs::read_to_string(&path).unwrap().replace("/etc/ipvsd/radius.secret", &secret);
            parse(&path.display().to_string(), &text).unwrap_or_else(|report| panic!("{report}"));
            examples += 1;
        }
    }
    assert!(examples >= 3, "only {examples} examples");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load(Path::new("no/such/ipvsd.toml")).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }));
    assert!(
        error.to_string().starts_with("cannot read the config no/such/ipvsd.toml: No such file"),
        "{error}"
    );
}

#[test]
fn ten_thousand_services_take_no_time() {
    let mut text = String::from("[defaults]\ncheck = 'dns'\n");
    for index in 0..10_000u32 {
        let (high, low) = (index / 250, index % 250 + 1);
        text += &format!(
            "[[service]]\nname = 's{index}'\nlisten = '192.0.{high}.{low}:53'\n\
             servers = ['10.1.{high}.{low}:53', '10.2.{high}.{low}:53']\n"
        );
    }
    let begun = std::time::Instant::now();
    assert_eq!(good(&text).config.services.len(), 10_000);
    // Generous: an unoptimised build on a busy machine. What is quadratic takes minutes.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
