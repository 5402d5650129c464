//! A config as a TOML file.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{Flags, Forward, Tunnel, TunnelKind};

use crate::core::model::{
    Amount, Check, Command, Config, ExecWeight, FileNumber, HttpProbe, Notify, Origin, Pattern, Persistence,
    Policy, Probe, Reply, Server, Service, Timeouts, Trust,
};

/// The config as a file that leaves nothing to the defaults.
pub fn write(config: &Config) -> String {
    let mut out = format!(
        "on_stop = {}\n[kernel]\nsysctls = {}\nforwarding = {}\ntimeouts = {}\n{}hide_servers = {}\n",
        quoted(&config.on_stop),
        quoted(&config.kernel.sysctls),
        quoted(&config.kernel.forwarding),
        written_timeouts(config.kernel.timeouts),
        match config.refusals.group {
            Some(group) => format!("[passive]\nnflog_group = {group}\n"),
            None => "[passive]\nhints = false\n".to_owned(),
        },
        config.refusals.hidden
    );
    if let Some(listen) = config.metrics {
        writeln!(out, "[metrics]\nlisten = \"{listen}\"").unwrap();
    }
    if let Some(Notify { fifo, command }) = &config.notify {
        writeln!(out, "[notify]\nfifo = {}", quoted(fifo)).unwrap();
        if !command.is_empty() {
            writeln!(out, "command = {}", quoted(command)).unwrap();
        }
    }
    for service in &config.services {
        let servers: Vec<String> =
            service.servers.iter().map(|server| written_server(service, server)).collect();
        writeln!(
            out,
            "[[service]]\nname = {}\nlisten = {}\nservers = [{}]\nops = {}\nscheduler = {}\nscheduler_flags = {}\n{}forward = {}\ncheck = {}\n\
             {}down_on_stop = {}\nha_suspend = {}\ndrain = {}",
            quoted(&service.name),
            quoted(&service.listen),
            servers.join(", "),
            service.ops,
            quoted(&service.scheduler),
            written_flags(service.scheduler_flags),
            written_persistence(service.persistence.as_ref()),
            written_forward(service.forward),
            written_checks(&service.checks),
            written_policy(&service.policy),
            service.down_on_stop,
            service.ha_suspend,
            written_duration(service.drain),
        )
        .unwrap();
    }
    out
}

fn written_server(service: &Service, server: &Server) -> String {
    let own = service.own_checks.get(&server.address);
    let mut own = own.map_or(String::new(), |own| format!(", check = {}", written_checks(own)));
    let commands = service.own_commands.get(&server.address).cloned().unwrap_or_default();
    for (key, command) in [("on_up", &commands.on_up), ("on_down", &commands.on_down)] {
        own += &command
            .as_ref()
            .map_or(String::new(), |command| format!(", {key} = {}", written_command(command)));
    }
    format!(
        "{{ address = \"{}\", weight = {}, forward = {}, upper_threshold = {}, lower_threshold = {}{own} }}",
        server.address,
        server.weight,
        written_forward(server.forward),
        server.upper_threshold,
        server.lower_threshold
    )
}

fn written_flags(flags: u32) -> String {
    let words = [(Flags::SCHED1, "flag-1"), (Flags::SCHED2, "flag-2"), (Flags::SCHED3, "flag-3")];
    let words: Vec<&str> =
        words.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, word)| *word).collect();
    quoted(&words)
}

fn written_persistence(persistence: Option<&Persistence>) -> String {
    let Some(Persistence { timeout, prefix_v4, prefix_v6, engine }) = persistence else {
        return String::new();
    };
    let engine = engine.as_ref().map_or(String::new(), |engine| format!(", engine = \"{engine}\""));
    let timeout = written_duration(*timeout);
    format!(
        "persistence = {{ timeout = {timeout}, prefix_v4 = {prefix_v4}, prefix_v6 = {prefix_v6}{engine} }}\n"
    )
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
        writeln!(keys, "{key} = {}", written_command(command)).unwrap();
    }
    keys
}

fn written_timeouts(timeouts: Timeouts) -> String {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    format!("{{ tcp = \"{tcp}s\", tcp_fin = \"{tcp_fin}s\", udp = \"{udp}s\" }}")
}

fn written_command(command: &Command) -> String {
    let privileges = if command.network { "network" } else { "none" };
    let (argv, timeout) = (quoted(&command.argv), written_duration(command.timeout));
    let user = command.user.as_ref().map_or(String::new(), |user| format!(", user = {}", quoted(user)));
    format!("{{ command = {argv}, timeout = {timeout}, privileges = \"{privileges}\"{user} }}")
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
                Reply::Contains(bytes) => {
                    format!(", expect_text = {}", quoted(&String::from_utf8(bytes.clone()).unwrap()))
                }
                Reply::Length { least, most } => {
                    format!(", expect_length = {{ min = {least}, max = {most} }}")
                }
                Reply::StartsWith(bytes) => format!(", expect_hex = \"{}\"", hex(bytes)),
            };
            format!("type = \"udp\", send_hex = \"{}\"{reply}", hex(send))
        }
        Probe::File(file) => {
            let number = match file.number {
                FileNumber::UpUnlessZero => "down = \"zero\", weight = false".to_owned(),
                FileNumber::DownUnlessZero => "down = \"nonzero\"".to_owned(),
                FileNumber::Percent => "weight = true".to_owned(),
                FileNumber::Times(times) => format!("weight = {{ times = {times} }}"),
            };
            format!("type = \"file\", path = {}, {number}", quoted(&file.path))
        }
        Probe::Exec(exec) => {
            let privileges = if exec.network { "network" } else { "none" };
            format!(
                "type = \"exec\", command = {}, privileges = \"{privileges}\"{}, weight = {}",
                quoted(&exec.argv),
                exec.user.as_ref().map_or(String::new(), |user| format!(", user = {}", quoted(user))),
                match exec.weight {
                    ExecWeight::None => "false",
                    ExecWeight::Printed => "true",
                    ExecWeight::Status => "\"status\"",
                }
            )
        }
        Probe::Http(http) => written_http(http),
        Probe::Icmp => "type = \"icmp\"".to_owned(),
        Probe::Tcp(tcp) => {
            let send = if tcp.send.is_empty() {
                String::new()
            } else {
                format!(", send_hex = \"{}\"", hex(&tcp.send))
            };
            let expect = match &tcp.expect {
                None => String::new(),
                Some(Pattern::Matches(pattern)) => format!(", expect = {}", quoted(pattern)),
                Some(Pattern::StartsWith(bytes)) => format!(", expect_hex = \"{}\"", hex(bytes)),
            };
            format!("type = \"tcp\"{send}{expect}")
        }
        Probe::Dns(dns) => {
            let edns = dns.edns.map(|size| format!(", edns = {size}")).unwrap_or_default();
            format!(
                "type = \"dns\", query = {}, record = {}, rcode = {}, answer = {}{edns}",
                quoted(&dns.query),
                quoted(&dns.record),
                quoted(&dns.rcodes),
                quoted(&dns.answers),
            )
        }
        Probe::Radius(_) => unreachable!("a secret stands in a file"),
        Probe::Sip(sip) => {
            let status = sip.status.iter().map(|range| format!("\"{}-{}\"", range.first, range.last));
            format!("type = \"sip\", status = [{}]", status.collect::<Vec<_>>().join(", "))
        }
        Probe::Ntp(ntp) => format!("type = \"ntp\", max_stratum = {}", ntp.max_stratum),
        Probe::Snmp(snmp) => {
            let oid = snmp.oid.iter().map(|oid| {
                let numbers = oid.iter().map(u32::to_string).collect::<Vec<_>>();
                format!(", oid = \"{}\"", numbers.join("."))
            });
            let community = String::from_utf8(snmp.community.bytes().to_vec()).unwrap();
            format!("type = \"snmp\", community = {}{}", quoted(&community), oid.collect::<String>())
        }
        Probe::Syslog(syslog) => {
            // Only some of those that have a name.
            let facility = if syslog.facility == 5 { "syslog" } else { "local0" };
            let severity = if syslog.severity == 7 { "debug" } else { "crit" };
            format!("type = \"syslog\", facility = \"{facility}\", severity = \"{severity}\"")
        }
        Probe::Stun(stun) => format!("type = \"stun\", translated = {}", stun.translated),
        Probe::Tftp(tftp) => {
            let file = tftp.file.iter().map(|file| format!(", file = {}", quoted(file)));
            format!("type = \"tftp\"{}", file.collect::<String>())
        }
        Probe::Quic => "type = \"quic\"".to_owned(),
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
    let Origin { source, interface, mark } = &check.origin;
    match source {
        None => {}
        Some(source) if source.port() == 0 => write!(keys, ", source = \"{}\"", source.ip()).unwrap(),
        Some(source) => write!(keys, ", source = \"{source}\"").unwrap(),
    }
    if let Some(interface) = interface {
        write!(keys, ", interface = {}", quoted(interface)).unwrap();
    }
    if let Some(mark) = mark {
        write!(keys, ", mark = {mark}").unwrap();
    }
    format!("{{ {keys} }}")
}

fn written_http(http: &HttpProbe) -> String {
    let mut keys = format!(
        "type = \"{}\", path = {}, method = {}",
        if http.tls.is_some() { "https" } else { "http" },
        quoted(&http.path),
        quoted(&http.method)
    );
    let status: Vec<_> =
        http.status.iter().map(|range| format!("\"{}-{}\"", range.first, range.last)).collect();
    write!(keys, ", status = [{}]", status.join(", ")).unwrap();
    let headers: Vec<_> =
        http.headers.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
    write!(keys, ", headers = {{ {} }}", headers.join(", ")).unwrap();
    let texts = [
        ("host", &http.host),
        ("body", &http.body),
        ("body_absent", &http.body_absent),
        ("weight", &http.weight),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            write!(keys, ", {key} = {}", quoted(value)).unwrap();
        }
    }
    if let Some(digest) = http.digest {
        write!(keys, ", digest = \"{:032x}\"", u128::from_be_bytes(digest)).unwrap();
    }
    if let Some(tls) = &http.tls {
        write!(keys, ", verify = {}", tls.trust != Trust::Anybody).unwrap();
    }
    keys
}

fn written_duration(duration: Duration) -> String {
    format!("\"{}\"", humantime::format_duration(duration))
}

/// As JSON, whose strings and lists of strings are TOML too.
fn quoted(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
