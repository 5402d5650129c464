//! The checks of a real server as tables of ipvsd.toml.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::model::{Check, CheckKind, Connection, Pattern, RealServer, Script, Timing, Url, Value};
use super::super::place::{At, Place};
use super::document::{self, Item, Table};
use super::{Scripts, note::Notes};

/// Translates checks.
pub struct Checks<'a> {
    pub scripts: &'a Scripts<'a>,
    /// The server has no port of its own, whatever the file says.
    pub any_port: bool,
    pub notes: &'a mut Notes,
}

impl Checks<'_> {
    /// As the file has them; one without any is up, and `"none"` says so.
    pub fn of(&mut self, server: &RealServer) -> Item {
        let mut items: Vec<Item> = Vec::new();
        for check in &server.checks {
            for table in self.tables(check, server) {
                let item = Item::new(table, check.place);
                // keepalived makes the same check twice where a file has it twice.
                if !items.contains(&item) {
                    items.push(item);
                }
            }
        }
        match items.len() {
            0 => {
                self.notes.noted(
                    server.place,
                    "real_server",
                    "it has no check, and counts as alive for ever",
                );
                Item::new("none", server.place)
            }
            1 => items.remove(0),
            _ => Item::new(items, server.place),
        }
    }

    /// One table for a check; several for several URLs; none for what ipvsd does not have, of which there is a note.
    fn tables(&mut self, check: &Check, server: &RealServer) -> Vec<Table> {
        let mut tables = match &check.kind {
            CheckKind::Tcp => vec![typed("tcp", check.place)],
            CheckKind::Ping => vec![typed("icmp", check.place)],
            CheckKind::Udp { payload, reply, least, most } => {
                let mut table = typed("udp", check.place);
                self.udp(check, payload.as_ref(), reply.as_ref(), (least, most), &mut table);
                vec![table]
            }
            CheckKind::Dns { record, name } => {
                let mut table = typed("dns", check.place);
                table.set("query", name.value.as_str(), name.place);
                table.set("record", record.value.as_str(), record.place);
                vec![table]
            }
            CheckKind::Misc { script, timeout, dynamic } => self.misc(check, script, timeout, *dynamic),
            CheckKind::File { track_file, weight } => self.file(check, track_file, weight),
            CheckKind::Http { tls, virtualhost, sni_name, urls, .. } => {
                let host = virtualhost.as_ref().or(server.virtualhost.as_ref());
                if let Some(name) =
                    sni_name.as_ref().filter(|name| Some(&name.value) != host.map(|at| &at.value))
                {
                    let said =
                        "ipvsd asks for one name, in the header Host and in TLS: give `virtualhost` the same";
                    self.notes.refused(name.place, "sni_name", said);
                }
                urls.iter().map(|url| self.url(url, *tls, host)).collect()
            }
            CheckKind::Smtp { .. } | CheckKind::Bfd { .. } => return Vec::new(),
        };
        for table in &mut tables {
            if let Some(connection) = &check.connection {
                let ping = check.kind == CheckKind::Ping;
                self.connection(connection, server, ping, table);
            }
            if let Some(timing) = &check.timing {
                let script = matches!(check.kind, CheckKind::Misc { .. });
                self.timing(timing, script, check.place, table);
            }
        }
        tables
    }

    fn udp(
        &mut self,
        check: &Check,
        payload: Option<&At<Vec<u8>>>,
        reply: Option<&At<Pattern>>,
        (least, most): (&Value<u16>, &Value<u16>),
        table: &mut Table,
    ) {
        match payload {
            Some(payload) => table.set("send_hex", hex(&payload.value), payload.place),
            None => {
                table.set("send", "", check.place);
                let said = "there is none: ipvsd sends an empty datagram, keepalived 32 bytes of its own";
                self.notes.noted(check.place, "payload", said);
            }
        }
        let Some(reply) = reply else {
            table.set("reply", "optional", check.place);
            let said = "there is none: silence counts as alive, as with keepalived. If the service answers, ask for it: `expect` \
                        instead of `reply = \"optional\"`";
            self.notes.noted(check.place, "require_reply", said);
            return;
        };
        if reply.value.0.is_empty() {
            return;
        }
        let lengths = least.place.is_some() || most.place.is_some();
        if !lengths && reply.value.0.iter().all(|(_, mask)| *mask == 0xff) {
            let bytes: Vec<u8> = reply.value.0.iter().map(|(byte, _)| *byte).collect();
            table.set("expect_hex", hex(&bytes), reply.place);
        } else {
            let expression =
                expression(&reply.value, least.place.map(|_| least.value), most.place.map(|_| most.value));
            table.set("expect", expression, reply.place);
        }
        let said = "an answer that is shorter than the pattern is wrong; with keepalived it is right if it begins like it";
        self.notes.noted(reply.place, "require_reply", said);
    }

    fn misc(
        &mut self,
        check: &Check,
        script: &Script,
        timeout: &Value<Duration>,
        dynamic: Option<Place>,
    ) -> Vec<Table> {
        let mut table = typed("exec", check.place);
        let Some(words) = self.scripts.words(script, "misc_path", self.notes) else { return Vec::new() };
        table.set("command", words, script.place);
        self.scripts.user(script, &mut table, self.notes);
        if let Some(place) = dynamic {
            table.set("weight", "status", place);
        }
        table.set("timeout", duration(timeout.value), timeout.place.unwrap_or(check.place));
        vec![table]
    }

    fn file(&mut self, check: &Check, name: &At<String>, weight: &Value<i64>) -> Vec<Table> {
        let files = &self.scripts.lvs.track_files;
        // One that is missing has its finding.
        let Some(file) = files.iter().find(|file| file.name.value == name.value) else { return Vec::new() };
        let mut table = typed("file", check.place);
        table.set("path", file.path.value.as_str(), file.path.place);
        let said =
            "what is no number in the file is down, with keepalived 0; a file that is missing is 0 with both";
        self.notes.noted(check.place, "track_file", said);
        if weight.value == 0 {
            table.set("down", "nonzero", name.place);
        } else {
            let mut times = Table::default();
            times.set("times", weight.value, weight.place);
            table.set("weight", times, weight.place);
        }
        vec![table]
    }

    fn url(&mut self, url: &Url, tls: bool, host: Option<&At<String>>) -> Table {
        let mut table = typed(if tls { "https" } else { "http" }, url.place);
        if let Some(host) = url.virtualhost.as_ref().or(host) {
            table.set("host", host.value.as_str(), host.place);
        }
        table.set("path", url.path.value.as_str(), url.path.place);
        let statuses = url.statuses.iter().map(|(first, last)| match first == last {
            true => Item::new(*first, url.place),
            false => Item::new(format!("{first}-{last}"), url.place),
        });
        let mut statuses: Vec<Item> = statuses.collect();
        match statuses.len() {
            1 => table.0.push(("status", statuses.remove(0))),
            _ => table.set("status", statuses, url.place),
        }
        if let Some(digest) = &url.digest {
            table.set("digest", digest.value.as_str(), digest.place);
        }
        if let Some(regex) = &url.regex {
            let key = if url.regex_no_match.is_some() { "body_absent" } else { "body" };
            table.set(key, self.regex(url, regex), regex.place);
        }
        if tls {
            table.set("verify", false, url.place);
            let said = "keepalived looks at no certificate: take `verify = false` out, and the server must prove who it is";
            self.notes.noted(url.place, "SSL_GET", said);
        }
        table
    }

    /// An expression of PCRE as one of the crate `regex`, which judges it.
    fn regex(&mut self, url: &Url, regex: &At<String>) -> String {
        let (mut flags, mut anchored) = (String::new(), false);
        for option in &url.regex_options {
            match option.value.as_str() {
                "caseless" => flags.push('i'),
                "multiline" => flags.push('m'),
                "dotall" => flags.push('s'),
                "extended" => flags.push('x'),
                "ungreedy" => flags.push('U'),
                "anchored" => anchored = true,
                other => {
                    let said = format!("ipvsd's expressions have no option `{other}`");
                    self.notes.refused(option.place, "regex_options", said);
                }
            }
        }
        let mut text = regex.value.clone();
        if !flags.is_empty() {
            text = format!("(?{flags}:{text})");
        }
        let (least, most) = (&url.regex_min_offset, &url.regex_max_offset);
        match (least, most) {
            (None, None) if anchored => format!(r"\A(?:{text})"),
            (None, None) => text,
            _ => {
                let least = least.as_ref().map_or(0, |at| at.value);
                let most = most.as_ref().map(|at| at.value.to_string()).unwrap_or_default();
                format!(r"\A(?s-u:.{{{least},{most}}}?)(?:{text})")
            }
        }
    }

    fn connection(&mut self, connection: &Connection, server: &RealServer, ping: bool, table: &mut Table) {
        if connection.address.value != server.address {
            table.set("address", connection.address.value.to_string(), connection.address.place);
        }
        if (connection.port.value != server.port || self.any_port) && !ping {
            table.set("port", connection.port.value, connection.port.place);
        }
        if !server.has_port && connection.port.place.is_none() && !ping {
            let said = "the real_server names no port: keepalived 2.2.7 then asks at port 0, where nobody answers, ipvsd at the \
                        service's port";
            self.notes.noted(server.place, "connect_port", said);
        }
        let unnamed = match connection.address.value {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let address = connection.bind_address.as_ref().map(|at| at.value);
        match (&connection.bind_address, &connection.bind_port) {
            (None, None) => {}
            (Some(at), None) => table.set("source", at.value.to_string(), at.place),
            (_, Some(port)) => {
                let source = SocketAddr::new(address.unwrap_or(unnamed), port.value);
                table.set("source", source.to_string(), port.place);
            }
        }
        if let Some(interface) = &connection.bind_interface {
            table.set("interface", interface.value.as_str(), interface.place);
        }
        if let Some(mark) = &connection.mark {
            table.set("mark", mark.value, mark.place);
        }
        table.set("timeout", duration(connection.timeout.value), connection.timeout.place);
        if connection.timeout.place.is_none() {
            let said = "not given, so 5 s as with keepalived: a silent server is seen sooner with a `timeout` of its own";
            self.notes.noted(server.place, "connect_timeout", said);
        }
    }

    fn timing(&mut self, timing: &Timing, script: bool, place: Place, table: &mut Table) {
        match timing.interval.place {
            // A script is dear: it runs no more often than with keepalived.
            None if script => table.set("interval", duration(timing.interval.value), place),
            None => {
                let said =
                    "not given: instead of keepalived's 60 s ipvsd asks every 500 ms, every 2 s over HTTP";
                self.notes.noted(place, "delay_loop", said);
            }
            Some(given) => table.set("interval", duration(timing.interval.value), given),
        }
        if let Some(given) = timing.retry_delay.place {
            table.set("retry_interval", duration(timing.retry_delay.value), given);
        }
        if timing.retry.place.is_some() || script {
            table.set("fall", timing.retry.value.saturating_add(1), timing.retry.place);
        }
        table.set("rise", 1_u32, None);
    }
}

fn typed(word: &str, place: Place) -> Table {
    let mut table = Table::default();
    table.set("type", word, place);
    table
}

/// As ipvsd reads it; nothing is `1ms`, the least there is.
pub fn duration(duration: Duration) -> document::Value {
    // Nobody's timer is finer, and a person would not write it.
    let millis = Duration::from_millis(duration.as_millis().max(1) as u64);
    humantime::format_duration(millis).to_string().into()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A regular expression for bytes with bits that count, in an answer of a length between these.
fn expression(pattern: &Pattern, least: Option<u16>, most: Option<u16>) -> String {
    let mut text = String::from(r"(?s-u)\A");
    for (byte, mask) in &pattern.0 {
        let _ = match mask {
            0xff => write!(text, r"\x{byte:02x}"),
            0 => write!(text, "."),
            0xf0 => write!(text, r"[\x{:02x}-\x{:02x}]", byte & 0xf0, byte | 0x0f),
            mask => {
                text.push('[');
                for fits in (0..=u8::MAX).filter(|other| other & mask == byte & mask) {
                    let _ = write!(text, r"\x{fits:02x}");
                }
                write!(text, "]")
            }
        };
    }
    // What follows the pattern; an answer that is at most as long as it ends with it.
    let more = |length: u16| usize::from(length).saturating_sub(pattern.0.len());
    match (least.map_or(0, more), most.map(more)) {
        (0, None) => {}
        (least, None) => text.push_str(&format!(".{{{least}}}")),
        (least, Some(most)) => text.push_str(&format!(r".{{{least},{most}}}\z")),
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        for (time, text) in [(0, "1ms"), (2_500, "2s 500ms"), (60_000, "1m"), (86_400_000, "1day")] {
            assert_eq!(duration(Duration::from_millis(time)), document::Value::from(text));
        }
    }

    proptest! {
        #[test]
        fn the_expression_matches_what_the_pattern_says(
            pattern in prop::collection::vec((any::<u8>(), prop::sample::select(vec![0xff, 0xf0, 0x0f, 0])), 1..6),
            answer in prop::collection::vec(any::<u8>(), 0..8),
            least in prop::option::of(0..9_u16),
        ) {
            let right = answer.len() >= pattern.len().max(least.unwrap_or_default().into())
                && pattern.iter().zip(&answer).all(|((byte, mask), got)| byte & mask == got & mask);
            let expression = regex::bytes::Regex::new(&expression(&Pattern(pattern.clone()), least, None)).expect("an expression");
            prop_assert_eq!(expression.is_match(&answer), right);
            let fitting: Vec<u8> = pattern.iter().map(|(byte, _)| *byte).chain(std::iter::repeat_n(0, 9)).collect();
            prop_assert!(expression.is_match(&fitting));
            let bounded = self::expression(&Pattern(pattern.clone()), None, Some(10));
            let bounded = regex::bytes::Regex::new(&bounded).expect("an expression");
            prop_assert_eq!(bounded.is_match(&fitting), fitting.len() <= 10);
        }
    }
}
