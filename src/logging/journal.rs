//! Log messages as journald takes them (systemd, JOURNAL_NATIVE_PROTOCOL): one datagram each, with the fields of the message.
//!
//! `MESSAGE` is the line that standard error would have, fields and all: whoever reads `journalctl -u ipvsd` sees which server it is
//! about. Each field comes once more as one of its own, in capitals behind `IPVSD_`.

use std::env;
use std::fmt::{self, Debug, Write};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";
/// So much of a message is sent where the whole does not fit into a datagram.
const SHORT: usize = 16 * 1024;

/// Sends each message to journald.
pub struct Journal {
    socket: UnixDatagram,
}

/// Whether standard error is the journal: systemd.exec(5), `$JOURNAL_STREAM`.
pub fn is_stderr() -> bool {
    let stream = || {
        let file = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
        let metadata = file.metadata().ok()?;
        Some(format!("{}:{}", metadata.dev(), metadata.ino()))
    };
    env::var("JOURNAL_STREAM").is_ok_and(|given| stream().is_some_and(|found| found == given))
}

impl Journal {
    /// Connects to journald.
    pub fn open() -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Journal { socket })
    }

    fn send(&self, metadata: &Metadata<'_>, said: &Said) -> io::Result<()> {
        match self.socket.send(&datagram(metadata, said, usize::MAX)) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => {
                self.socket.send(&datagram(metadata, said, SHORT)).map(drop)
            }
            sent => sent.map(drop),
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        // Where it cannot be logged it cannot be said either.
        let _ = self.send(event.metadata(), &said);
    }
}

/// A message and its fields, in their order.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Said {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            // What the crate `log` adds about its caller.
            name if name.starts_with("log.") => {}
            name => self.fields.push((name, value)),
        }
    }

    fn line(&self) -> String {
        let mut line = self.message.clone();
        for (name, value) in &self.fields {
            // To a String it cannot fail.
            let _ = write!(line, " {name}={value}");
        }
        line
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, value.to_string());
    }
}

fn datagram(metadata: &Metadata<'_>, said: &Said, longest: usize) -> Vec<u8> {
    // syslog(3)
    let priority = match *metadata.level() {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    let mut bytes = Vec::new();
    put(&mut bytes, "MESSAGE", &said.line(), longest);
    put(&mut bytes, "PRIORITY", &priority.to_string(), longest);
    put(&mut bytes, "SYSLOG_IDENTIFIER", "ipvsd", longest);
    for (name, value) in &said.fields {
        put(&mut bytes, &Name(name).to_string(), value, longest);
    }
    bytes
}

/// The name of a field as journald allows them.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IPVSD_")?;
        self.0.chars().try_for_each(|c| {
            f.write_char(if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        })
    }
}

/// With its length before it, a value may hold anything.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str, longest: usize) {
    let value = &value.as_bytes()[..value.len().min(longest)];
    bytes.extend(name.as_bytes());
    bytes.push(b'\n');
    bytes.extend((value.len() as u64).to_le_bytes());
    bytes.extend(value);
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What journald would read.
    fn fields(mut bytes: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut fields = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (name, rest) = (text(&bytes[..end]), &bytes[end + 1..]);
            let (length, rest) = rest.split_first_chunk::<8>().expect("a length");
            let (value, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
            fields.push((name, text(value)));
            bytes = rest.strip_prefix(b"\n").expect("an end");
        }
        fields
    }

    fn logged(log: impl FnOnce()) -> Vec<(String, String)> {
        let (socket, journald) = UnixDatagram::pair().expect("two sockets");
        journald.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Journal { socket }), log);
        let mut bytes = vec![0; 1 << 20];
        let length = journald.recv(&mut bytes).expect("a datagram");
        fields(&bytes[..length])
    }

    #[test]
    fn a_message_has_its_fields_in_the_line_and_beside_it() {
        let found = logged(|| {
            tracing::warn!(service = "dns", server = %"10.0.1.11:53", up = 2, why = "a\nb", "weight changed");
        });
        let wanted = [
            ("MESSAGE", "weight changed service=dns server=10.0.1.11:53 up=2 why=a\nb"),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "ipvsd"),
            ("IPVSD_SERVICE", "dns"),
            ("IPVSD_SERVER", "10.0.1.11:53"),
            ("IPVSD_UP", "2"),
            ("IPVSD_WHY", "a\nb"),
        ];
        assert_eq!(found, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_does_not_fit_into_a_datagram_is_cut() {
        let long = "x".repeat(4 << 20);
        let found = logged(|| tracing::error!(%long, "much"));
        assert!(found[0].1.starts_with("much long=xxx"), "{}", found[0].1.len());
        assert_eq!((found[0].1.len(), found[3].1.len()), (SHORT, SHORT));
    }
}
