//! The `dns` probe: one question (RFC 1035) over UDP; its answer must carry our id and question, and the expected code and data.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::{Ask, Judgement, Protocol, printable};
use crate::core::model::DnsProbe;

/// The response codes of RFC 1035 and RFC 2136, in the order of their numbers.
const RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE",
];

/// A `dns` probe.
#[derive(Debug)]
pub struct Dns {
    question: Query,
    rcodes: Vec<ResponseCode>,
    answers: Vec<String>,
    edns: bool,
    /// The query without its first two bytes, the id.
    after_id: Vec<u8>,
}

impl Dns {
    /// Builds the query: recursion desired, class IN.
    ///
    /// # Errors
    /// The name, record type or response code that DNS does not have.
    pub fn new(probe: &DnsProbe) -> Result<Dns, String> {
        let mut name =
            Name::from_ascii(&probe.query).map_err(|error| format!("query \"{}\": {error}", probe.query))?;
        name.set_fqdn(true);
        let record = RecordType::from_str(&probe.record)
            .map_err(|_| format!("record \"{}\": not a DNS record type", probe.record))?;
        let rcodes = probe.rcodes.iter().map(|rcode| {
            let number = (0u16..).zip(RCODES).find(|(_, known)| known == rcode);
            let (number, _) = number.ok_or_else(|| format!("rcode \"{rcode}\": not a DNS response code"))?;
            Ok(number.into())
        });
        let rcodes = rcodes.collect::<Result<_, String>>()?;
        let question = Query::query(name, record);
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(question.clone());
        if let Some(size) = probe.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        let request = message.to_vec().map_err(|error| format!("query \"{}\": {error}", probe.query))?;
        let after_id = request.get(2..).unwrap_or_default().to_vec();
        Ok(Dns { question, rcodes, answers: probe.answers.clone(), edns: probe.edns.is_some(), after_id })
    }

    /// Names are compared as DNS compares them: case does not count.
    fn asked(&self, question: &Query) -> bool {
        question.query_type() == self.question.query_type()
            && question.query_class() == DNSClass::IN
            && question.name() == self.question.name()
    }

    /// Those of the name that is asked for, and of the names that it is an alias of.
    fn records<'a>(&self, answers: &'a [Record]) -> Vec<&'a Record> {
        let mut names = vec![self.question.name()];
        let mut at = 0;
        while let Some(&name) = names.get(at) {
            for record in answers.iter().filter(|record| record.name == *name) {
                if let RData::CNAME(alias) = &record.data
                    && !names.contains(&&alias.0)
                {
                    names.push(&alias.0);
                }
            }
            at += 1;
        }
        let counts = |record: &&Record| record.dns_class == DNSClass::IN && names.contains(&&record.name);
        answers.iter().filter(counts).collect()
    }
}

/// The id of the query.
fn id(ask: &Ask) -> [u8; 2] {
    (ask.nonce as u16).to_be_bytes()
}

impl Protocol for Dns {
    fn request(&self, ask: &Ask, datagram: &mut Vec<u8>) {
        datagram.extend_from_slice(&id(ask));
        datagram.extend_from_slice(&self.after_id);
    }

    fn judge(&self, ask: &Ask, answer: &[u8]) -> Judgement {
        if answer.first_chunk().is_some_and(|bytes| *bytes != id(ask)) {
            return Judgement::NotOurs;
        }
        let malformed =
            |what: &dyn Display| format!("malformed DNS message of {} bytes: {what}", answer.len());
        let mut decoder = BinDecoder::new(answer);
        let message = match Message::read(&mut decoder) {
            Ok(message) if decoder.is_empty() => message,
            Ok(_) => return Judgement::Wrong(malformed(&format!("{} too many", decoder.len()))),
            Err(error) => return Judgement::Wrong(malformed(&error)),
        };
        if message.metadata.message_type != MessageType::Response {
            return Judgement::Wrong("a DNS query, not a response".to_owned());
        }
        if message.metadata.op_code != OpCode::Query {
            return Judgement::Wrong("a DNS response to another operation".to_owned());
        }
        let rcode = message.metadata.response_code;
        let expected = self.rcodes.contains(&rcode);
        match message.queries.as_slice() {
            [question] if self.asked(question) => {}
            // A server that refuses or fails may leave the question out.
            [] if !expected => {}
            [] => return Judgement::Wrong("a DNS response without the question".to_owned()),
            _ => return Judgement::NotOurs,
        }
        if !expected {
            let expected: Vec<_> = self.rcodes.iter().map(|rcode| rcode_name(*rcode)).collect();
            return Judgement::Wrong(format!("{}, expected {}", rcode_name(rcode), expected.join(" or ")));
        }
        if self.edns && message.edns.is_none() {
            return Judgement::Wrong("no EDNS in the answer".to_owned());
        }
        let records = self.records(&message.answers);
        let is_there = |answer: &&String| records.iter().any(|record| data_is(&record.data, answer));
        match self.answers.iter().find(|answer| !is_there(answer)) {
            None => Judgement::Right,
            Some(_) if message.metadata.truncation => Judgement::Truncated,
            Some(missing) => Judgement::Wrong(match records.first() {
                Some(record) => format!("{}, expected {missing}", printable(&record.data.to_string())),
                None => format!("no answer record, expected {missing}"),
            }),
        }
    }
}

/// Addresses are compared as addresses, text byte by byte, and all else (names above all) in its usual text form without the
/// last dot and without regard to case.
fn data_is(data: &RData, expected: &str) -> bool {
    match data {
        RData::A(address) => expected.parse() == Ok(IpAddr::V4(address.0)),
        RData::AAAA(address) => expected.parse() == Ok(IpAddr::V6(address.0)),
        RData::TXT(text) => text.txt_data.concat() == expected.as_bytes(),
        other => other.to_string().trim_end_matches('.').eq_ignore_ascii_case(expected.trim_end_matches('.')),
    }
}

fn rcode_name(rcode: ResponseCode) -> String {
    let number = u16::from(rcode);
    RCODES.get(usize::from(number)).map_or_else(|| format!("rcode {number}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests;
