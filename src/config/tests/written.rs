//! A config as a TOML file.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{Forward, Tunnel, TunnelKind};

use crate::core::model::{Amount, Check, Config, Policy, Probe, Reply};

/// The config as a file that leaves nothing to the defaults.
pub fn write(config: &Config) -> String {
    let mut out = format!(
        "on_stop = {}\n[kernel]\nsysctls = {}\nforwarding = {}\n",
        quoted(&config.on_stop),
        quoted(&config.kernel.sysctls),
        quoted(&config.kernel.forwarding)
    );
    for service in &config.services {
        let servers: Vec<String> = service
            .servers
            .iter()
            .map(|server| format!("{{ address = \"{}\", weight = {} }}", server.address, server.weight))
            .collect();
        writeln!(
            out,
            "[[service]]\nname = {}\nlisten = {}\nservers = [{}]\nops = {}\nscheduler = {}\nforward = {}\ncheck = {}\n\
             {}drain = {}",
            quoted(&service.name),
            quoted(&service.listen),
            servers.join(", "),
            service.ops,
            quoted(&service.scheduler),
            written_forward(service.forward),
            written_checks(&service.checks),
            written_policy(&service.policy),
            written_duration(service.drain),
        )
        .unwrap();
    }
    out
}

fn written_checks(checks: &[Arc<Check>]) -> String {
    match checks {
        [] => "\"none\"".to_owned(),
        checks => {
            let checks: Vec<String> = checks.iter().map(|check| written_check(check)).collect();
            format!("[{}]", checks.join(", "))
        }
    }
}

fn written_policy(policy: &Policy) -> String {
    let mut keys = format!("when_all_down = {}\n", quoted(&policy.when_all_down));
    match policy.min_healthy {
        None => {}
        Some(Amount::Count(count)) => writeln!(keys, "min_healthy = {count}").unwrap(),
        Some(Amount::Percent(percent)) => writeln!(keys, "min_healthy = \"{percent}%\"").unwrap(),
    }
    for (key, command) in [("on_up", &policy.quorum.on_up), ("on_down", &policy.quorum.on_down)] {
        let Some(command) = command else { continue };
        let privileges = if command.network { "network" } else { "none" };
        let (argv, timeout) = (quoted(&command.argv), written_duration(command.timeout));
        writeln!(keys, "{key} = {{ command = {argv}, timeout = {timeout}, privileges = \"{privileges}\" }}")
            .unwrap();
    }
    keys
}

fn written_forward(forward: Forward) -> &'static str {
    match forward {
        Forward::Direct => "\"direct\"",
        Forward::Tunnel(Tunnel { kind: TunnelKind::Ipip, .. }) => "{ tunnel = \"ipip\" }",
        Forward::Tunnel(Tunnel { kind: TunnelKind::Gre, .. }) => "{ tunnel = \"gre\", checksum = \"full\" }",
        Forward::Tunnel(_) => "{ tunnel = \"gue\", port = 6080, checksum = \"remote\" }",
        _ => "\"nat\"",
    }
}

fn written_check(check: &Check) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>();
    let mut keys = match &check.probe {
        Probe::Udp { send, reply } => {
            let reply = match reply {
                Reply::Any => String::new(),
                Reply::Optional => ", reply = \"optional\"".to_owned(),
                Reply::Matches(pattern) => format!(", expect = {}", quoted(pattern)),
                Reply::StartsWith(bytes) => format!(", expect_hex = \"{}\"", hex(bytes)),
            };
            format!("type = \"udp\", send_hex = \"{}\"{reply}", hex(send))
        }
        Probe::Dns(dns) => {
            let answer = dns.answer.iter().map(|answer| format!(", answer = {}", quoted(answer)));
            format!(
                "type = \"dns\", query = {}, record = {}, rcode = {}{}",
                quoted(&dns.query),
                quoted(&dns.record),
                quoted(&dns.rcode),
                answer.collect::<String>()
            )
        }
    };
    for (key, value) in
        [("interval", check.interval), ("timeout", check.timeout), ("retry_interval", check.retry_interval)]
    {
        write!(keys, ", {key} = {}", written_duration(value)).unwrap();
    }
    write!(keys, ", rise = {}, fall = {}", check.rise, check.fall).unwrap();
    if let Some(address) = check.address {
        write!(keys, ", address = \"{address}\"").unwrap();
    }
    if let Some(port) = check.port {
        write!(keys, ", port = {port}").unwrap();
    }
    format!("{{ {keys} }}")
}

fn written_duration(duration: Duration) -> String {
    format!("\"{}\"", humantime::format_duration(duration))
}

/// As JSON, whose strings and lists of strings are TOML too.
fn quoted(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
