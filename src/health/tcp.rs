//! The `tcp` probe: a connection, and what is said over it.

use regex::bytes::{Regex, RegexBuilder};

use super::failure::Failure;
use super::protocol::{hex, printable, text};
use crate::core::model::{Pattern, TcpProbe};

/// A server that has said so much and not yet what is expected says something else.
const MOST: usize = 64 * 1024;

/// A `tcp` probe.
#[derive(Debug)]
pub struct Tcp {
    send: Vec<u8>,
    expected: Option<Expected>,
}

#[derive(Debug)]
enum Expected {
    Match(Regex),
    Prefix(Vec<u8>),
}

/// What the bytes received so far are worth.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Right,
    TooShort,
    Wrong(String),
}

impl Tcp {
    /// Compiles the regular expression as a `udp` probe does.
    ///
    /// # Errors
    /// What is wrong with the regular expression.
    pub fn new(probe: &TcpProbe) -> Result<Tcp, String> {
        let expected = match &probe.expect {
            None => None,
            Some(Pattern::StartsWith(prefix)) => Some(Expected::Prefix(prefix.clone())),
            Some(Pattern::Matches(pattern)) => Some(Expected::Match(
                RegexBuilder::new(pattern)
                    .unicode(false)
                    .build()
                    .map_err(|error| format!("expect: {error}"))?,
            )),
        };
        Ok(Tcp { send: probe.send.clone(), expected })
    }

    /// What is said once the connection stands.
    pub fn request(&self) -> Vec<u8> {
        self.send.clone()
    }

    /// The outcome, once it is clear from what was received; `end` if that is all.
    pub fn outcome(&self, received: &[u8], end: bool) -> Option<Result<(), Failure>> {
        let wrong = |what| Some(Err(Failure::WrongAnswer(what)));
        match (self.judge(received), &self.expected) {
            (Judgement::Right, _) => Some(Ok(())),
            (Judgement::Wrong(what), _) => wrong(what),
            (Judgement::TooShort, Some(expected)) if end && !received.is_empty() => {
                wrong(format!("closed: {}", expected.not_in(received)))
            }
            (Judgement::TooShort, _) if end => wrong("closed without a word".to_owned()),
            (Judgement::TooShort, _) => None,
        }
    }

    fn judge(&self, received: &[u8]) -> Judgement {
        let wrong = match &self.expected {
            None => return Judgement::Right,
            Some(Expected::Match(regex)) if regex.is_match(received) => return Judgement::Right,
            Some(Expected::Match(_)) if received.len() < MOST => return Judgement::TooShort,
            Some(Expected::Prefix(prefix)) if received.starts_with(prefix) => return Judgement::Right,
            Some(Expected::Prefix(prefix)) if prefix.starts_with(received) => return Judgement::TooShort,
            Some(expected) => expected,
        };
        Judgement::Wrong(wrong.not_in(received))
    }
}

impl Expected {
    /// That `received` is not what is expected.
    fn not_in(&self, received: &[u8]) -> String {
        match self {
            Self::Match(regex) => {
                format!("{} does not match \"{}\"", text(received), printable(regex.as_str()))
            }
            Self::Prefix(prefix) => format!("{} does not begin with {}", hex(received), hex(prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(expect: Pattern) -> Tcp {
        Tcp::new(&TcpProbe { send: Vec::new(), expect: Some(expect) }).expect("a valid probe")
    }

    fn matches(pattern: &str) -> Tcp {
        tcp(Pattern::Matches(pattern.to_owned()))
    }

    #[test]
    fn a_greeting_may_come_in_pieces() {
        let smtp = matches("^220 [^\\n]*\\n");
        assert_eq!(smtp.judge(b"220 mail"), Judgement::TooShort);
        assert_eq!(smtp.judge(b"220 mail ready\r\n"), Judgement::Right);
        let hello = tcp(Pattern::StartsWith(b"hello".to_vec()));
        assert_eq!(hello.judge(b""), Judgement::TooShort);
        assert_eq!(hello.judge(b"hel"), Judgement::TooShort);
        let wrong = Judgement::Wrong("0x68656d does not begin with 0x68656c6c6f".to_owned());
        assert_eq!(hello.judge(b"hem"), wrong, "as soon as it cannot become right");
    }

    #[test]
    fn nobody_may_talk_for_ever() {
        let judgement = matches("^pong").judge(&vec![b'x'; MOST]);
        assert!(matches!(judgement, Judgement::Wrong(why) if why.len() < 100));
    }

    #[test]
    fn a_bad_regular_expression_is_an_error() {
        let probe = TcpProbe { send: Vec::new(), expect: Some(Pattern::Matches("(".to_owned())) };
        assert!(Tcp::new(&probe).is_err_and(|error| error.starts_with("expect: ")));
    }

    proptest! {
        #[test]
        fn pieces_of_the_right_answer_are_never_wrong(answer: Vec<u8>, more: Vec<u8>) {
            let tcp = tcp(Pattern::StartsWith(answer.clone()));
            let whole = [&answer[..], &more].concat();
            for end in 0..=whole.len() {
                let expected = if end < answer.len() { Judgement::TooShort } else { Judgement::Right };
                prop_assert_eq!(tcp.judge(&whole[..end]), expected);
            }
        }

        #[test]
        fn a_wrong_answer_gives_a_short_printable_reason(answer in prop::collection::vec(any::<u8>(), 1..200)) {
            match tcp(Pattern::StartsWith(vec![0; 4])).judge(&answer) {
                Judgement::Wrong(why) => {
                    prop_assert!(why.chars().all(|c| !c.is_control()) && why.len() < 250, "{why:?}");
                }
                Judgement::TooShort => prop_assert!(answer.len() < 4 && answer.iter().all(|byte| *byte == 0)),
                Judgement::Right => prop_assert!(answer.starts_with(&[0; 4])),
            }
        }
    }
}
