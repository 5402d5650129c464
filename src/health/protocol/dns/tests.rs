//! The `dns` judgement: a right answer passes, each single deviation does not, and no bytes make it panic.

use hickory_proto::rr::{Record, rdata};
use proptest::prelude::*;

use super::super::testing::ask;
use super::*;

const ID: u16 = 0x1234;

fn probe() -> DnsProbe {
    DnsProbe {
        query: "www.example.com".to_owned(),
        record: "A".to_owned(),
        rcodes: vec!["NOERROR".to_owned()],
        answers: vec!["192.0.2.1".to_owned()],
        edns: None,
    }
}

fn request(id: u128) -> Vec<u8> {
    let mut datagram = Vec::new();
    Dns::new(&probe()).expect("a valid probe").request(&ask(id), &mut datagram);
    datagram
}

/// What a right server answers to `probe`.
fn right() -> Message {
    let mut message = Message::from_vec(&request(ID.into())).expect("our own query");
    message.metadata.message_type = MessageType::Response;
    let name = Name::from_ascii("WWW.example.com.").expect("a name");
    message.add_answer(Record::from_rdata(name, 60, RData::A(rdata::A::new(192, 0, 2, 1))));
    message
}

fn judge(probe: &DnsProbe, message: &Message) -> Judgement {
    Dns::new(probe)
        .expect("a valid probe")
        .judge(&ask(ID.into()), &message.to_vec().expect("a valid message"))
}

fn wrong(what: &str) -> Judgement {
    Judgement::Wrong(what.to_owned())
}

#[test]
fn the_query_asks_one_question_with_recursion() {
    let header = [0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let question = b"\x03www\x07example\x03com\0\0\x01\0\x01";
    assert_eq!(request(ID.into()), [&header[..], question].concat());
    assert_eq!(request(0xabcd)[..2], [0xab, 0xcd]);
}

#[test]
fn a_right_answer_passes() {
    assert_eq!(judge(&probe(), &right()), Judgement::Right);
    let unasked = DnsProbe { answers: vec![], ..probe() };
    let mut message = right();
    message.answers.clear();
    assert_eq!(judge(&unasked, &message), Judgement::Right);
}

#[test]
fn each_deviation_is_named() {
    let judge = |change: fn(&mut Message)| {
        let mut message = right();
        change(&mut message);
        judge(&probe(), &message)
    };
    assert_eq!(judge(|m| m.metadata.id = ID + 1), Judgement::NotOurs);
    assert_eq!(judge(|m| m.metadata.message_type = MessageType::Query), wrong("a DNS query, not a response"));
    assert_eq!(judge(|m| m.metadata.op_code = OpCode::Update), wrong("a DNS response to another operation"));
    assert_eq!(judge(|m| _ = m.queries[0].set_query_type(RecordType::AAAA)), Judgement::NotOurs);
    assert_eq!(judge(|m| _ = m.queries[0].set_query_class(DNSClass::CH)), Judgement::NotOurs);
    assert_eq!(judge(|m| _ = m.queries[0].set_name(Name::root())), Judgement::NotOurs);
    assert_eq!(judge(|m| m.queries.push(m.queries[0].clone())), Judgement::NotOurs);
    assert_eq!(judge(|m| m.queries.clear()), wrong("a DNS response without the question"));
    let refuse = |m: &mut Message| m.metadata.response_code = ResponseCode::Refused;
    assert_eq!(judge(refuse), wrong("REFUSED, expected NOERROR"));
    assert_eq!(judge(|m| m.answers.clear()), wrong("no answer record, expected 192.0.2.1"));
    let move_away = |m: &mut Message| m.answers[0].data = RData::A(rdata::A::new(192, 0, 2, 2));
    assert_eq!(judge(move_away), wrong("192.0.2.2, expected 192.0.2.1"));
    let of_another = |m: &mut Message| m.answers[0].name = Name::from_ascii("example.com.").expect("a name");
    assert_eq!(judge(of_another), wrong("no answer record, expected 192.0.2.1"));
    assert_eq!(
        judge(|m| m.answers[0].dns_class = DNSClass::CH),
        wrong("no answer record, expected 192.0.2.1")
    );
}

#[test]
fn bytes_after_the_message_are_malformed() {
    let bytes = [right().to_vec().expect("a valid message"), vec![0]].concat();
    let judgement = Dns::new(&probe()).expect("a valid probe").judge(&ask(ID.into()), &bytes);
    assert_eq!(judgement, wrong("malformed DNS message of 54 bytes: 1 too many"));
}

#[test]
fn aliases_lead_to_the_answer_in_whatever_order_they_come() {
    let name = |text: &str| Name::from_ascii(text).expect("a name");
    let alias =
        |from: &str, to: &str| Record::from_rdata(name(from), 60, RData::CNAME(rdata::CNAME(name(to))));
    let mut message = right();
    message.answers[0].name = name("c.example.net.");
    message.add_answer(alias("B.example.net.", "c.example.net."));
    assert_eq!(judge(&probe(), &message), wrong("no answer record, expected 192.0.2.1"));
    message.add_answer(alias("www.example.com.", "b.example.net."));
    assert_eq!(judge(&probe(), &message), Judgement::Right);
    let probe = DnsProbe { answers: vec!["b.example.net".to_owned(), "192.0.2.1".to_owned()], ..probe() };
    assert_eq!(judge(&probe, &message), Judgement::Right, "an alias is an answer, too");
}

#[test]
fn a_refusal_may_leave_the_question_out() {
    let mut message = right();
    message.queries.clear();
    message.answers.clear();
    message.metadata.response_code = ResponseCode::Refused;
    assert_eq!(judge(&probe(), &message), wrong("REFUSED, expected NOERROR"));
}

#[test]
fn an_expected_code_is_right() {
    let probe = DnsProbe { rcodes: vec!["NXDOMAIN".to_owned()], answers: vec![], ..probe() };
    let mut message = right();
    assert_eq!(judge(&probe, &message), wrong("NOERROR, expected NXDOMAIN"));
    message.metadata.response_code = ResponseCode::NXDomain;
    assert_eq!(judge(&probe, &message), Judgement::Right);
}

#[test]
fn each_of_several_codes_is_right_and_no_other() {
    let rcodes = vec!["NOERROR".to_owned(), "NXDOMAIN".to_owned()];
    let probe = DnsProbe { rcodes, answers: vec![], ..probe() };
    let mut message = right();
    for (code, judgement) in [
        (ResponseCode::NoError, Judgement::Right),
        (ResponseCode::NXDomain, Judgement::Right),
        (ResponseCode::ServFail, wrong("SERVFAIL, expected NOERROR or NXDOMAIN")),
    ] {
        message.metadata.response_code = code;
        assert_eq!(judge(&probe, &message), judgement);
    }
}

#[test]
fn every_expected_answer_must_be_there() {
    let answers = vec!["192.0.2.2".to_owned(), "192.0.2.1".to_owned()];
    let probe = DnsProbe { answers, ..probe() };
    let mut message = right();
    assert_eq!(judge(&probe, &message), wrong("192.0.2.1, expected 192.0.2.2"));
    let mut second = message.answers[0].clone();
    second.data = RData::A(rdata::A::new(192, 0, 2, 2));
    message.add_answer(second);
    assert_eq!(judge(&probe, &message), Judgement::Right);
}

#[test]
fn a_truncated_answer_is_asked_for_again_where_it_lacks_something() {
    let mut message = right();
    message.metadata.truncation = true;
    assert_eq!(judge(&probe(), &message), Judgement::Right, "it is there all the same");
    message.answers.clear();
    assert_eq!(judge(&probe(), &message), Judgement::Truncated);
    message.metadata.response_code = ResponseCode::Refused;
    assert_eq!(judge(&probe(), &message), wrong("REFUSED, expected NOERROR"));
}

#[test]
fn edns_is_asked_for_and_answered() {
    let probe = DnsProbe { edns: Some(1232), ..probe() };
    let mut request = Vec::new();
    Dns::new(&probe).expect("a valid probe").request(&ask(ID.into()), &mut request);
    // OPT: root, type 41, size 1232, flags 0, no options.
    assert_eq!(request[request.len() - 11..], [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    let mut message = right();
    assert_eq!(judge(&probe, &message), wrong("no EDNS in the answer"));
    message.set_edns(Edns::new());
    assert_eq!(judge(&probe, &message), Judgement::Right);
}

#[test]
fn data_is_compared_by_its_kind() {
    let name = |text: &str| Name::from_ascii(text).expect("a name");
    let v6 = RData::AAAA("2001:db8::1".parse().map(rdata::AAAA).expect("an address"));
    assert!(data_is(&v6, "2001:0db8:0::1"));
    assert!(!data_is(&v6, "2001:db8::2"));
    let cname = RData::CNAME(rdata::CNAME(name("Host.example.com.")));
    assert!(data_is(&cname, "host.example.com"));
    assert!(!data_is(&cname, "example.com"));
    let text = RData::TXT(rdata::TXT::new(vec!["v=1 ".to_owned(), "Ok".to_owned()]));
    assert!(data_is(&text, "v=1 Ok"));
    assert!(!data_is(&text, "v=1 ok"));
}

#[test]
fn what_dns_does_not_have_is_an_error() {
    let error = |probe: DnsProbe| Dns::new(&probe).expect_err("not a valid probe");
    assert!(error(DnsProbe { query: "a..b".to_owned(), ..probe() }).starts_with("query \"a..b\": "));
    let record = DnsProbe { record: "BOGUS".to_owned(), ..probe() };
    assert_eq!(error(record), "record \"BOGUS\": not a DNS record type");
    let rcode = DnsProbe { rcodes: vec!["FINE".to_owned()], ..probe() };
    assert_eq!(error(rcode), "rcode \"FINE\": not a DNS response code");
}

#[test]
fn all_codes_have_their_numbers() {
    for (number, name) in RCODES.iter().enumerate() {
        assert_eq!(rcode_name((number as u16).into()), *name);
    }
    assert_eq!(rcode_name(23.into()), "rcode 23");
}

proptest! {
    #[test]
    fn no_bytes_pass_or_panic(bytes: Vec<u8>, ours: bool) {
        let mut bytes = bytes;
        if let (true, Some(id)) = (ours, bytes.first_chunk_mut()) {
            *id = ID.to_be_bytes();
        }
        prop_assert_ne!(Dns::new(&probe()).expect("a valid probe").judge(&ask(ID.into()), &bytes), Judgement::Right);
    }

    #[test]
    fn a_damaged_answer_gives_a_printable_reason(position: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = right().to_vec().expect("a valid message");
        *position.get_mut(&mut bytes) = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Judgement::Wrong(why) = Dns::new(&probe()).expect("a valid probe").judge(&ask(ID.into()), &bytes) {
            prop_assert!(why.chars().all(|c| !c.is_control()) && why.len() < 250, "{why:?}");
        }
    }

    #[test]
    fn a_shortened_answer_never_passes(cut: prop::sample::Index) {
        let mut bytes = right().to_vec().expect("a valid message");
        bytes.truncate(cut.index(bytes.len()));
        prop_assert_ne!(Dns::new(&probe()).expect("a valid probe").judge(&ask(ID.into()), &bytes), Judgement::Right);
    }
}
