//! `dns`: a query.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::draft::{At, Field};
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::string;
use super::field::word;
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

pub const TYPE: Type = Type { word: "dns", keys: &["query", "record", "rcode", "answer"], read };

/// The draft of a `dns` probe.
#[derive(Debug)]
pub struct Draft {
    pub query: Field<String>,
    pub record: Field<String>,
    pub rcode: Field<String>,
    pub answer: Field<String>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft {
        query: table.get("query", problems, string),
        record: table.get("record", problems, string),
        rcode: table.get("rcode", problems, string),
        answer: table.get("answer", problems, string),
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
        let record = word("record type", &self.record, default, &RECORDS, problems);
        let code = word("response code", &self.rcode, "NOERROR", &RCODES, problems);
        let answer = match &self.answer {
            Field::Missing => Some(None),
            Field::Broken => None,
            Field::Given(at) => {
                if let (Some(code), Field::Given(rcode)) =
                    (code.as_deref().filter(|c| *c != "NOERROR"), &self.rcode)
                {
                    problems
                        .error(at.place, format!("an answer with {code} has no data"))
                        .related(rcode.place, "the response code")
                        .help("remove `answer` or `rcode`");
                }
                judge_answer(record.as_deref(), at, problems).map(Some)
            }
        };
        Some(Probe::Dns(DnsProbe { query: query?, record: record?, rcode: code?, answer: answer? }))
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
