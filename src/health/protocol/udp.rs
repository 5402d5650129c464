//! The `udp` probe: the operator's own datagram, and what its answer must look like.

use std::ops::RangeInclusive;

use regex::bytes::{Regex, RegexBuilder};

use super::{Ask, Judgement, Protocol, hex, printable, text};
use crate::core::model::Reply;

/// A `udp` probe.
#[derive(Debug)]
pub struct Udp {
    send: Vec<u8>,
    expected: Expected,
}

#[derive(Debug)]
enum Expected {
    Anything,
    Match(Regex),
    Prefix(Vec<u8>),
    Infix(Vec<u8>),
    Length(RangeInclusive<u16>),
}

impl Udp {
    /// Compiles the regular expression over bytes: `.` is any byte but a line feed, `(?u)` brings UTF-8 back.
    ///
    /// # Errors
    /// What is wrong with the regular expression.
    pub fn new(send: &[u8], reply: &Reply) -> Result<Udp, String> {
        let expected = match reply {
            Reply::Any | Reply::Optional => Expected::Anything,
            Reply::StartsWith(prefix) => Expected::Prefix(prefix.clone()),
            Reply::Contains(infix) => Expected::Infix(infix.clone()),
            Reply::Length { least, most } => Expected::Length(*least..=*most),
            Reply::Matches(pattern) => Expected::Match(
                RegexBuilder::new(pattern)
                    .unicode(false)
                    .build()
                    .map_err(|error| format!("expect: {error}"))?,
            ),
        };
        Ok(Udp { send: send.to_vec(), expected })
    }
}

impl Protocol for Udp {
    fn request(&self, _: &Ask, datagram: &mut Vec<u8>) {
        datagram.extend_from_slice(&self.send);
    }

    /// A protocol of which nothing is known has no way to tell a stale answer.
    fn judge(&self, _: &Ask, answer: &[u8]) -> Judgement {
        match &self.expected {
            Expected::Anything => Judgement::Right,
            Expected::Match(regex) if regex.is_match(answer) => Judgement::Right,
            Expected::Prefix(prefix) if answer.starts_with(prefix) => Judgement::Right,
            Expected::Infix(infix) if contains(answer, infix) => Judgement::Right,
            Expected::Length(range) if u16::try_from(answer.len()).is_ok_and(|n| range.contains(&n)) => {
                Judgement::Right
            }
            Expected::Match(regex) => {
                Judgement::Wrong(format!("{} does not match \"{}\"", text(answer), printable(regex.as_str())))
            }
            Expected::Infix(infix) => {
                Judgement::Wrong(format!("{} does not contain {}", text(answer), text(infix)))
            }
            Expected::Length(range) => Judgement::Wrong(format!(
                "{} bytes, expected {}",
                answer.len(),
                match (range.start(), range.end()) {
                    (least, most) if least == most => least.to_string(),
                    (least, most) => format!("{least} to {most}"),
                }
            )),
            Expected::Prefix(prefix) => {
                Judgement::Wrong(format!("{} does not begin with {}", hex(answer), hex(prefix)))
            }
        }
    }
}

fn contains(bytes: &[u8], infix: &[u8]) -> bool {
    infix.is_empty() || bytes.windows(infix.len()).any(|window| window == infix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(reply: Reply, answer: &[u8]) -> Judgement {
        Udp::new(b"ping", &reply).expect("a valid probe").judge(&super::super::testing::ask(0), answer)
    }

    #[test]
    fn any_answer_is_right_where_nothing_is_expected() {
        for reply in [Reply::Any, Reply::Optional] {
            assert_eq!(judge(reply.clone(), b"whatever"), Judgement::Right);
            assert_eq!(judge(reply, b""), Judgement::Right);
        }
    }

    #[test]
    fn a_regular_expression_looks_at_bytes() {
        let pong = || Reply::Matches("^pong [^\\xff]".to_owned());
        assert_eq!(judge(pong(), b"pong \xfe"), Judgement::Right);
        let wrong = Judgement::Wrong("\"pong \\xff\" does not match \"^pong [^\\xff]\"".to_owned());
        assert_eq!(judge(pong(), b"pong \xff"), wrong);
    }

    #[test]
    fn a_prefix_is_shown_in_hex() {
        let prefix = || Reply::StartsWith(vec![0x80, 1]);
        assert_eq!(judge(prefix(), &[0x80, 1, 2]), Judgement::Right);
        assert_eq!(judge(prefix(), &[0x80]), Judgement::Wrong("0x80 does not begin with 0x8001".to_owned()));
    }

    #[test]
    fn a_text_stands_anywhere_and_literally() {
        let text = |text: &str| Reply::Contains(text.into());
        assert_eq!(judge(text("o.k"), b"it is o.k."), Judgement::Right);
        assert_eq!(judge(text(""), b""), Judgement::Right);
        let wrong = Judgement::Wrong("\"oak\" does not contain \"o.k\"".to_owned());
        assert_eq!(judge(text("o.k"), b"oak"), wrong);
    }

    #[test]
    fn a_length_has_two_ends() {
        let length = |least, most| Reply::Length { least, most };
        for answer in [&b"ab"[..], b"abc"] {
            assert_eq!(judge(length(2, 3), answer), Judgement::Right);
        }
        assert_eq!(judge(length(2, 3), b"a"), Judgement::Wrong("1 bytes, expected 2 to 3".to_owned()));
        assert_eq!(judge(length(2, 2), b"abc"), Judgement::Wrong("3 bytes, expected 2".to_owned()));
    }

    #[test]
    fn a_bad_regular_expression_is_an_error() {
        let error = Udp::new(b"", &Reply::Matches("(".to_owned())).expect_err("not a regular expression");
        assert!(error.starts_with("expect: "), "{error}");
    }

    proptest! {
        #[test]
        fn a_wrong_answer_gives_a_short_printable_reason(answer: Vec<u8>, hex: bool) {
            let reply = if hex { Reply::StartsWith(b"\0\0\0\0".to_vec()) } else { Reply::Matches("^\0{4}".to_owned()) };
            match judge(reply, &answer) {
                Judgement::Wrong(why) => {
                    prop_assert!(!answer.starts_with(b"\0\0\0\0"));
                    prop_assert!(why.chars().all(|c| !c.is_control()) && why.len() < 250, "{why:?}");
                }
                judgement => {
                    prop_assert!(answer.starts_with(b"\0\0\0\0"));
                    prop_assert_eq!(judgement, Judgement::Right);
                }
            }
        }
    }
}
