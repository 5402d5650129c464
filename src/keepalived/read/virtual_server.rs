//! `virtual_server`: its header and its own keywords.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::real_server::RealDraft;
use super::value::{LONGEST, LONGEST_CONNECT};
use super::{Reading, resolve};
use crate::keepalived::finding::Rule;
use crate::keepalived::keywords::Block;
use crate::keepalived::model::{
    Checksum, Family, Granularity, Method, Protocol, Script, Target, Timers, Tunnel,
};
use crate::keepalived::place::{At, Place};
use crate::keepalived::tree::Statement;

const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos"];
const DEFAULT_PERSISTENCE: Duration = Duration::from_secs(360);

/// A virtual server as it is written; what it inherits and what it passes on is not settled yet.
#[derive(Debug)]
pub struct ServerDraft {
    pub place: Place,
    pub target: Target,
    pub family: Option<Family>,
    pub scheduler: Option<At<String>>,
    pub flags: Vec<At<u8>>,
    pub ops: Option<Place>,
    pub method: Option<At<Method>>,
    pub engine: Option<At<String>>,
    pub persistence: Option<At<Duration>>,
    pub granularity: Option<At<Granularity>>,
    pub protocol: Option<At<Protocol>>,
    pub ha_suspend: Option<Place>,
    pub virtualhost: Option<At<String>>,
    pub alpha: Option<Place>,
    pub omega: Option<Place>,
    pub quorum: Option<At<u32>>,
    pub hysteresis: Option<At<u32>>,
    pub quorum_up: Option<Script>,
    pub quorum_down: Option<Script>,
    pub weight: Option<At<u32>>,
    pub sorry: Option<SorryDraft>,
    pub inhibit: Option<Place>,
    pub timers: Timers,
    pub servers: Vec<RealDraft>,
}

/// A sorry server as it is written.
#[derive(Debug)]
pub struct SorryDraft {
    pub place: Place,
    pub address: IpAddr,
    pub port: Option<u16>,
    pub method: Option<At<Method>>,
    pub inhibit: Option<Place>,
}

impl Reading<'_> {
    pub fn virtual_server(&mut self, statement: &Statement, block: &[Statement]) -> Option<ServerDraft> {
        let target = self.target(statement)?;
        let mut server = ServerDraft::new(statement.place(), target);
        self.each(Block::VirtualServer, block, |reading, name, statement| {
            reading.server_keyword(&mut server, name, statement)
        });
        Some(server)
    }

    fn target(&mut self, statement: &Statement) -> Option<Target> {
        let first = self.argument(statement)?;
        let second = statement.word(2);
        match (first.text.as_str(), second) {
            ("fwmark" | "group", None) => {
                let message =
                    format!("the name or number of this {} is missing: keepalived crashes", first.text);
                self.findings.error(Rule::MissingValue, first.place, message);
                None
            }
            ("fwmark", Some(word)) if word.text == "0" => {
                self.bad(word, "the mark", "1 or more: keepalived makes nonsense of it");
                None
            }
            ("fwmark", Some(word)) => {
                self.number_of(word, "the mark", 0..=u32::MAX.into()).map(|mark| Target::Fwmark(mark.value))
            }
            ("group", Some(word)) => Some(Target::Group(word.text.clone())),
            _ => {
                let (address, port) = self.endpoint(&statement.words[1..], "the virtual server")?;
                Some(Target::Address(address, port.unwrap_or(0)))
            }
        }
    }

    fn server_keyword(&mut self, server: &mut ServerDraft, name: &str, statement: &Statement) {
        let place = statement.place();
        match name {
            "real_server" => {
                let block = statement.block.as_deref().unwrap_or_default();
                let real = self.real_server(server, statement, block);
                server.servers.extend(real);
            }
            "ip_family" => self.family(server, statement),
            "lvs_sched" | "lb_algo" => {
                let Some(word) = self.argument(statement) else { return };
                if SCHEDULERS.contains(&word.text.as_str()) {
                    server.scheduler = Some(At { value: word.text.clone(), place: word.place });
                } else {
                    self.bad(word, "the scheduler", &SCHEDULERS.join(", "));
                }
            }
            "flag-1" => server.flags.push(At { value: 1, place }),
            "flag-2" => server.flags.push(At { value: 2, place }),
            "flag-3" => server.flags.push(At { value: 4, place }),
            "sh-fallback" | "mh-fallback" => self.scheduler_flag(server, 1, statement),
            "sh-port" | "mh-port" => self.scheduler_flag(server, 2, statement),
            "hashed" => self.scheduler_flag(server, 0, statement),
            "ops" => server.ops = Some(place),
            "lvs_method" | "lb_kind" => server.method = self.method(statement).or(server.method),
            "persistence_engine" => server.engine = self.text(statement),
            "persistence_timeout" => {
                let given = match statement.word(1) {
                    None => Some(At { value: DEFAULT_PERSISTENCE, place }),
                    Some(_) => {
                        let seconds = self.number::<u32>(statement, 1..=2_678_400);
                        seconds.map(|at| at.map(|seconds| Duration::from_secs(seconds.into())))
                    }
                };
                server.persistence = given.or(server.persistence);
            }
            "persistence_granularity" => self.granularity(server, statement),
            "protocol" => {
                let Some(word) = self.argument(statement) else { return };
                match word.text.to_ascii_uppercase().as_str() {
                    "TCP" => server.protocol = Some(At { value: Protocol::Tcp, place: word.place }),
                    "UDP" => server.protocol = Some(At { value: Protocol::Udp, place: word.place }),
                    "SCTP" => server.protocol = Some(At { value: Protocol::Sctp, place: word.place }),
                    _ => self.bad(word, "the protocol", "TCP, UDP or SCTP"),
                }
            }
            "ha_suspend" => server.ha_suspend = Some(place),
            "virtualhost" => server.virtualhost = self.optional_text(statement),
            "snmp_name" => drop(self.optional_text(statement)),
            "smtp_alert" => drop(self.switch(statement)),
            "alpha" => server.alpha = Some(place),
            "omega" => server.omega = Some(place),
            "inhibit_on_failure" => server.inhibit = Some(place),
            "quorum" => server.quorum = self.number(statement, 1..=u32::MAX.into()).or(server.quorum),
            "hysteresis" => {
                server.hysteresis = self.number(statement, 0..=u32::MAX.into()).or(server.hysteresis)
            }
            "quorum_up" => self.script(&mut server.quorum_up, statement),
            "quorum_down" => self.script(&mut server.quorum_down, statement),
            "weight" => server.weight = self.number(statement, 1..=i32::MAX.into()).or(server.weight),
            "sorry_server" => self.sorry_server(server, statement),
            "sorry_server_inhibit" | "sorry_server_lvs_method" => {
                let method = if name == "sorry_server_lvs_method" { self.method(statement) } else { None };
                match &mut server.sorry {
                    Some(sorry) if name == "sorry_server_inhibit" => sorry.inhibit = Some(place),
                    Some(sorry) => sorry.method = method.or(sorry.method),
                    None => self.findings.error(
                        Rule::Order,
                        place,
                        format!("`{name}` stands before any `sorry_server`, and has no effect"),
                    ),
                }
            }
            _ => self.timers(&mut server.timers, name, statement, 1),
        }
    }

    /// A flag of `sh` or `mh`: both know both names.
    fn scheduler_flag(&mut self, server: &mut ServerDraft, bit: u8, statement: &Statement) {
        let place = statement.place();
        match server.scheduler.as_ref().map(|scheduler| scheduler.value.as_str()) {
            Some("sh" | "mh") => server.flags.extend((bit != 0).then_some(At { value: bit, place })),
            _ => {
                let message = format!(
                    "`{}` has no effect: no `lvs_sched` sh or mh stands before it",
                    statement.keyword()
                );
                self.findings.error(Rule::Order, place, message);
            }
        }
    }

    fn family(&mut self, server: &mut ServerDraft, statement: &Statement) {
        let Some(word) = self.argument(statement) else { return };
        let family = match word.text.as_str() {
            "inet" => Family::Inet,
            "inet6" => Family::Inet6,
            _ => return self.bad(word, "the family", "inet or inet6"),
        };
        if matches!(server.target, Target::Address(..)) && server.family != Some(family) {
            self.findings.error(
                Rule::Family,
                word.place,
                "the address is of the other family: `ip_family` has no effect",
            );
        } else {
            server.family = Some(family);
        }
    }

    fn granularity(&mut self, server: &mut ServerDraft, statement: &Statement) {
        let Some(word) = self.argument(statement) else { return };
        let place = word.place;
        // Without a family, what has a dot is of IPv4, and says so for the virtual server.
        let v6 = server.family.map_or(!word.text.contains('.'), |family| family == Family::Inet6);
        let granularity = if v6 {
            let Some(prefix) = self.number_of(word, "the granularity", 1..=128) else { return };
            Granularity::Prefix(prefix.value)
        } else {
            match inet_aton(&word.text) {
                Some(mask) => {
                    if mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() < 32 {
                        let message =
                            format!("`{}` is the mask {mask}, whose bits do not stand in a row", word.text);
                        self.findings.note(Rule::BadValue, place, message);
                    }
                    Granularity::Mask(mask)
                }
                None => return self.bad(word, "the granularity", "a mask such as 255.255.255.0"),
            }
        };
        server.family = Some(if v6 { Family::Inet6 } else { Family::Inet });
        server.granularity = Some(At { value: granularity, place });
        server.persistence = server.persistence.or(Some(At { value: DEFAULT_PERSISTENCE, place }));
    }

    fn sorry_server(&mut self, server: &mut ServerDraft, statement: &Statement) {
        if self.argument(statement).is_none() {
            return;
        }
        let Some((address, port)) = self.endpoint(&statement.words[1..], "the sorry server") else { return };
        server.sorry =
            Some(SorryDraft { place: statement.place(), address, port, method: None, inhibit: None });
    }

    /// `NAT`, `DR`, or `TUN` with the type of tunnel.
    pub fn method(&mut self, statement: &Statement) -> Option<At<Method>> {
        let word = self.argument(statement)?;
        let place = word.place;
        let method = match word.text.as_str() {
            "NAT" => Method::Nat,
            "DR" => Method::Dr,
            "TUN" => Method::Tun(Tunnel::Ipip),
            _ => {
                self.bad(word, "the method", "NAT, DR or TUN");
                return None;
            }
        };
        let (mut kind, mut port, mut checksum) = ("ipip", None, None);
        let mut options = statement.words[2..].iter();
        while let Some(option) = options.next() {
            let value = match option.text.as_str() {
                "type" | "port" => options.next(),
                _ => None,
            };
            match (option.text.as_str(), value) {
                ("type", Some(value)) if matches!(value.text.as_str(), "ipip" | "gue" | "gre") => {
                    kind = &value.text
                }
                ("type", Some(value)) => self.bad(value, "the type of tunnel", "ipip, gue or gre"),
                ("port", Some(value)) => {
                    match self.number_of::<u16>(value, "the tunnel's port", 1..=65_535) {
                        Some(given) => port = Some(given.value),
                        None => return Some(At { value: method, place }),
                    }
                }
                ("nocsum", _) => checksum = Some(Checksum::None),
                ("csum", _) => checksum = Some(Checksum::Plain),
                ("remcsum", _) => checksum = Some(Checksum::Remote),
                _ => {
                    self.bad(
                        option,
                        "an option of the tunnel",
                        "type, port, nocsum, csum or remcsum, with its value",
                    );
                    return Some(At { value: method, place });
                }
            }
        }
        if method == Method::Nat || method == Method::Dr {
            return Some(At { value: method, place });
        }
        let checksum = checksum.unwrap_or_default();
        let wrong = match (kind, port, checksum) {
            ("gue", None, _) => Some("a gue tunnel needs a port"),
            ("ipip" | "gre", Some(_), _) => Some("only a gue tunnel has a port"),
            ("ipip", _, Checksum::Plain | Checksum::Remote) => Some("an ipip tunnel has no checksum"),
            ("gre", _, Checksum::Remote) => Some("a gre tunnel has no remote checksum"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.findings.error(Rule::BadValue, place, wrong);
        }
        let tunnel = match (kind, port) {
            ("gue", Some(port)) => Tunnel::Gue(port, checksum),
            ("gre", _) => Tunnel::Gre(checksum),
            _ => Tunnel::Ipip,
        };
        Some(At { value: Method::Tun(tunnel), place })
    }

    /// The timers that a virtual server, a real server and a check share. `least` is that of `retry`.
    pub fn timers(&mut self, timers: &mut Timers, name: &str, statement: &Statement, least: i64) {
        match name {
            "delay_loop" => timers.delay_loop = self.timer(statement, 1, LONGEST).or(timers.delay_loop),
            "delay_before_retry" => {
                timers.delay_before_retry = self.timer(statement, 0, LONGEST).or(timers.delay_before_retry)
            }
            "warmup" => timers.warmup = self.timer(statement, 0, LONGEST).or(timers.warmup),
            "connect_timeout" => {
                timers.connect_timeout = self.timer(statement, 1, LONGEST_CONNECT).or(timers.connect_timeout);
            }
            "retry" => timers.retry = self.number(statement, least..=u32::MAX.into()).or(timers.retry),
            _ => {}
        }
    }
}

/// An address as inet_aton(3) reads it: the last of one to four parts fills what is left, so that 24 is 0.0.0.24.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts = text.split('.').map(|part| match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    });
    let parts = parts.collect::<Option<Vec<u32>>>()?;
    let (last, bytes) = parts.split_last()?;
    let left = 4usize.checked_sub(bytes.len()).filter(|left| *left > 0)?;
    let fits = left == 4 || *last < 1 << (8 * left);
    if !fits || bytes.iter().any(|byte| *byte > 0xff) {
        return None;
    }
    let high = bytes.iter().enumerate().map(|(index, byte)| byte << (24 - 8 * index)).sum::<u32>();
    Some(Ipv4Addr::from_bits(high | last))
}

impl ServerDraft {
    fn new(place: Place, target: Target) -> Self {
        Self {
            place,
            family: resolve::family_of(&target),
            target,
            scheduler: None,
            flags: Vec::new(),
            ops: None,
            method: None,
            engine: None,
            persistence: None,
            granularity: None,
            protocol: None,
            ha_suspend: None,
            virtualhost: None,
            alpha: None,
            omega: None,
            quorum: None,
            hysteresis: None,
            quorum_up: None,
            quorum_down: None,
            weight: None,
            sorry: None,
            inhibit: None,
            timers: Timers::default(),
            servers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_read_as_the_c_library_reads_it() {
        let shown = |text| inet_aton(text).map(|mask| mask.to_string());
        assert_eq!(shown("255.255.255.0").as_deref(), Some("255.255.255.0"));
        assert_eq!(shown("24").as_deref(), Some("0.0.0.24"));
        assert_eq!(shown("255.255").as_deref(), Some("255.0.0.255"));
        assert_eq!(shown("0xffffff00").as_deref(), Some("255.255.255.0"));
        for text in ["/24", "x", "", "256.0.0.0", "1.2.3.4.5", "1.2.3.256", "4294967296"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
