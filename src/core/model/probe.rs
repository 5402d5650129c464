//! What a server is asked, protocol by protocol, and which answer is right.

use serde::{Deserialize, Serialize};

use super::Secret;

/// What is asked and which answer is right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Probe {
    /// A datagram of one's own.
    Udp {
        /// The payload.
        send: Vec<u8>,
        /// Which answer is right.
        reply: Reply,
    },
    /// A DNS query.
    Dns(DnsProbe),
    /// A Status-Server of RADIUS.
    Radius(RadiusProbe),
    /// An OPTIONS of SIP.
    Sip(SipProbe),
    /// A client's request of NTP.
    Ntp(NtpProbe),
    /// A get of SNMP v2c.
    Snmp(SnmpProbe),
    /// A message of syslog, which nobody answers.
    Syslog(SyslogProbe),
    /// A Binding request of STUN.
    Stun(StunProbe),
    /// A read request of TFTP.
    Tftp(TftpProbe),
    /// A packet of QUIC that asks for Version Negotiation.
    Quic,
    /// An ICMP echo request, without regard to ports.
    Icmp,
    /// A TCP connection.
    Tcp(TcpProbe),
    /// A request of HTTP, over TLS or not.
    Http(HttpProbe),
    /// A number in a file.
    File(FileProbe),
    /// A command.
    Exec(ExecProbe),
}

impl Probe {
    /// Its `type` in the config.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Udp { .. } => "udp",
            Self::Dns(_) => "dns",
            Self::Radius(_) => "radius",
            Self::Sip(_) => "sip",
            Self::Ntp(_) => "ntp",
            Self::Snmp(_) => "snmp",
            Self::Syslog(_) => "syslog",
            Self::Stun(_) => "stun",
            Self::Tftp(_) => "tftp",
            Self::Quic => "quic",
            Self::Icmp => "icmp",
            Self::Tcp(_) => "tcp",
            Self::Http(http) if http.tls.is_some() => "https",
            Self::Http(_) => "http",
            Self::File(_) => "file",
            Self::Exec(_) => "exec",
        }
    }
}

/// Which answer to a `udp` probe is right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reply {
    /// Any datagram.
    Any,
    /// One that matches this regular expression (bytes, not only UTF-8); valid by construction of [`Config`](super::Config).
    Matches(String),
    /// One that begins with these bytes.
    StartsWith(Vec<u8>),
    /// One that has these bytes in it.
    Contains(Vec<u8>),
    /// One of this length.
    Length {
        /// So many bytes at least.
        least: u16,
        /// So many bytes at most, not less than `least`.
        most: u16,
    },
    /// None is needed: only an ICMP error means failure. If one comes, it may be anything.
    Optional,
}

/// The query of a `dns` probe and what its answer must be. If the answer is truncated before all `answers` are in it, the query is
/// made again over TCP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DnsProbe {
    /// The name asked for, as typed; a valid domain name by construction of [`Config`](super::Config).
    pub query: String,
    /// The record type asked for, in upper case (`A`, `AAAA`, `SOA`, …).
    pub record: String,
    /// The response codes of a right answer, in upper case (`NOERROR`, `NXDOMAIN`, …); at least one, each once, sorted.
    pub rcodes: Vec<String>,
    /// Data that a right answer has, each in a record of its answer section (`192.0.2.1`, …).
    pub answers: Vec<String>,
    /// The query carries EDNS with this size of answers over UDP in bytes, and so does a right answer.
    pub edns: Option<u16>,
}

/// A `tcp` probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TcpProbe {
    /// What is said once the connection stands; may be empty.
    pub send: Vec<u8>,
    /// What the server must say then; none if the connection is enough.
    pub expect: Option<Pattern>,
}

/// What a stream of bytes must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pattern {
    /// It matches this regular expression (bytes, not only UTF-8); valid by construction of [`Config`](super::Config)(super::Config).
    Matches(String),
    /// It begins with these bytes.
    StartsWith(Vec<u8>),
}

/// A `radius` probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RadiusProbe {
    /// The secret that the director and the server share; not empty.
    pub secret: Secret,
}

/// A `sip` probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SipProbe {
    /// The status codes of a right answer; at least one range.
    pub status: Vec<StatusRange>,
}

/// Status codes of SIP or HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StatusRange {
    /// The first one, 200 to 699.
    pub first: u16,
    /// The last one, not below `first`.
    pub last: u16,
}

impl StatusRange {
    /// Whether a code is one of them.
    pub fn contains(&self, code: u16) -> bool {
        (self.first..=self.last).contains(&code)
    }
}

/// An `ntp` probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NtpProbe {
    /// The largest stratum of a right answer, 1 to 15.
    pub max_stratum: u8,
}

/// An `snmp` probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SnmpProbe {
    /// The community.
    pub community: Secret,
    /// The object that is got, valid by construction of [`Config`](super::Config)(super::Config); sysUpTime.0 if none.
    pub oid: Option<Vec<u32>>,
}

/// A `syslog` probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SyslogProbe {
    /// The facility by its number in RFC 5424, 0 to 23.
    pub facility: u8,
    /// The severity by its number in RFC 5424, 0 to 7.
    pub severity: u8,
}

/// A `stun` probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StunProbe {
    /// There is NAT between the director and the server: the address that the server saw is not compared with the director's.
    pub translated: bool,
}

/// A `tftp` probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TftpProbe {
    /// The file whose first block is a right answer; if none, any answer is.
    pub file: Option<String>,
}

/// A `file` probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileProbe {
    /// The absolute path, in which `{address}` and `{port}` stand for those of the server.
    pub path: String,
    /// What the number means.
    pub number: FileNumber,
}

/// What the number in a file means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FileNumber {
    /// 0 is down, any other is up; none is negative.
    UpUnlessZero,
    /// 0 is up, any other is down.
    DownUnlessZero,
    /// A percentage of the weight.
    Percent,
    /// So often it is added to the weight; not 0.
    Times(i32),
}

/// An `exec` probe. The command runs for the check's timeout at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExecProbe {
    /// The executable's absolute path and its arguments, in which `{address}` and `{port}` stand for those of the server; at least
    /// one.
    pub argv: Vec<String>,
    /// It keeps `CAP_NET_ADMIN` and `CAP_NET_RAW`; otherwise it has no capabilities.
    pub network: bool,
    /// See [`super::Command::user`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it says the weight.
    pub weight: ExecWeight,
}

/// Where a command says the weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ExecWeight {
    /// Nowhere: exit status 0 is up, any other is down.
    None,
    /// The same, and the first line that it prints is a percentage of the weight.
    Printed,
    /// In its exit status: 0 is up, 1 is down, and 2 to 255 is up with the weight 0 to 253 instead of that in the config.
    Status,
}

/// An `http` or `https` probe. All texts are valid for HTTP by construction of [`Config`](super::Config)(super::Config).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HttpProbe {
    /// The path and the query asked for.
    pub path: String,
    /// The host asked for; none is the address and port of the server.
    pub host: Option<String>,
    /// The method.
    pub method: String,
    /// More headers, and others instead of ours.
    pub headers: Vec<(String, String)>,
    /// The status codes of a right answer; at least one range.
    pub status: Vec<StatusRange>,
    /// A regular expression (bytes, not only UTF-8) that the first 64 KiB of the body must match.
    pub body: Option<String>,
    /// One that they must not match.
    pub body_absent: Option<String>,
    /// The MD5 digest of the whole body.
    pub digest: Option<[u8; 16]>,
    /// The header of the answer that holds a percentage of the weight.
    pub weight: Option<String>,
    /// TLS; none for plain HTTP.
    pub tls: Option<TlsProbe>,
}

/// Whom a server must prove to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TlsProbe {
    /// The name or address for which its certificate must be valid, and which it is told (SNI); none is the server's address.
    pub name: Option<String>,
    /// Who must have signed the certificate.
    pub trust: Trust,
}

/// Whose signature counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Trust {
    /// That of those whom this machine trusts.
    System,
    /// That of these certificates (DER); at least one.
    Only(Vec<Vec<u8>>),
    /// Nobody's: whoever answers is the server.
    Anybody,
}
