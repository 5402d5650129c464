//! What is known only when the whole file is read: defaults, inheritance, and the rules between keywords.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Reading;
use super::check::CheckDraft;
use super::real_server::RealDraft;
use super::virtual_server::{ServerDraft, SorryDraft};
use crate::keepalived::finding::Rule;
use crate::keepalived::keywords::Block;
use crate::keepalived::model::{
    Check, CheckKind, Connection, Family, Group, Member, Method, Protocol, RealServer, SorryServer, Target,
    Timers, Timing, Value, VirtualServer,
};
use crate::keepalived::place::At;

const PERSISTENCE: Duration = Duration::from_secs(360);
const INTERVAL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(5);

/// The family of a target that has one by itself.
pub fn family_of(target: &Target) -> Option<Family> {
    match target {
        Target::Address(address, _) => Some(Family::of(*address)),
        Target::Fwmark(_) | Target::Group(_) => None,
    }
}

/// What a group means to the virtual servers that use it.
struct Members {
    ports: Vec<(String, u16)>,
    addresses: bool,
    families: Vec<Family>,
}

impl Reading<'_> {
    pub fn resolve(&mut self, drafts: Vec<ServerDraft>) {
        let groups: HashMap<String, Members> =
            self.lvs.groups.iter().map(|group| (group.name.value.clone(), Members::of(group))).collect();
        for draft in drafts {
            let server = self.server(draft, &groups);
            self.lvs.virtual_servers.extend(server);
        }
    }

    fn server(&mut self, mut draft: ServerDraft, groups: &HashMap<String, Members>) -> Option<VirtualServer> {
        let place = draft.place;
        let group = match &draft.target {
            Target::Group(name) => {
                let Some(group) = groups.get(name) else {
                    let message = format!(
                        "there is no group `{name}`: keepalived makes nothing of it, and does not say so"
                    );
                    self.findings.note(Rule::UnknownName, place, message);
                    return None;
                };
                Some(group)
            }
            _ => None,
        };
        self.families(&mut draft);
        let other = |group: &&Members| {
            draft.family.is_some_and(|own| group.families.iter().any(|family| *family != own))
        };
        if group.filter(other).is_some() {
            let message = "the group has an address of another family: keepalived makes nothing of it, and does not say so";
            self.findings.note(Rule::Family, place, message);
            return None;
        }
        if draft.servers.is_empty() {
            self.findings.error(
                Rule::NoServers,
                place,
                "this virtual server has no real servers, and is ignored",
            );
            return None;
        }
        let protocol = self.protocol(&draft, group);
        if let (Some(ops), Some(Value { value: Protocol::Tcp | Protocol::Sctp, .. })) = (draft.ops, protocol)
        {
            self.findings.error(Rule::OpsNeedsUdp, ops, "`ops` needs UDP: it has no effect");
            draft.ops = None;
        }
        if draft.scheduler.is_none() {
            self.findings.warning(Rule::NoScheduler, place, "there is no `lvs_sched`: it is wlc");
        }
        let method = draft.method.map_or(Value::default(Method::Nat), Value::from);
        let own = |real: &RealDraft| real.method.is_some();
        let sorry_needs = draft.sorry.as_ref().is_some_and(|sorry| sorry.method.is_none());
        if draft.method.is_none() && (sorry_needs || !draft.servers.iter().all(own)) {
            self.findings.warning(Rule::NoForwarding, place, "there is no `lvs_method`: it is NAT");
        }
        self.ports(&mut draft, method.value, group);
        let (quorum, hysteresis) = self.quorum(&draft);
        if let (Some(suspend), Target::Fwmark(_)) = (draft.ha_suspend, &draft.target) {
            self.findings.error(
                Rule::HaSuspend,
                suspend,
                "a firewall mark has no address to wait for: `ha_suspend` has no effect",
            );
            draft.ha_suspend = None;
        }
        let servers = std::mem::take(&mut draft.servers);
        let real_servers = servers.into_iter().map(|real| settle(real, &draft, method)).collect();
        Some(VirtualServer {
            place,
            target: draft.target,
            family: draft.family,
            scheduler: draft.scheduler.map_or_else(|| Value::default("wlc".to_owned()), Value::from),
            flags: draft.flags,
            ops: draft.ops,
            method,
            engine: draft.engine,
            persistence: draft.persistence,
            granularity: draft.granularity,
            protocol,
            ha_suspend: draft.ha_suspend,
            virtualhost: draft.virtualhost,
            alpha: draft.alpha,
            omega: draft.omega,
            quorum,
            hysteresis,
            quorum_up: draft.quorum_up,
            quorum_down: draft.quorum_down,
            sorry: draft.sorry.map(|sorry| SorryServer {
                place: sorry.place,
                address: sorry.address,
                port: sorry.port.unwrap_or(0),
                method: sorry.method.map_or(method, Value::from),
                inhibit: sorry.inhibit,
            }),
            inhibit: draft.inhibit,
            timers: draft.timers,
            real_servers,
        })
    }

    /// Servers of another family are left out unless they are tunnelled; the first one gives a mark its family.
    fn families(&mut self, draft: &mut ServerDraft) {
        let inherited = draft.method.map(|method| method.value);
        let mut family = draft.family;
        let mut seen = HashSet::new();
        let findings = &mut *self.findings;
        draft.servers.retain(|real| {
            let of = Family::of(real.address);
            let tunnelled =
                real.method.map(|method| method.value).or(inherited).is_some_and(Method::is_tunnel);
            if !tunnelled && family.is_none() {
                family = Some(of);
            }
            if !tunnelled && family != Some(of) {
                let message =
                    format!("{} is of another family than the virtual server: it is left out", real.address);
                findings.error(Rule::Family, real.place, message);
                return false;
            }
            if !seen.insert((real.address, real.port)) {
                let message =
                    format!("{} port {} is there already: this one is left out", real.address, real.port);
                findings.error(Rule::DuplicateServer, real.place, message);
                return false;
            }
            true
        });
        if let Some(sorry) = &draft.sorry {
            let tunnelled =
                sorry.method.map(|method| method.value).or(inherited).is_some_and(Method::is_tunnel);
            if !tunnelled && family.is_some_and(|family| family != Family::of(sorry.address)) {
                let message =
                    format!("{} is of another family than the virtual server: it is left out", sorry.address);
                self.findings.error(Rule::Family, sorry.place, message);
                draft.sorry = None;
            }
        }
        draft.family = family;
    }

    fn protocol(&mut self, draft: &ServerDraft, group: Option<&Members>) -> Option<Value<Protocol>> {
        let marks_only = match &draft.target {
            Target::Fwmark(_) => true,
            Target::Group(_) => group.is_some_and(|group| !group.addresses),
            Target::Address(..) => false,
        };
        match (marks_only, draft.protocol) {
            (true, None) => None,
            (true, Some(protocol)) => {
                self.findings.warning(
                    Rule::ProtocolIgnored,
                    protocol.place,
                    "a firewall mark has no protocol: it is ignored",
                );
                None
            }
            (false, Some(protocol)) => Some(protocol.into()),
            (false, None) => {
                self.findings.warning(Rule::NoProtocol, draft.place, "there is no `protocol`: it is UDP");
                Some(Value::default(Protocol::Udp))
            }
        }
    }

    fn ports(&mut self, draft: &mut ServerDraft, method: Method, group: Option<&Members>) {
        let none = match &draft.target {
            Target::Address(_, port) => *port == 0,
            Target::Group(_) => group.is_some_and(|group| group.ports.iter().any(|(_, port)| *port == 0)),
            Target::Fwmark(_) => false,
        };
        if none && draft.persistence.is_none() {
            let message = "there is no port, which needs persistence: it is 360 seconds";
            self.findings.error(Rule::ZeroPort, draft.place, message);
            draft.persistence = Some(At { value: PERSISTENCE, place: draft.place });
        }
        let findings = &mut *self.findings;
        for real in &mut draft.servers {
            if !real.method.map_or(method, |method| method.value).keeps_port() {
                continue;
            }
            match &draft.target {
                Target::Address(_, port) if *port != real.port => {
                    let message = format!(
                        "only NAT can change the port: {} of {} becomes {port}",
                        real.port, real.address
                    );
                    findings.warning(Rule::PortReset, real.place, message);
                    real.port = *port;
                }
                Target::Fwmark(_) if real.port != 0 => {
                    let message = format!(
                        "only NAT can change the port: {} of {} is not used",
                        real.port, real.address
                    );
                    findings.warning(Rule::PortReset, real.place, message);
                    real.port = 0;
                }
                Target::Group(_) if real.port != 0 => {
                    for (address, port) in group
                        .map_or(&[][..], |group| &group.ports)
                        .iter()
                        .filter(|(_, port)| *port != real.port)
                    {
                        let message = format!(
                            "only NAT can change the port: {} of {} is not {port} of {address}",
                            real.port, real.address
                        );
                        findings.warning(Rule::PortReset, real.place, message);
                    }
                }
                _ => {}
            }
        }
        let port = match draft.target {
            Target::Address(_, port) => port,
            Target::Fwmark(_) => 0,
            Target::Group(_) => return,
        };
        if let Some(SorryDraft { place, address, port: sorry, method: own, .. }) = &mut draft.sorry {
            let keeps = own.map_or(method, |method| method.value).keeps_port();
            if keeps && sorry.is_some_and(|sorry| sorry != port) {
                let message =
                    format!("only NAT can change the port of the sorry server {address}: it becomes {port}");
                findings.warning(Rule::PortReset, *place, message);
                *sorry = Some(port);
            }
            sorry.get_or_insert(port);
        }
    }

    /// A quorum that no set of servers can reach is lowered, and a hysteresis that reaches it.
    fn quorum(&mut self, draft: &ServerDraft) -> (Value<u32>, Value<u32>) {
        let mut quorum = draft.quorum.map_or(Value::default(1), Value::from);
        let mut hysteresis = draft.hysteresis.map_or(Value::default(0), Value::from);
        let weight =
            |real: &RealDraft| real.weight.or(draft.weight).map_or(1, |weight| u64::from(weight.value));
        let total: u64 = draft.servers.iter().map(weight).sum();
        if u64::from(quorum.value) > total {
            let place = quorum.place.unwrap_or(draft.place);
            let message =
                format!("the quorum {} is more than all weights together: it becomes {total}", quorum.value);
            self.findings.warning(Rule::Quorum, place, message);
            quorum.value = total as u32;
        }
        if hysteresis.value >= quorum.value {
            let place = hysteresis.place.unwrap_or(draft.place);
            let lowered = quorum.value.saturating_sub(1);
            let message = format!(
                "the hysteresis {} is not below the quorum {}: it becomes {lowered}",
                hysteresis.value, quorum.value
            );
            self.findings.warning(Rule::Hysteresis, place, message);
            hysteresis.value = lowered;
        }
        (quorum, hysteresis)
    }
}

impl Members {
    fn of(group: &Group) -> Self {
        let mut members = Self { ports: Vec::new(), addresses: false, families: Vec::new() };
        for member in &group.members {
            match member.value {
                Member::Addresses { first, port, .. } => {
                    members.ports.push((first.to_string(), port));
                    members.addresses = true;
                    members.families.push(Family::of(first));
                }
                Member::Fwmark { family, .. } => members.families.extend(family),
            }
        }
        members
    }
}

/// A real server with what it inherits.
fn settle(real: RealDraft, server: &ServerDraft, method: Value<Method>) -> RealServer {
    let flag = |place| Value { value: true, place: Some(place) };
    let alpha = real.alpha.map(Value::from).or(server.alpha.map(flag)).unwrap_or(Value::default(false));
    let timers = real.timers.or(&server.timers);
    let weight = real.weight.or(server.weight).map_or(Value::default(1), Value::from);
    let virtualhost = real.virtualhost.clone().or_else(|| server.virtualhost.clone());
    let (address, port) = (real.address, real.port);
    let check = |check: CheckDraft| {
        let mut kind = check.kind;
        if let CheckKind::Http { virtualhost: own @ None, .. } = &mut kind {
            own.clone_from(&virtualhost);
        }
        let timers = check.shared.timers.or(&timers);
        let timing = timing(check.block, &timers);
        if let (CheckKind::Misc { timeout, .. }, Some(timing)) = (&mut kind, &timing)
            && timeout.value == Duration::ZERO
        {
            *timeout = timing.interval;
        }
        let connection = (timing.is_some() && check.block != Block::MiscCheck).then(|| Connection {
            address: check.shared.address.map_or(Value::default(address), Value::from),
            port: check.shared.port.map_or(Value::default(port), Value::from),
            bind_address: check.shared.bind_address,
            bind_port: check.shared.bind_port,
            bind_interface: check.shared.bind_interface,
            mark: check.shared.mark,
            timeout: timers.connect_timeout.map_or(Value::default(TIMEOUT), Value::from),
        });
        Check {
            place: check.place,
            kind,
            connection,
            timing,
            alpha: check.shared.alpha.map_or(alpha, Value::from),
        }
    };
    RealServer {
        place: real.place,
        address,
        port,
        has_port: real.has_port,
        weight,
        method: real.method.map_or(method, Value::from),
        upper_threshold: real.upper.map_or(Value::default(0), Value::from),
        lower_threshold: real.lower.map_or(Value::default(0), Value::from),
        inhibit: real.inhibit.map(Value::from).or(server.inhibit.map(flag)).unwrap_or(Value::default(false)),
        alpha,
        notify_up: real.notify_up,
        notify_down: real.notify_down,
        checks: real.checks.into_iter().map(check).collect(),
        virtualhost,
    }
}

fn timing(block: Block, timers: &Timers) -> Option<Timing> {
    let interval = timers.delay_loop.map_or(Value::default(INTERVAL), Value::from);
    let second = |seconds| Value::default(Duration::from_secs(seconds));
    let (retry, delay) = match block {
        Block::FileCheck | Block::BfdCheck => return None,
        Block::DnsCheck => (3, interval),
        Block::MiscCheck => (0, second(1)),
        Block::HttpGet | Block::SslGet => (1, second(3)),
        _ => (1, second(1)),
    };
    Some(Timing {
        interval,
        retry: timers.retry.map_or(Value::default(retry), Value::from),
        retry_delay: timers.delay_before_retry.map_or(delay, Value::from),
        warmup: timers.warmup.map_or(interval, Value::from),
    })
}

impl Timers {
    /// These where they are given, else the others.
    fn or(&self, other: &Self) -> Self {
        Self {
            delay_loop: self.delay_loop.or(other.delay_loop),
            retry: self.retry.or(other.retry),
            delay_before_retry: self.delay_before_retry.or(other.delay_before_retry),
            warmup: self.warmup.or(other.warmup),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
        }
    }
}
