//! The checks of a real server.

use std::net::IpAddr;
use std::time::Duration;

use super::{Reading, hex};
use crate::keepalived::finding::Rule;
use crate::keepalived::keywords::Block;
use crate::keepalived::model::{Account, CheckKind, Family, Pattern, Script, Timers, Value};
use crate::keepalived::place::{At, Place};
use crate::keepalived::text::Word;
use crate::keepalived::tree::Statement;

const RECORDS: [&str; 9] = ["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"];

/// A check as it is written.
#[derive(Debug)]
pub struct CheckDraft {
    pub place: Place,
    pub block: Block,
    pub kind: CheckKind,
    pub shared: Shared,
}

/// What most checks know.
#[derive(Debug, Default)]
pub struct Shared {
    pub address: Option<At<IpAddr>>,
    pub port: Option<At<u16>>,
    pub bind_address: Option<At<IpAddr>>,
    pub bind_port: Option<At<u16>>,
    pub bind_interface: Option<At<String>>,
    pub mark: Option<At<u32>>,
    pub alpha: Option<At<bool>>,
    pub timers: Timers,
}

impl Reading<'_> {
    /// None if it lacks something without which keepalived ignores it.
    pub fn check(
        &mut self,
        name: &str,
        family: Family,
        statement: &Statement,
        block: &[Statement],
    ) -> Option<CheckDraft> {
        let mut shared = Shared::default();
        let (kind, of) = match name {
            "TCP_CHECK" => {
                (self.plain(Block::TcpCheck, CheckKind::Tcp, family, &mut shared, block), Block::TcpCheck)
            }
            "PING_CHECK" => {
                (self.plain(Block::PingCheck, CheckKind::Ping, family, &mut shared, block), Block::PingCheck)
            }
            "UDP_CHECK" => (self.udp(statement, family, &mut shared, block), Block::UdpCheck),
            "DNS_CHECK" => (self.dns(family, &mut shared, block), Block::DnsCheck),
            "MISC_CHECK" => (self.misc(statement, family, &mut shared, block)?, Block::MiscCheck),
            "SMTP_CHECK" => (self.smtp(family, &mut shared, block), Block::SmtpCheck),
            "HTTP_GET" => (self.http(Block::HttpGet, statement, family, &mut shared, block)?, Block::HttpGet),
            "SSL_GET" => (self.http(Block::SslGet, statement, family, &mut shared, block)?, Block::SslGet),
            "FILE_CHECK" => (self.file(statement, block)?, Block::FileCheck),
            "BFD_CHECK" => (self.bfd(statement, block)?, Block::BfdCheck),
            _ => return None,
        };
        Some(CheckDraft { place: statement.place(), block: of, kind, shared })
    }

    fn plain(
        &mut self,
        of: Block,
        kind: CheckKind,
        family: Family,
        shared: &mut Shared,
        block: &[Statement],
    ) -> CheckKind {
        self.each(of, block, |reading, name, statement| reading.shared(shared, family, name, statement));
        kind
    }

    /// A keyword that most checks know.
    pub fn shared(&mut self, shared: &mut Shared, family: Family, name: &str, statement: &Statement) {
        match name {
            "connect_ip" => shared.address = self.address(statement).or(shared.address),
            "connect_port" => shared.port = self.number(statement, 1..=65_535).or(shared.port),
            "bindto" => {
                let Some(address) = self.address(statement) else { return };
                let family = shared.address.map_or(family, |address| Family::of(address.value));
                if Family::of(address.value) == family {
                    shared.bind_address = Some(address);
                } else {
                    let message =
                        "the address is not of the family that the check connects to: it has no effect";
                    self.findings.error(Rule::Family, address.place, message);
                }
            }
            "bind_port" => shared.bind_port = self.number(statement, 1..=65_535).or(shared.bind_port),
            "bind_if" => shared.bind_interface = self.text(statement),
            "fwmark" => shared.mark = self.number(statement, 0..=u32::MAX.into()).or(shared.mark),
            "alpha" => shared.alpha = self.switch(statement).or(shared.alpha),
            "log_all_failures" => drop(self.switch(statement)),
            _ => self.timers(&mut shared.timers, name, statement, 0),
        }
    }

    fn udp(
        &mut self,
        statement: &Statement,
        family: Family,
        shared: &mut Shared,
        block: &[Statement],
    ) -> CheckKind {
        let (mut payload, mut reply) = (None, None);
        let (mut least, mut most) = (Value::default(0), Value::default(255));
        self.each(Block::UdpCheck, block, |reading, name, statement| match name {
            "payload" => {
                if reading.optional_argument(statement).is_some() {
                    let bytes = reading.hex(statement, false);
                    payload = bytes
                        .map(|at| at.map(|bytes| bytes.into_iter().map(|(byte, _)| byte).collect()))
                        .or(payload.take());
                }
            }
            "require_reply" if statement.word(1).is_none() => {
                reply = Some(At { value: Pattern::default(), place: statement.place() });
            }
            "require_reply" => {
                reply = reading.hex(statement, true).map(|at| at.map(Pattern)).or(reply.take())
            }
            "min_reply_length" => least = reading.number(statement, 0..=65_535).map_or(least, Value::from),
            "max_reply_length" => most = reading.number(statement, 0..=65_535).map_or(most, Value::from),
            _ => reading.shared(shared, family, name, statement),
        });
        if least.value > most.value {
            let message = format!(
                "no answer has at least {} and at most {} bytes: the check always fails",
                least.value, most.value
            );
            self.findings.error(Rule::NeverSucceeds, statement.place(), message);
        }
        CheckKind::Udp { payload, reply, least, most }
    }

    fn hex(&mut self, statement: &Statement, wild: bool) -> Option<At<Vec<(u8, u8)>>> {
        let words = &statement.words[1..];
        let text = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        let bytes = hex::bytes(&text).filter(|bytes| wild || bytes.iter().all(|(_, mask)| *mask == 0xff));
        let place = words[0].place;
        let Some(bytes) = bytes else {
            self.bad(&words[0], &format!("`{}`", statement.keyword()), "hexadecimal digits");
            return None;
        };
        if bytes.last() == Some(&(0xff, 0xff)) {
            self.findings.note(
                Rule::NewKeyword,
                place,
                "keepalived before 2.3.3 takes no text that ends in ff",
            );
        }
        Some(At { value: bytes, place })
    }

    fn dns(&mut self, family: Family, shared: &mut Shared, block: &[Statement]) -> CheckKind {
        let (mut record, mut asked) = (Value::default("SOA".to_owned()), Value::default(".".to_owned()));
        self.each(Block::DnsCheck, block, |reading, name, statement| match name {
            "type" => {
                let Some(word) = reading.argument(statement) else { return };
                let upper = word.text.to_ascii_uppercase();
                if RECORDS.contains(&upper.as_str()) {
                    record = Value { value: upper, place: Some(word.place) };
                } else {
                    reading.bad(word, "the type", &RECORDS.join(", "));
                }
            }
            "name" => {
                let Some(word) = reading.argument(statement) else { return };
                let absolute = word.text.strip_suffix('.').unwrap_or(&word.text);
                if word.text != "." && absolute.split('.').any(str::is_empty) {
                    return reading.bad(word, "the name", "a name without empty labels");
                }
                if word.text.find('.') == Some(1) {
                    let said = "keepalived 2.2.7 takes a first label of one letter for an empty one, and asks for the root";
                    reading.findings.note(Rule::NewKeyword, word.place, said);
                }
                asked = Value { value: word.text.clone(), place: Some(word.place) };
            }
            _ => reading.shared(shared, family, name, statement),
        });
        CheckKind::Dns { record, name: asked }
    }

    fn misc(
        &mut self,
        statement: &Statement,
        family: Family,
        shared: &mut Shared,
        block: &[Statement],
    ) -> Option<CheckKind> {
        let (mut script, mut account, mut timeout, mut dynamic) = (None, None, None, None);
        self.each(Block::MiscCheck, block, |reading, name, statement| match name {
            "misc_path" => {
                // Without a value it is as if it were not there.
                let words = reading.script_words(statement);
                if !words.is_empty() {
                    script = reading.command(words.join(" "), None, statement);
                }
            }
            "misc_timeout" => timeout = reading.number::<u32>(statement, 0..=4_294).or(timeout),
            "misc_dynamic" => dynamic = Some(statement.place()),
            "user" => {
                let user = reading.optional_text(statement).map(|user| user.value);
                let group = statement.word(2).map(|word| word.text.clone());
                account = user.map(|user| Account { user, group }).or(account.take());
            }
            _ => reading.shared(shared, family, name, statement),
        });
        let Some(script) = script else {
            self.incomplete(statement, "misc_path");
            return None;
        };
        // 0 stands for the interval until that is known.
        let timeout = timeout.filter(|timeout| timeout.value > 0);
        let timeout = timeout.map_or(Value::default(Duration::ZERO), |at| {
            at.map(|seconds| Duration::from_secs(seconds.into())).into()
        });
        Some(CheckKind::Misc { script: Script { account, ..script }, timeout, dynamic })
    }

    fn smtp(&mut self, family: Family, shared: &mut Shared, block: &[Statement]) -> CheckKind {
        let mut helo = None;
        self.each(Block::SmtpCheck, block, |reading, name, statement| match name {
            "helo_name" => helo = reading.optional_text(statement),
            "host" => {
                reading.findings.note(
                    Rule::Deprecated,
                    statement.place(),
                    "`host` is an old form: its keywords may stand without it",
                );
                let block = statement.block.as_deref().unwrap_or_default();
                reading.each(Block::TcpCheck, block, |reading, name, statement| {
                    reading.shared(shared, family, name, statement)
                });
            }
            _ => reading.shared(shared, family, name, statement),
        });
        CheckKind::Smtp { helo }
    }

    fn file(&mut self, statement: &Statement, block: &[Statement]) -> Option<CheckKind> {
        let (mut named, mut weight) = (None, None);
        self.each(Block::FileCheck, block, |reading, name, statement| match name {
            "track_file" => {
                let Some(word) = reading.argument(statement) else { return };
                match reading.lvs.track_files.iter().find(|file| file.name.value == word.text) {
                    Some(file) => {
                        named = Some((At { value: word.text.clone(), place: word.place }, file.weight))
                    }
                    None => reading.unknown(word, "track_file"),
                }
            }
            _ => weight = reading.signed_weight(statement, i32::MAX.into()).or(weight),
        });
        let Some((track_file, inherited)) = named else {
            self.incomplete(statement, "track_file");
            return None;
        };
        Some(CheckKind::File { track_file, weight: weight.map_or(inherited, Value::from) })
    }

    fn bfd(&mut self, statement: &Statement, block: &[Statement]) -> Option<CheckKind> {
        let (mut named, mut tried) = (None, false);
        self.each(Block::BfdCheck, block, |reading, _, statement| {
            tried = true;
            let Some(word) = reading.optional_argument(statement) else { return };
            if reading.lvs.bfd.iter().any(|instance| instance.value == word.text) {
                named = Some(At { value: word.text.clone(), place: word.place });
            } else {
                reading.unknown(word, "bfd_instance");
            }
        });
        if !tried {
            self.incomplete(statement, "name");
        }
        named.map(|name| CheckKind::Bfd { name })
    }

    fn unknown(&mut self, word: &Word, what: &str) {
        self.findings.error(Rule::UnknownName, word.place, format!("there is no {what} `{}`", word.text));
    }

    pub fn incomplete(&mut self, statement: &Statement, lacks: &str) {
        let message = format!("this {} has no `{lacks}`, and is ignored", statement.keyword());
        self.findings.error(Rule::Incomplete, statement.place(), message);
    }
}
