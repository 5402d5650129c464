//! A draft's check → a check.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::draft::{At, CheckDraft, Field, ProbeDraft};
use super::report::{Place, Problems};
use super::words::suggest;
use super::{MAX_DURATION, address};
use crate::core::model::{Check, DnsProbe, Probe, Reply};

/// More than this does not fit into a UDP datagram over IPv4.
const MAX_PAYLOAD: usize = 65_507;
const MAX_COUNT: u32 = 1_000;
pub(super) const RECORDS: [&str; 16] = [
    "A", "AAAA", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SVCB",
    "TLSA", "TXT",
];
pub(super) const RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE",
];

/// The check with its defaults; `Some(None)` is none on purpose.
pub fn judge(draft: &At<CheckDraft>, problems: &mut Problems) -> Option<Option<Arc<Check>>> {
    let ask = match &draft.value {
        CheckDraft::None => return Some(None),
        CheckDraft::Ask(ask) => ask,
    };
    // Everything is judged before anything is given up, so that every error is found.
    let probe = probe(&ask.probe, draft.place, problems);
    let interval = duration("interval", &ask.interval, 500, problems);
    let timeout = duration("timeout", &ask.timeout, 400, problems);
    let retry_interval = duration("retry_interval", &ask.retry_interval, 100, problems);
    let rise = count("`rise`", &ask.rise, 2, problems);
    let fall = count("`fall`", &ask.fall, 3, problems);
    if let Some(at) = ask.address.given() {
        address::judge_ip("the probed address", at.value, at.place, problems);
    }
    let port = match &ask.port {
        Field::Missing => Some(None),
        Field::Broken => None,
        Field::Given(at) => at.within("`port`", 1..=u16::MAX, problems).map(Some),
    };
    Some(Some(Arc::new(Check {
        probe: probe?,
        interval: interval?,
        timeout: timeout?,
        retry_interval: retry_interval?,
        rise: rise?,
        fall: fall?,
        address: ask.address.given().map(|at| at.value),
        port: port?,
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

fn count(name: &str, field: &Field<i64>, default: u32, problems: &mut Problems) -> Option<u32> {
    match field {
        Field::Missing => Some(default),
        Field::Broken => None,
        Field::Given(at) => at.within(name, 1..=MAX_COUNT, problems),
    }
}

fn probe(draft: &ProbeDraft, place: Place, problems: &mut Problems) -> Option<Probe> {
    match draft {
        ProbeDraft::Udp { send, reply } => {
            let reply = udp_reply(reply, problems);
            let send = match send {
                Field::Given(send) if send.value.len() <= MAX_PAYLOAD => Some(send.value.clone()),
                Field::Given(send) => {
                    problems.error(send.place, format!("a datagram holds at most {MAX_PAYLOAD} bytes"));
                    None
                }
                Field::Broken => None,
                Field::Missing => {
                    problems.error(place, "a `udp` check needs something to send").help(
                        "`send = \"ping\\n\"` or `send_hex = \"…\"`; `send = \"\"` for an empty datagram",
                    );
                    None
                }
            };
            Some(Probe::Udp { send: send?, reply: reply? })
        }
        ProbeDraft::Dns { query, record, rcode, answer } => dns(query, record, rcode, answer, problems),
    }
}

fn udp_reply(field: &Field<Reply>, problems: &mut Problems) -> Option<Reply> {
    let at = match field {
        Field::Missing => return Some(Reply::Any),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    match &at.value {
        Reply::Matches(pattern) => {
            if let Err(error) = regex::bytes::RegexBuilder::new(pattern).unicode(false).build() {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                problems
                    .error(at.place, "not a valid regular expression")
                    .label(reason.trim_start_matches("error: "))
                    .help(
                        "the syntax of the Rust crate `regex`; 'single quotes' spare the doubled backslashes",
                    );
                return None;
            }
        }
        Reply::Optional => {
            problems.warning(at.place, "only an ICMP error will count as down: a server that hangs keeps its weight").help(
                "if something else on the servers answers while they work, probe that instead: `port`, `send`, `expect`",
            );
        }
        Reply::Any | Reply::StartsWith(_) => {}
    }
    Some(at.value.clone())
}

fn dns(
    query: &Field<String>,
    record: &Field<String>,
    rcode: &Field<String>,
    answer: &Field<String>,
    problems: &mut Problems,
) -> Option<Probe> {
    let query = match query {
        // Any resolver answers that, and is a resolver only if it does. An authoritative server needs `query`.
        Field::Missing => Some(".".to_owned()),
        Field::Broken => None,
        Field::Given(at) => match hickory_proto::rr::Name::from_ascii(&at.value) {
            Ok(_) if !at.value.is_empty() => Some(at.value.clone()),
            _ => {
                problems
                    .error(at.place, format!("`{}` is not a domain name", at.value))
                    .help("labels of 1 to 63 bytes, 255 in all; names beyond ASCII in their xn-- form");
                None
            }
        },
    };
    let default = if query.as_deref() == Some(".") { "SOA" } else { "A" };
    let record = word("record type", record, default, &RECORDS, problems);
    let code = word("response code", rcode, "NOERROR", &RCODES, problems);
    let answer = match answer {
        Field::Missing => Some(None),
        Field::Broken => None,
        Field::Given(at) => {
            if let (Some(code), Field::Given(rcode)) = (code.as_deref().filter(|c| *c != "NOERROR"), rcode) {
                problems
                    .error(at.place, format!("an answer with {code} has no data"))
                    .related(rcode.place, "the response code")
                    .help("remove `answer` or `rcode`");
            }
            dns_answer(record.as_deref(), at, problems).map(Some)
        }
    };
    Some(Probe::Dns(DnsProbe { query: query?, record: record?, rcode: code?, answer: answer? }))
}

/// The expected data; addresses in the form in which they are printed.
fn dns_answer(record: Option<&str>, answer: &At<String>, problems: &mut Problems) -> Option<String> {
    let text = &answer.value;
    let (canonical, wanted) = match record? {
        "A" => (text.parse::<Ipv4Addr>().map(|ip| ip.to_string()).ok(), "an IPv4 address"),
        "AAAA" => (text.parse::<Ipv6Addr>().map(|ip| ip.to_string()).ok(), "an IPv6 address"),
        _ => (Some(text.clone()).filter(|text| !text.is_empty()), "the data of a record"),
    };
    if canonical.is_none() {
        problems.error(answer.place, format!("`{text}` is not {wanted}"));
    }
    canonical
}

/// One of the words known, in upper case.
fn word(
    what: &str,
    field: &Field<String>,
    default: &str,
    known: &[&str],
    problems: &mut Problems,
) -> Option<String> {
    match field {
        Field::Missing => Some(default.to_owned()),
        Field::Broken => None,
        Field::Given(at) => {
            let upper = at.value.to_ascii_uppercase();
            if known.contains(&upper.as_str()) {
                return Some(upper);
            }
            problems.error(at.place, format!("unknown {what} `{}`", at.value)).help(suggest(&upper, known));
            None
        }
    }
}
