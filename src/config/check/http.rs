//! `http` and `https`: a request.

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery};
use rustls::pki_types::ServerName;
use toml::de::DeValue;

use super::super::draft::{At, Field};
use super::super::report::{Place, Problems};
use super::super::toml_table::{Table, Value, place, wrong_kind};
use super::super::toml_value::{boolean, hex, string};
use super::{ProbeDraft, Times, Type, pattern, status, trust};
use crate::core::model::{HttpProbe, Probe, StatusRange, TlsProbe, Trust};

pub const HTTP: Type =
    Type { word: "http", keys: &KEYS, network: true, read: |table, problems| read(false, table, problems) };
pub const HTTPS: Type = Type {
    word: "https",
    keys: &[
        "path",
        "host",
        "method",
        "headers",
        "status",
        "body",
        "body_absent",
        "digest",
        "weight",
        "verify",
        "ca_file",
    ],
    network: true,
    read: |table, problems| read(true, table, problems),
};
const KEYS: [&str; 9] =
    ["path", "host", "method", "headers", "status", "body", "body_absent", "digest", "weight"];

/// The draft of an `http` or `https` probe.
#[derive(Debug)]
pub struct Draft {
    pub tls: bool,
    pub path: Field<String>,
    pub host: Field<String>,
    pub method: Field<String>,
    pub headers: Field<Vec<(At<String>, At<String>)>>,
    pub status: Field<Vec<StatusRange>>,
    pub body: Field<String>,
    pub body_absent: Field<String>,
    pub digest: Field<[u8; 16]>,
    pub weight: Field<String>,
    pub verify: Field<bool>,
    pub ca_file: Field<String>,
}

fn read(tls: bool, table: &Table<'_>, problems: &mut Problems) -> Box<dyn ProbeDraft> {
    Box::new(Draft {
        tls,
        path: table.get("path", problems, string),
        host: table.get("host", problems, string),
        method: table.get("method", problems, string),
        headers: table.get("headers", problems, headers),
        status: table.get("status", problems, status::codes),
        body: table.get("body", problems, string),
        body_absent: table.get("body_absent", problems, string),
        digest: table.get("digest", problems, digest),
        weight: table.get("weight", problems, string),
        verify: table.get("verify", problems, boolean),
        ca_file: table.get("ca_file", problems, string),
    })
}

/// A table of names and values.
fn headers(value: Value<'_>, problems: &mut Problems) -> Option<Vec<(At<String>, At<String>)>> {
    let DeValue::Table(entries) = value.get_ref() else {
        wrong_kind(value, "a table of headers: { Accept = \"text/plain\" }", problems);
        return None;
    };
    let read = entries.iter().map(|(name, value)| {
        let at = Place { start: name.span().start, end: name.span().end };
        let name = At { value: name.get_ref().to_string(), place: at };
        Some((name, At { value: string(value, problems)?, place: place(value) }))
    });
    // All of them are read, so that every error is found.
    let read: Vec<_> = read.collect();
    read.into_iter().collect()
}

/// 16 bytes.
fn digest(value: Value<'_>, problems: &mut Problems) -> Option<[u8; 16]> {
    let bytes = hex(value, problems)?;
    let digest = bytes.try_into().ok();
    if digest.is_none() {
        problems
            .error(place(value), "an MD5 digest has 32 hexadecimal digits")
            .help("`curl -s http://10.0.1.11/ | md5sum` prints that of a body");
    }
    digest
}

impl ProbeDraft for Draft {
    /// A connection, and under TLS a handshake, for each probe costs the server something.
    fn times(&self) -> Times {
        Times { interval: 2_000, timeout: 1_000, retry_interval: 500 }
    }

    fn judge(&self, place: Place, problems: &mut Problems) -> Option<Probe> {
        let path = text(
            &self.path,
            "/",
            problems,
            "a path",
            "it begins with `/`, and a space in it is `%20`",
            |path| path.starts_with('/') && path.parse::<PathAndQuery>().is_ok(),
        );
        let host = optional(&self.host, problems, "a host", "a name, or a name and a port", |host| {
            !host.contains('@') && host.parse::<Authority>().is_ok() && (!self.tls || name_of(host).is_some())
        });
        let method = text(&self.method, "GET", problems, "a method", "GET or HEAD, usually", |method| {
            method.parse::<Method>().is_ok_and(|method| method != Method::CONNECT)
        });
        let name = |name: &str| name.parse::<HeaderName>().is_ok();
        let weight = optional(&self.weight, problems, "the name of a header", "\"X-Weight\"", name);
        let mut regex = |field: &Field<String>| match field {
            Field::Missing => Some(None),
            Field::Broken => None,
            Field::Given(at) => pattern::regex(at, problems).map(Some),
        };
        let (body, body_absent) = (regex(&self.body), regex(&self.body_absent));
        let digest = match &self.digest {
            Field::Broken => None,
            field => Some(field.given().map(|at| at.value)),
        };
        let status = match &self.status {
            Field::Missing => Some(vec![StatusRange { first: 200, last: 399 }]),
            Field::Broken => None,
            Field::Given(at) => Some(at.value.clone()),
        };
        let texts = [&self.body, &self.body_absent].into_iter().filter_map(Field::given).map(|at| at.place);
        if method.as_deref() == Some("HEAD")
            && let Some(place) = texts.chain(self.digest.given().map(|at| at.place)).next()
        {
            problems.error(place, "the answer to HEAD has no body").help("`method = \"GET\"`");
        }
        let headers = judge_headers(&self.headers, problems);
        let tls = match self.tls {
            false => Some(None),
            true => {
                let name = host.clone().flatten().and_then(|host| name_of(&host));
                self.judge_trust(place, problems).map(|trust| Some(TlsProbe { name, trust }))
            }
        };
        Some(Probe::Http(HttpProbe {
            path: path?,
            host: host?,
            method: method?,
            headers: headers?,
            status: status?,
            body: body?,
            body_absent: body_absent?,
            digest: digest?,
            weight: weight?,
            tls: tls?,
        }))
    }
}

/// What a certificate is to be valid for: the host without its port, if that is a name or an address.
fn name_of(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    let name = authority.host().trim_matches(['[', ']']);
    ServerName::try_from(name).ok()?;
    Some(name.to_owned())
}

impl Draft {
    fn judge_trust(&self, place: Place, problems: &mut Problems) -> Option<Trust> {
        let verify = match &self.verify {
            Field::Broken => return None,
            field => field.value_or(true),
        };
        match (&self.ca_file, &self.verify) {
            (Field::Given(file), Field::Given(at)) if !verify => {
                problems
                    .error(file.place, "no certificate is verified against it")
                    .related(at.place, "since `verify` is false")
                    .help("remove one of them");
                return None;
            }
            (_, Field::Given(at)) if !verify => {
                problems
                    .warning(
                        at.place,
                        "whoever answers is taken for the server: its certificate is not verified",
                    )
                    .help("`ca_file = \"…\"` trusts certificates of your own");
                return Some(Trust::Anybody);
            }
            _ => {}
        }
        if matches!(self.host, Field::Missing) {
            problems
                .warning(place, "the certificate of each server must be valid for its address")
                .help("`host = \"www.example.com\"` is what it is valid for, usually");
        }
        match &self.ca_file {
            Field::Missing => Some(Trust::System),
            Field::Broken => None,
            Field::Given(at) => trust::certificates(at, problems).map(Trust::Only),
        }
    }
}

fn judge_headers(
    field: &Field<Vec<(At<String>, At<String>)>>,
    problems: &mut Problems,
) -> Option<Vec<(String, String)>> {
    let given = match field {
        Field::Missing => return Some(Vec::new()),
        Field::Broken => return None,
        Field::Given(at) => &at.value,
    };
    let mut valid = true;
    for (name, value) in given {
        if name.value.parse::<HeaderName>().is_err() {
            problems.error(name.place, format!("`{}` is not the name of a header", name.value));
            valid = false;
        } else if name.value.eq_ignore_ascii_case("host") {
            problems.error(name.place, "the host has a key of its own").help("`host = \"…\"` in the check");
            valid = false;
        }
        if value.value.parse::<HeaderValue>().is_err() {
            problems.error(value.place, format!("`{}` is not the value of a header", value.value));
            valid = false;
        }
    }
    valid.then(|| given.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect())
}

fn text(
    field: &Field<String>,
    default: &str,
    problems: &mut Problems,
    what: &str,
    help: &str,
    valid: impl FnOnce(&str) -> bool,
) -> Option<String> {
    optional(field, problems, what, help, valid).map(|text| text.unwrap_or_else(|| default.to_owned()))
}

fn optional(
    field: &Field<String>,
    problems: &mut Problems,
    what: &str,
    help: &str,
    valid: impl FnOnce(&str) -> bool,
) -> Option<Option<String>> {
    match field {
        Field::Missing => Some(None),
        Field::Broken => None,
        Field::Given(at) if valid(&at.value) => Some(Some(at.value.clone())),
        Field::Given(at) => {
            problems.error(at.place, format!("`{}` is not {what}", at.value)).help(help);
            None
        }
    }
}
