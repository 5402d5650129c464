//! The `tcp` probe: a connection, and what is said over it.
//!
//! A connection is closed by a reset: it leaves nothing behind, neither on the director, where thousands of probes a second would
//! pile up in TIME_WAIT, nor on the server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use regex::bytes::{Regex, RegexBuilder};
use socket2::SockRef;

use super::failure::Failure;
use super::protocol::{hex, printable, text};
use super::socket::Trouble;
use crate::core::model::{Pattern, TcpProbe};

/// A server that has said so much and not yet what is expected says something else.
const MOST: usize = 64 * 1024;
/// So much is read at a time.
const CHUNK: usize = 4096;

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

/// One probe on its way.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    established: bool,
    sent: usize,
    received: Vec<u8>,
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

impl Connection {
    /// Begins to connect. Events come under `token`.
    ///
    /// # Errors
    /// No descriptor, memory or port left ([`Trouble::Ours`]), or no way to the server.
    pub fn open(server: SocketAddr, registry: &Registry, token: Token) -> Result<Connection, Trouble> {
        let mut stream = TcpStream::connect(server).map_err(|error| match error.kind() {
            ErrorKind::AddrNotAvailable => Trouble::ours(&error),
            _ => Trouble::from(&error),
        })?;
        let prepare = |stream: &mut TcpStream| {
            SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            registry.register(stream, token, Interest::READABLE | Interest::WRITABLE)
        };
        prepare(&mut stream).map_err(|error| Trouble::from(&error))?;
        Ok(Connection { stream, established: false, sent: 0, received: Vec::new() })
    }

    /// Goes as far as it can go now; the outcome, once there is one.
    pub fn advance(&mut self, tcp: &Tcp) -> Option<Result<(), Failure>> {
        match self.try_advance(tcp) {
            Ok(outcome) => outcome,
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(failed(&error))),
        }
    }

    fn try_advance(&mut self, tcp: &Tcp) -> io::Result<Option<Result<(), Failure>>> {
        if !self.established {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Ok(_) => self.established = true,
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        while self.sent < tcp.send.len() {
            self.sent += self.stream.write(&tcp.send[self.sent..])?;
        }
        let mut chunk = [0; CHUNK];
        loop {
            match tcp.judge(&self.received) {
                Judgement::Right => return Ok(Some(Ok(()))),
                Judgement::Wrong(what) => return Ok(Some(Err(Failure::WrongAnswer(what)))),
                Judgement::TooShort => {}
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(Some(Err(self.closed(tcp)))),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn closed(&self, tcp: &Tcp) -> Failure {
        let what = match &tcp.expected {
            Some(expected) if !self.received.is_empty() => format!(": {}", expected.not_in(&self.received)),
            _ => " without a word".to_owned(),
        };
        Failure::WrongAnswer(format!("closed{what}"))
    }
}

/// What an error on a connection says about the server.
pub fn failed(error: &io::Error) -> Failure {
    Failure::Connection(error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw))
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
