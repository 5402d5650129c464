//! The sysctls that the core keeps right while the daemon runs, and puts back when it leaves.

use std::collections::BTreeMap;

use ipvs_netlink::Family;

use super::drift::Ruling;
use super::event::Event;
use super::evict::EXPIRE;
use super::model::{Config, Forwarding, Sysctls, Timeouts};
use super::{Core, Output, Time, desired};

/// A sysctl that breaks one-packet scheduling unless it has this value.
#[derive(Clone, Copy, Debug)]
pub struct Vital {
    /// Its name.
    pub key: &'static str,
    /// The one value that breaks it; none: every value but `right`.
    pub wrong: Option<&'static str>,
    /// The value that is right.
    pub right: &'static str,
    /// What a wrong one does.
    pub why: &'static str,
}

/// All of them. `conn_max` is of Linux 7.1 and later, and its right value the kernel's default.
pub const VITAL: [Vital; 5] = [
    Vital {
        key: "net.ipv4.vs.nat_icmp_send",
        wrong: None,
        right: "0",
        why: "the kernel drops every reply of a server under NAT with OPS",
    },
    Vital {
        key: "net.ipv4.vs.drop_packet",
        wrong: None,
        right: "0",
        why: "the kernel drops a share of the requests on purpose",
    },
    Vital {
        key: "net.ipv4.vs.backup_only",
        wrong: None,
        right: "0",
        why: "a director that runs a backup sync daemon ignores every request",
    },
    Vital {
        key: "net.ipv4.vs.schedule_icmp",
        wrong: None,
        right: "0",
        why: "ICMP errors about replies are sent to a server chosen at random",
    },
    Vital {
        key: "net.ipv4.vs.conn_max",
        wrong: Some("0"),
        right: "1073741824",
        why: "the kernel drops every request",
    },
];

/// The time-outs of connection entries, which are no sysctls but treated as such: what each is called here, in seconds.
pub const TIMEOUTS: [&str; 3] = ["ipvs.timeouts.tcp", "ipvs.timeouts.tcp_fin", "ipvs.timeouts.udp"];

/// IPv4 forwarding.
pub const IP_FORWARD: &str = "net.ipv4.ip_forward";
/// IPv6 forwarding.
pub const IP6_FORWARD: &str = "net.ipv6.conf.all.forwarding";

pub(super) const PUT_BACK: &str = "put back as it was before ipvsd";

impl Vital {
    /// Whether this value breaks it.
    pub fn breaks(&self, value: &str) -> bool {
        self.wrong.map_or(value != self.right, |wrong| value == wrong)
    }
}

/// Every sysctl that is read at each look, beside [`TIMEOUTS`].
pub fn watched() -> impl Iterator<Item = &'static str> {
    VITAL.iter().map(|vital| vital.key).chain([IP_FORWARD, IP6_FORWARD, EXPIRE])
}

/// What is to be set now: key, value and why.
pub fn due(
    config: &Config,
    found: &BTreeMap<String, String>,
    foreign_services: bool,
) -> Vec<(&'static str, String, &'static str)> {
    let mut due = Vec::new();
    let ops = config.services.iter().any(|service| service.ops);
    if ops && config.kernel.sysctls == Sysctls::Set && !foreign_services {
        let broken = |vital: &&Vital| found.get(vital.key).is_some_and(|value| vital.breaks(value));
        due.extend(VITAL.iter().filter(broken).map(|vital| (vital.key, vital.right.to_owned(), vital.why)));
    }
    if config.kernel.forwarding == Forwarding::Set {
        for (key, family) in [(IP_FORWARD, Family::Inet), (IP6_FORWARD, Family::Inet6)] {
            if found.get(key).is_some_and(|value| value == "0") && desired::nat(config, family).is_some() {
                due.push((key, "1".to_owned(), "replies are not forwarded"));
            }
        }
    }
    let Timeouts { tcp, tcp_fin, udp } = config.kernel.timeouts;
    for (key, seconds) in TIMEOUTS.into_iter().zip([tcp, tcp_fin, udp]).filter(|(_, seconds)| *seconds > 0) {
        let value = seconds.to_string();
        if found.get(key).is_some_and(|found| *found != value) {
            due.push((key, value, "the config says so (`timeouts`)"));
        }
    }
    due
}

impl Core {
    pub(super) fn look_at_sysctls(&mut self, out: &mut Vec<Output>) {
        self.sysctl_looks.0 += 1;
        out.push(Output::LookAtSysctls);
    }

    /// What was read before a sysctl was set is old.
    pub(super) fn found_sysctls(
        &mut self,
        now: Time,
        sysctls: BTreeMap<String, String>,
        out: &mut Vec<Output>,
    ) {
        let (all, old) = self.sysctl_looks;
        self.sysctl_looks = (all.saturating_sub(1), old.saturating_sub(1));
        if old > 0 {
            return;
        }
        self.sysctls = sysctls;
        self.sysctls_set = false;
        if self.putting_back {
            return self.put_back_or_not(out);
        }
        self.plan_sysctls(now, out);
        for key in self.evictions.keys().copied().collect::<Vec<_>>() {
            self.plan(now, key, out);
        }
    }

    /// Asks for every sysctl that must change now, and looks whether it did; its old value is remembered first.
    pub(super) fn plan_sysctls(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.leaving || !self.started || self.sysctls_set {
            return;
        }
        let foreign = self.found.iter().flatten().any(|(key, _)| !self.owns(key));
        let mut due = due(&self.config, &self.sysctls, foreign);
        if self.evicts() {
            if self.sysctls.get(EXPIRE).is_some_and(|value| value == "0") {
                due.push((EXPIRE, "1".to_owned(), "lets connection entries of an earlier run go"));
            }
        } else if self.is_back(EXPIRE) {
            self.memory.sysctls.remove(EXPIRE);
            self.sysctl_brake.release(&EXPIRE);
            out.push(Output::Remember(self.memory.clone()));
        }
        for (key, value, why) in due {
            self.set_sysctl(now, key, &value, why, out);
        }
        if let Some(value) = self.memory.sysctls.get(EXPIRE).filter(|_| !self.evicts()).cloned() {
            self.set_sysctl(now, EXPIRE, &value, PUT_BACK, out);
        }
        if self.sysctls_set {
            self.look_at_sysctls(out);
        }
    }

    fn set_sysctl(&mut self, now: Time, key: &'static str, value: &str, why: &str, out: &mut Vec<Output>) {
        let Some(old) = self.sysctls.get(key).filter(|old| *old != value).cloned() else { return };
        match self.sysctl_brake.drifted(key, now) {
            Ruling::Repair => {}
            // Once each time: nobody else tries when the wait is over.
            Ruling::BackOff(wait) => out.push(Output::Say(Event::Failed {
                error: format!(
                    "{key} does not stay at {value}: it cannot be set, or another program sets it; \
                     after one more try it is left alone for {wait:?}"
                ),
            })),
            Ruling::Held => return,
        }
        if !self.memory.sysctls.contains_key(key) {
            self.memory.sysctls.insert(key.to_owned(), old.clone());
            out.push(Output::Remember(self.memory.clone()));
        }
        self.write_sysctl(key.to_owned(), old, value.to_owned(), why, out);
    }

    /// What it made of it is seen at the next look.
    fn write_sysctl(&mut self, key: String, old: String, value: String, why: &str, out: &mut Vec<Output>) {
        self.sysctls_set = true;
        self.sysctl_looks.1 = self.sysctl_looks.0;
        out.push(Output::SetSysctl { key, old, value, why: why.to_owned() });
    }

    /// Whether a sysctl that ipvsd has changed has been seen with its old value.
    fn is_back(&self, key: &str) -> bool {
        let old = self.memory.sysctls.get(key);
        old.is_some() && old == self.sysctls.get(key)
    }

    /// Puts back every sysctl that ipvsd has changed, before it ends. True: there is none.
    pub(super) fn put_all_back(&mut self, out: &mut Vec<Output>) -> bool {
        if self.memory.sysctls.is_empty() {
            return true;
        }
        if !std::mem::replace(&mut self.putting_back, true) {
            for (key, value) in self.memory.sysctls.clone() {
                if let Some(old) = self.sysctls.get(&key).filter(|old| **old != value).cloned() {
                    self.write_sysctl(key, old, value, PUT_BACK, out);
                }
            }
            self.look_at_sysctls(out);
        }
        false
    }

    /// Only what has been seen put back is forgotten: the next ipvsd puts back the rest.
    fn put_back_or_not(&mut self, out: &mut Vec<Output>) {
        let mut left = std::mem::take(&mut self.memory.sysctls);
        left.retain(|key, value| self.sysctls.get(key) != Some(value));
        for (key, value) in &left {
            let found = self.sysctls.get(key).map_or("not there", String::as_str);
            let error = format!("{key} is {found} and was {value} before ipvsd: it could not be put back");
            out.push(Output::Say(Event::Failed { error }));
        }
        self.memory.sysctls = left;
        out.push(Output::Remember(self.memory.clone()));
        // Somebody may have made a service of ours anew meanwhile: it goes first, and this is done again.
        self.putting_back = self.all_gone();
        if self.putting_back {
            self.finished(out);
        }
    }
}
