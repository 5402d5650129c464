//! A config as a TOML file.

use std::fmt::Write;
use std::time::Duration;

use ipvs_netlink::{Forward, Tunnel, TunnelKind};

use crate::core::model::{Check, Config, Probe, Reply};

/// The config as a file that leaves nothing to the defaults.
pub fn write(config: &Config) -> String {
    let mut out = format!(
        "on_stop = {}\n[kernel]\nsysctls = {}\nforwarding = {}\n{}hide_servers = {}\n",
        quoted(&config.on_stop),
        quoted(&config.kernel.sysctls),
        quoted(&config.kernel.forwarding),
        match config.refusals.group {
            Some(group) => format!("[passive]\nnflog_group = {group}\n"),
            None => "[passive]\nhints = false\n".to_owned(),
        },
        config.refusals.hidden
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
             when_all_down = {}\ndrain = {}",
            quoted(&service.name),
            quoted(&service.listen),
            servers.join(", "),
            service.ops,
            quoted(&service.scheduler),
            written_forward(service.forward),
            service.check.as_deref().map_or("\"none\"".to_owned(), written_check),
            quoted(&service.when_all_down),
            written_duration(service.drain),
        )
        .unwrap();
    }
    out
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
