//! `syslog`: a message that nobody answers.

use super::super::draft::Field;
use super::super::report::{Place, Problems};
use super::super::toml_table::Table;
use super::super::toml_value::choice;
use super::{ProbeDraft, Type};
use crate::core::model::{Probe, SyslogProbe};

/// In the order of their numbers (RFC 5424, section 6.2.1), by the names of syslog.conf.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const SYSLOG: u8 = 5;
const DEBUG: u8 = 7;

pub const TYPE: Type = Type { word: "syslog", keys: &["facility", "severity"], network: true, read };

/// The draft of a `syslog` probe.
#[derive(Debug)]
pub struct Draft {
    pub facility: Field<u8>,
    pub severity: Field<u8>,
}

fn read(table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    let numbered = |names: &[&'static str]| names.iter().copied().zip(0..).collect::<Vec<_>>();
    Box::new(Draft {
        facility: table.get("facility", problems, |v, p| choice(v, &numbered(&FACILITIES), p)),
        severity: table.get("severity", problems, |v, p| choice(v, &numbered(&SEVERITIES), p)),
    })
}

impl ProbeDraft for Draft {
    fn judge(&self, _: Place, _: &mut Problems) -> Option<Probe> {
        if matches!(self.facility, Field::Broken) || matches!(self.severity, Field::Broken) {
            return None;
        }
        let (facility, severity) = (self.facility.value_or(SYSLOG), self.severity.value_or(DEBUG));
        Some(Probe::Syslog(SyslogProbe { facility, severity }))
    }
}
