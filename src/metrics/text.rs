//! The two formats, written in chunks: with many servers the text is far larger than all that the daemon needs.

use std::fmt::{self, Write};

use hyper::body::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::Observed;
use super::families::Families;

/// A chunk is sent when it has so many bytes.
const CHUNK: usize = 16 * 1024;

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4, for all who do not ask for the other.
    Plain,
}

impl Format {
    /// The one for this `Accept` header.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Plain }
    }

    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes all metrics; `send` takes one chunk after the other, or says that nobody wants more.
///
/// # Errors
/// Nobody wanted more.
pub fn write(observed: Observed, format: Format, send: impl FnMut(Bytes) -> fmt::Result) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(observed)));
    let mut chunks = Chunks { format, line: String::new(), help: String::new(), chunk: String::new(), send };
    encode(&mut chunks, &registry)?;
    chunks.flush()
}

/// Takes OpenMetrics in pieces.
struct Chunks<F> {
    format: Format,
    /// The line that is not yet whole.
    line: String,
    /// The line of help that waits for its type.
    help: String,
    chunk: String,
    send: F,
}

impl<F: FnMut(Bytes) -> fmt::Result> Write for Chunks<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.format == Format::OpenMetrics {
            // Words come one by one, millions of them.
            self.chunk += text;
            return if self.chunk.len() >= CHUNK { self.flush() } else { Ok(()) };
        }
        for piece in text.split_inclusive('\n') {
            self.line += piece;
            if piece.ends_with('\n') {
                let line = std::mem::take(&mut self.line);
                self.plain(&line);
                self.line = line;
                self.line.clear();
            }
        }
        if self.chunk.len() >= CHUNK { self.flush() } else { Ok(()) }
    }
}

impl<F: FnMut(Bytes) -> fmt::Result> Chunks<F> {
    fn flush(&mut self) -> fmt::Result {
        (self.send)(std::mem::take(&mut self.chunk).into())
    }

    /// What differs: a counter and an information are called as their samples are, and there is no end.
    fn plain(&mut self, line: &str) {
        if line.starts_with("# HELP ") {
            self.help = line.to_owned();
            return;
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.trim_end().split_once(' '))
        else {
            if line != "# EOF\n" {
                self.chunk += line;
            }
            return;
        };
        let (suffix, kind) = match kind {
            "counter" => ("_total", kind),
            "info" => ("_info", "gauge"),
            kind => ("", kind),
        };
        let help = self.help.strip_prefix("# HELP ").and_then(|it| it.strip_prefix(name)).unwrap_or_default();
        self.chunk += &format!("# HELP {name}{suffix}{help}# TYPE {name}{suffix} {kind}\n");
    }
}
