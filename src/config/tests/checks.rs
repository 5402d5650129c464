//! Every type of check with its defaults and its keys.

use super::super::check::{RCODES, RECORDS};
use super::super::parse;
use super::service;
use crate::core::model::{
    DnsProbe, ExecProbe, ExecWeight, FileNumber, FileProbe, NtpProbe, Probe, RadiusProbe, Reply, Secret,
    SipProbe, SnmpProbe, StatusRange, StunProbe, SyslogProbe, TftpProbe,
};
use crate::health::protocol::compile;

fn probe(check: &str) -> Probe {
    let check = service(&format!("check = {check}")).checks.remove(0);
    check.probe.clone()
}

#[test]
fn udp_probes() {
    let udp = |send: &[u8], reply| Probe::Udp { send: send.to_vec(), reply };
    assert_eq!(probe("{ type = 'udp', send = '' }"), udp(b"", Reply::Any));
    assert_eq!(
        probe("{ type = 'udp', send_hex = '0c 2aFF', expect_hex = '02' }"),
        udp(&[0x0c, 0x2a, 0xff], Reply::StartsWith(vec![2]))
    );
    assert_eq!(
        probe(r"{ type = 'udp', send = 'x', expect = '^\x02\xff', reply = 'required' }"),
        udp(b"x", Reply::Matches(r"^\x02\xff".to_owned()))
    );
    assert_eq!(probe("{ type = 'udp', send = 'x', reply = 'optional' }"), udp(b"x", Reply::Optional));
    let expect = |keys: &str| probe(&format!("{{ type = 'udp', send = 'x', {keys} }}"));
    let length = |least, most| udp(b"x", Reply::Length { least, most });
    assert_eq!(expect("expect_text = '^a'"), udp(b"x", Reply::Contains(b"^a".to_vec())));
    assert_eq!(expect("expect_length = 12"), length(12, 12));
    assert_eq!(expect("expect_length = { min = 12 }"), length(12, 65_507));
    assert_eq!(expect("expect_length = { min = 2, max = 3 }"), length(2, 3));
}

#[test]
fn dns_probes() {
    let dns = |query: &str, record: &str, rcodes: &[&str], answers: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (query, record) = (query.to_owned(), record.to_owned());
        Probe::Dns(DnsProbe { query, record, rcodes: owned(rcodes), answers: owned(answers), edns: None })
    };
    assert_eq!(probe("'dns'"), dns(".", "SOA", &["NOERROR"], &[]));
    assert_eq!(probe("{ type = 'dns', query = 'a.example' }"), dns("a.example", "A", &["NOERROR"], &[]));
    assert_eq!(
        probe("{ type = 'dns', query = 'a.example', record = 'aaaa', answer = '2001:DB8:0::1' }"),
        dns("a.example", "AAAA", &["NOERROR"], &["2001:db8::1"])
    );
    assert_eq!(
        probe("{ type = 'dns', query = 'a.example', answer = ['192.0.2.2', '192.0.2.1'] }"),
        dns("a.example", "A", &["NOERROR"], &["192.0.2.2", "192.0.2.1"])
    );
    assert_eq!(
        probe("{ type = 'dns', query = 'no.example', rcode = ['nxdomain', 'NOERROR', 'NXDOMAIN'] }"),
        dns("no.example", "A", &["NOERROR", "NXDOMAIN"], &[])
    );
    let Probe::Dns(edns) = probe("{ type = 'dns', edns = 1232 }") else { panic!("a dns probe") };
    assert_eq!(edns.edns, Some(1232));
}

#[test]
fn every_valid_probe_can_be_asked() {
    let ask = |check: &str| compile(&probe(check)).unwrap_or_else(|error| panic!("{check}: {error}"));
    for record in RECORDS {
        ask(&format!("{{ type = 'dns', query = 'a.example', record = '{record}' }}"));
    }
    for rcode in RCODES {
        ask(&format!("{{ type = 'dns', rcode = '{rcode}' }}"));
    }
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    ask(&format!("{{ type = 'dns', query = '{longest}' }}"));
    ask(&format!("{{ type = 'dns', query = '{longest}.' }}"));
    ask(r"{ type = 'udp', send = 'x', expect = '\xff(?u)\pL' }");
    for word in ["dns", "sip", "ntp", "snmp", "syslog", "stun", "tftp", "quic"] {
        ask(&format!("'{word}'"));
    }
    ask("{ type = 'snmp', oid = '2.39.4294967295' }");
}

#[test]
fn radius_probes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/radius.secret");
    let secret = Secret::new(b"testing123".to_vec());
    let check = format!("{{ type = 'radius', secret_file = '{path}' }}");
    assert_eq!(probe(&check), Probe::Radius(RadiusProbe { secret }));
    let shown = format!(
        "{:?}{}",
        service(&format!("check = {check}")),
        serde_json::to_string(&probe(&check)).unwrap()
    );
    assert!(!shown.contains("testing123"), "{shown}");
}

#[test]
fn sip_probes() {
    let sip = |status: &[(u16, u16)]| {
        let status = status.iter().map(|(first, last)| StatusRange { first: *first, last: *last });
        Probe::Sip(SipProbe { status: status.collect() })
    };
    assert_eq!(probe("'sip'"), sip(&[(200, 200)]));
    assert_eq!(probe("{ type = 'sip', status = 404 }"), sip(&[(404, 404)]));
    assert_eq!(probe("{ type = 'sip', status = '200 - 299' }"), sip(&[(200, 299)]));
    assert_eq!(probe("{ type = 'sip', status = [404, '200-299'] }"), sip(&[(200, 299), (404, 404)]));
}

#[test]
fn file_probes() {
    let file = |number| Probe::File(FileProbe { path: "/f".to_owned(), number });
    let keys = |keys: &str| probe(&format!("{{ type = 'file', path = '/f' {keys} }}\nscheduler = 'wrr'"));
    for zero in ["", ", down = 'zero'", ", weight = false", ", weight = false, down = 'zero'"] {
        assert_eq!(keys(zero), file(FileNumber::UpUnlessZero));
    }
    assert_eq!(keys(", down = 'nonzero'"), file(FileNumber::DownUnlessZero));
    assert_eq!(keys(", weight = true"), file(FileNumber::Percent));
    assert_eq!(keys(", weight = { times = -254 }"), file(FileNumber::Times(-254)));
}

#[test]
fn exec_probes() {
    for (keys, weight) in [
        ("", ExecWeight::None),
        (", weight = false", ExecWeight::None),
        (", weight = true", ExecWeight::Printed),
        (", weight = 'status'", ExecWeight::Status),
    ] {
        let argv = vec!["/c".to_owned()];
        let check = format!("{{ type = 'exec', command = ['/c'] {keys} }}\nscheduler = 'wrr'");
        assert_eq!(probe(&check), Probe::Exec(ExecProbe { argv, network: false, user: None, weight }));
    }
}

#[test]
fn http_probes() {
    let Probe::Http(http) = probe("'http'") else { panic!("an http probe") };
    assert_eq!((http.body, http.body_absent, http.digest), (None, None, None));
    let keys = "body = 'ok', body_absent = 'error', digest = '5d41402ABC4b2a76b9719d911017c592'";
    let Probe::Http(http) = probe(&format!("{{ type = 'http', {keys} }}")) else { panic!("an http probe") };
    assert_eq!((http.body.as_deref(), http.body_absent.as_deref()), (Some("ok"), Some("error")));
    assert_eq!(http.digest.map(u128::from_be_bytes), Some(0x5d41_402a_bc4b_2a76_b971_9d91_1017_c592));
}

#[test]
fn ntp_probes() {
    assert_eq!(probe("'ntp'"), Probe::Ntp(NtpProbe { max_stratum: 15 }));
    assert_eq!(probe("{ type = 'ntp', max_stratum = 3 }"), Probe::Ntp(NtpProbe { max_stratum: 3 }));
}

#[test]
fn snmp_probes() {
    let snmp =
        |community: &str, oid| Probe::Snmp(SnmpProbe { community: Secret::new(community.into()), oid });
    assert_eq!(probe("'snmp'"), snmp("public", None));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/radius.secret");
    assert_eq!(probe(&format!("{{ type = 'snmp', community_file = '{path}' }}")), snmp("testing123", None));
    assert_eq!(
        probe("{ type = 'snmp', community = 'a', oid = '.1.3.6.1' }"),
        snmp("a", Some(vec![1, 3, 6, 1]))
    );
}

#[test]
fn syslog_probes() {
    let syslog = |facility, severity| Probe::Syslog(SyslogProbe { facility, severity });
    assert_eq!(probe("'syslog'"), syslog(5, 7));
    assert_eq!(probe("{ type = 'syslog', facility = 'local7', severity = 'emerg' }"), syslog(23, 0));
}

#[test]
fn stun_tftp_and_quic_probes() {
    assert_eq!(probe("'stun'"), Probe::Stun(StunProbe { translated: false }));
    assert_eq!(probe("{ type = 'stun', translated = true }"), Probe::Stun(StunProbe { translated: true }));
    assert_eq!(probe("'tftp'"), Probe::Tftp(TftpProbe { file: None }));
    let file = Some("pxelinux.0".to_owned());
    assert_eq!(probe("{ type = 'tftp', file = 'pxelinux.0' }"), Probe::Tftp(TftpProbe { file }));
    assert_eq!(probe("'quic'"), Probe::Quic);
}

#[test]
fn a_credential_is_read_where_systemd_put_it() {
    // Not in the environment of the test: the folder of the unit is looked into, which nobody has here.
    let text = "[[service]]\nname='a'\nlisten='192.0.2.1:53'\nservers=['10.0.0.1:53']\n\
                check = { type = 'radius', secret_credential = 'no-such-secret' }";
    let report = parse("a.toml", text).unwrap_err().to_string();
    assert!(report.contains("no-such-secret`: No such file"), "{report}");
}
