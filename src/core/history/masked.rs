//! A service of the config without what a check or a command may have for a secret. Two that differed still differ.

use std::sync::Arc;

use crate::core::model::{Check, Command, ExecProbe, HttpProbe, Notify, Probe, Secret, Service, TcpProbe};

pub fn service(service: &Service) -> Service {
    let mut service = service.clone();
    service.checks.iter_mut().chain(service.own_checks.values_mut().flatten()).for_each(mask);
    let quorum = &mut service.policy.quorum;
    let own = service.own_commands.values_mut().flat_map(|own| [&mut own.on_up, &mut own.on_down]);
    for hook in [&mut quorum.on_up, &mut quorum.on_down].into_iter().chain(own).flatten() {
        *hook = Arc::new(Command { argv: argv(&hook.argv), ..Command::clone(hook) });
    }
    service
}

/// Who hears of verdicts.
pub fn notify(notify: &Notify) -> Notify {
    Notify { command: argv(&notify.command), ..notify.clone() }
}

/// Of a check.
pub fn mask(check: &mut Arc<Check>) {
    *check = Arc::new(Check { probe: probe(&check.probe), ..Check::clone(check) });
}

fn probe(probe: &Probe) -> Probe {
    match probe {
        Probe::Udp { send, reply } => Probe::Udp { send: mark(send).into_bytes(), reply: reply.clone() },
        Probe::Tcp(tcp) => Probe::Tcp(TcpProbe { send: mark(&tcp.send).into_bytes(), ..tcp.clone() }),
        Probe::Exec(exec) => Probe::Exec(ExecProbe { argv: argv(&exec.argv), ..exec.clone() }),
        Probe::Http(http) => {
            let header = |(name, value): &(String, String)| (name.clone(), mark(value.as_bytes()));
            Probe::Http(HttpProbe {
                path: mark(http.path.as_bytes()),
                headers: http.headers.iter().map(header).collect(),
                ..http.clone()
            })
        }
        // A `Secret` shows no more than its mark anyway.
        Probe::Radius(_) | Probe::Snmp(_) => probe.clone(),
        Probe::Dns(_)
        | Probe::Sip(_)
        | Probe::Ntp(_)
        | Probe::Syslog(_)
        | Probe::Stun(_)
        | Probe::Tftp(_)
        | Probe::Quic
        | Probe::Icmp
        | Probe::File(_) => probe.clone(),
    }
}

/// The executable, and a mark for each argument.
fn argv(argv: &[String]) -> Vec<String> {
    let arguments = argv.iter().skip(1).map(|argument| mark(argument.as_bytes()));
    argv.iter().take(1).cloned().chain(arguments).collect()
}

fn mark(bytes: &[u8]) -> String {
    format!("#{:016x}", Secret::new(bytes.to_vec()).mark())
}
