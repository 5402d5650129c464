//! `dns`: a query.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::draft::{At, Field, List};
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::{number, string};
use super::field::{texts, word};
use super::{ProbeDraft, Type};
use crate::core::model::{DnsProbe, Probe};

pub const RECORDS: [&str; 16] = [
    "A", "AAAA", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SVCB",
    "TLSA", "TXT",
];
pub const RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE",
];

pub const TYPE: Type =
    Type { word: "dns", keys: &["query", "record", "rcode", "answer", "edns"], network: true, read };

/// The draft of a `dns` probe.
#[derive(Debug)]
pub struct Draft {
    pub query: Field<String>,
    pub record: Field<String>,
    pub rcode: Field<List<At<String>>>,
    pub answer: Field<List<At<String>>>,
    pub edns: Field<i64>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft {
        query: table.get("query", problems, string),
        record: table.get("record", problems, string),
        rcode: table.get("rcode", problems, texts),
        answer: table.get("answer", problems, texts),
        edns: table.get("edns", problems, number),
    })
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, problems: &mut Problems) -> Option<Probe> {
        let query = match &self.query {
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
        let record = match &self.record {
            Field::Missing => Some(default.to_owned()),
            Field::Broken => None,
            Field::Given(at) => word("record type", at, &RECORDS, problems),
        };
        let rcodes = self.rcodes(problems);
        let answers = self.answers(record.as_deref(), problems);
        let edns = match &self.edns {
            Field::Missing => Some(None),
            Field::Broken => None,
            // RFC 6891, section 6.2.3: less counts as 512.
            Field::Given(at) => at.within("`edns`", 512..=u16::MAX, problems).map(Some),
        };
        Some(Probe::Dns(DnsProbe {
            query: query?,
            record: record?,
            rcodes: rcodes?,
            answers: answers?,
            edns: edns?,
        }))
    }
}

impl Draft {
    fn rcodes(&self, problems: &mut Problems) -> Option<Vec<String>> {
        let list = match &self.rcode {
            Field::Missing => return Some(vec!["NOERROR".to_owned()]),
            Field::Broken => return None,
            Field::Given(at) => at,
        };
        if list.value.items.is_empty() && list.value.whole {
            problems
                .error(list.place, "no response code would be right")
                .help("`rcode = \"NOERROR\"`, for example");
            return None;
        }
        let codes: Vec<_> =
            list.value.items.iter().map(|code| word("response code", code, &RCODES, problems)).collect();
        let mut codes = codes.into_iter().collect::<Option<Vec<String>>>().filter(|_| list.value.whole)?;
        codes.sort();
        codes.dedup();
        Some(codes)
    }

    fn answers(&self, record: Option<&str>, problems: &mut Problems) -> Option<Vec<String>> {
        let list = match &self.answer {
            Field::Missing => return Some(Vec::new()),
            Field::Broken => return None,
            Field::Given(at) if at.value.items.is_empty() => return at.value.whole.then(Vec::new),
            Field::Given(at) => at,
        };
        let codes = self.rcode.given().map_or(&[][..], |codes| &codes.value.items);
        if let Some(other) = codes.iter().find(|code| !code.value.eq_ignore_ascii_case("NOERROR")) {
            problems
                .error(list.place, format!("an answer with {} has no data", other.value.to_ascii_uppercase()))
                .related(other.place, "the response code")
                .help("remove `answer` or `rcode`");
        }
        let answers: Vec<_> =
            list.value.items.iter().map(|answer| judge_answer(record, answer, problems)).collect();
        answers.into_iter().collect::<Option<_>>().filter(|_| list.value.whole)
    }
}

/// The expected data; addresses in the form in which they are printed.
fn judge_answer(record: Option<&str>, answer: &At<String>, problems: &mut Problems) -> Option<String> {
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
