//! `check`: a word or a table with `type` → a draft → a check. Each type has a file of its own, which holds its draft, its keys
//! and its judgement; here is what they have in common.

mod dns;
mod exec;
mod field;
mod file;
mod http;
mod icmp;
mod ntp;
mod origin;
mod pattern;
mod quic;
mod radius;
mod read;
mod secret;
mod sip;
mod snmp;
mod status;
mod stun;
mod syslog;
mod tcp;
mod tftp;
mod trust;
mod udp;

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use read::check as read;

use super::draft::{At, Field, List};
use super::report::{Place, Problems};
use super::toml_table::Table;
use super::{MAX_DURATION, address};
use crate::core::model::{Check, Probe};

#[cfg(test)]
pub(super) use dns::{RCODES, RECORDS};

const MAX_COUNT: u32 = 1_000;

/// All types of checks, in the order of the documentation.
const TYPES: [&Type; 16] = [
    &udp::TYPE,
    &dns::TYPE,
    &radius::TYPE,
    &sip::TYPE,
    &ntp::TYPE,
    &snmp::TYPE,
    &syslog::TYPE,
    &stun::TYPE,
    &tftp::TYPE,
    &quic::TYPE,
    &icmp::TYPE,
    &tcp::TYPE,
    &http::HTTP,
    &http::HTTPS,
    &file::TYPE,
    &exec::TYPE,
];

/// A type of checks.
struct Type {
    /// Its name in `type`.
    word: &'static str,
    /// The keys that it has beside the common ones.
    keys: &'static [&'static str],
    /// Its probes go over the network: it has those of their origin, too.
    network: bool,
    /// Reads them.
    read: fn(&Table<'_>, &mut Problems) -> Box<dyn ProbeDraft>,
}

/// The draft of a probe of one type.
pub trait ProbeDraft: Debug {
    /// The probe with its defaults; none if there is an error. `place` is the check.
    fn judge(&self, place: Place, problems: &mut Problems) -> Option<Probe>;

    /// The times of a check that says nothing of them.
    fn times(&self) -> Times {
        Times { interval: 500, timeout: 400, retry_interval: 100 }
    }
}

/// Times of a check in milliseconds.
pub struct Times {
    pub interval: u64,
    pub timeout: u64,
    pub retry_interval: u64,
}

/// How servers are to be checked.
#[derive(Debug)]
pub enum CheckDraft {
    /// On purpose not at all.
    None,
    /// By asking.
    Ask(Box<AskDraft>),
}

/// A check that asks.
#[derive(Debug)]
pub struct AskDraft {
    pub probe: Box<dyn ProbeDraft>,
    pub interval: Field<Duration>,
    pub timeout: Field<Duration>,
    pub retry_interval: Field<Duration>,
    pub rise: Field<i64>,
    pub fall: Field<i64>,
    pub address: Field<IpAddr>,
    pub port: Field<i64>,
    pub origin: origin::Draft,
}

/// The checks with their defaults, each once; no check is none on purpose.
pub fn judge_all(drafts: &List<At<CheckDraft>>, problems: &mut Problems) -> Option<Vec<Arc<Check>>> {
    let mut checks = Vec::new();
    let mut valid = drafts.whole;
    for draft in &drafts.items {
        match judge(draft, problems) {
            Some(Some(check)) if checks.contains(&check) => {
                problems.error(draft.place, "the same check twice").help("keep one of them");
            }
            Some(Some(check)) => checks.push(check),
            Some(None) if drafts.items.len() > 1 => {
                problems.error(draft.place, "`none` stands alone").help("remove it, or the other checks");
            }
            Some(None) => {}
            None => valid = false,
        }
    }
    valid.then_some(checks)
}

/// The check with its defaults; `Some(None)` is none on purpose.
fn judge(draft: &At<CheckDraft>, problems: &mut Problems) -> Option<Option<Arc<Check>>> {
    let ask = match &draft.value {
        CheckDraft::None => return Some(None),
        CheckDraft::Ask(ask) => ask,
    };
    // Everything is judged before anything is given up, so that every error is found.
    let probe = ask.probe.judge(draft.place, problems);
    let times = ask.probe.times();
    let interval = duration("interval", &ask.interval, times.interval, problems);
    let timeout = duration("timeout", &ask.timeout, times.timeout, problems);
    let retry_interval = duration("retry_interval", &ask.retry_interval, times.retry_interval, problems);
    let rise = field::number("`rise`", &ask.rise, 2, 1..=MAX_COUNT, problems);
    let fall = field::number("`fall`", &ask.fall, 3, 1..=MAX_COUNT, problems);
    if let Some(at) = ask.address.given() {
        address::judge("the probed address", at.value, at.place, problems);
    }
    let port = match &ask.port {
        Field::Missing => Some(None),
        Field::Broken => None,
        Field::Given(at) => at.within("`port`", 1..=u16::MAX, problems).map(Some),
    };
    if let (Some(Probe::Icmp), Some(at)) = (&probe, ask.port.given()) {
        problems.error(at.place, "a ping goes to no port").help("remove `port`");
    }
    let origin = ask.origin.judge(probe.as_ref(), problems);
    Some(Some(Arc::new(Check {
        probe: probe?,
        interval: interval?,
        timeout: timeout?,
        retry_interval: retry_interval?,
        rise: rise?,
        fall: fall?,
        address: ask.address.given().map(|at| at.value),
        port: port?,
        origin: origin?,
    })))
}

fn duration(name: &str, field: &Field<Duration>, default: u64, problems: &mut Problems) -> Option<Duration> {
    let (value, place) = match field {
        Field::Missing => return Some(Duration::from_millis(default)),
        Field::Broken => return None,
        Field::Given(at) => (at.value, at.place),
    };
    if value < Duration::from_millis(1) {
        problems
            .error(place, format!("`{name}` must be at least 1ms"))
            .help(format!("the default is \"{default}ms\""));
        return None;
    }
    if value > MAX_DURATION {
        problems.error(place, format!("`{name}` must be at most a day"));
        return None;
    }
    Some(value)
}
