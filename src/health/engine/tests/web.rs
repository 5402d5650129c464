//! `http` and `https` checks against servers on the loopback that say whatever they are told to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::core::model::{Factor, HttpProbe, StatusRange, TlsProbe, Trust};

/// Reads what is asked first: to close before that is a reset.
fn hang_up(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
}

/// Serves each connection in a thread of its own, until the process ends.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket on the loopback");
    let place = listener.local_addr().expect("a bound socket");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (Arc::clone(&serve), stream.expect("a connection"));
            std::thread::spawn(move || serve(stream));
        }
    });
    place
}

/// Reads a request to its empty line; gives it.
fn request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        request.push(byte[0]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// Answers every request with these bytes.
fn says(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = answer.into();
    listen(move |mut stream| {
        request(&mut stream);
        let _ = stream.write_all(&answer);
    })
}

fn get() -> HttpProbe {
    HttpProbe {
        path: "/".to_owned(),
        host: None,
        method: "GET".to_owned(),
        headers: Vec::new(),
        status: vec![StatusRange { first: 200, last: 399 }],
        body: None,
        body_absent: None,
        digest: None,
        weight: None,
        tls: None,
    }
}

fn matching(pattern: &str) -> HttpProbe {
    HttpProbe { body: Some(pattern.to_owned()), ..get() }
}

fn without(pattern: &str) -> HttpProbe {
    HttpProbe { body_absent: Some(pattern.to_owned()), ..get() }
}

/// The digests of no bytes, of "hello", and of 100 000 times "x" (`md5sum`).
const NOTHING: u128 = 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e;
const HELLO: u128 = 0x5d41_402a_bc4b_2a76_b971_9d91_1017_c592;
const MANY: u128 = 0xd581_6f35_916d_1d94_82fb_0f1e_c201_101d;

fn digest(digest: u128) -> HttpProbe {
    HttpProbe { digest: Some(digest.to_be_bytes()), ..get() }
}

/// The first verdict on each of these.
fn verdicts_on(probes: Vec<(SocketAddr, HttpProbe)>) -> Vec<(bool, Factor, String)> {
    let targets = (0..).zip(probes).map(|(id, (place, probe))| target(id, place, false, Probe::Http(probe)));
    let targets: Vec<_> = targets.collect();
    let mut found = vec![None; targets.len()];
    let (_checker, mut verdicts) = engine(targets);
    while found.contains(&None) {
        let verdict = next(&mut verdicts);
        let found = &mut found[verdict.target.0 as usize];
        assert!(found.is_none(), "{verdict:?} after {found:?}");
        *found = Some((verdict.up, verdict.factor, verdict.reason.into_owned()));
    }
    found.into_iter().flatten().collect()
}

#[test]
fn each_answer_is_judged() {
    let ok = |rest: &str| says(format!("HTTP/1.1 200 OK\r\n{rest}"));
    let weighted = || HttpProbe { weight: Some("x-weight".to_owned()), ..get() };
    let only_204 = HttpProbe { status: vec![StatusRange { first: 204, last: 204 }], ..get() };
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let closed = says("");
    let mut cases = vec![
        (ok("Content-Length: 0\r\n\r\n"), get(), Ok(100)),
        (says("HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n"), get(), Ok(100)),
        (
            says("HTTP/1.1 503 Busy\r\n\r\n"),
            get(),
            Err("wrong answer: status 503 Service Unavailable".to_owned()),
        ),
        (ok("\r\n"), only_204, Err("wrong answer: status 200 OK".to_owned())),
        (ok(chunked), matching("^hello$"), Ok(100)),
        (
            ok("Content-Length: 3\r\n\r\nbye"),
            matching("hello"),
            Err("wrong answer: the body \"bye\" does not match \"hello\"".to_owned()),
        ),
        (ok("Content-Length: 3\r\n\r\nbye"), without("hello"), Ok(100)),
        (
            ok("Content-Length: 5\r\n\r\nhello"),
            without("l+"),
            Err("wrong answer: the body \"hello\" matches \"l+\"".to_owned()),
        ),
        (ok("Content-Length: 0\r\n\r\n"), without("hello"), Ok(100)),
        (
            ok("Content-Length: 5\r\n\r\nhello"),
            HttpProbe { body_absent: Some("o".to_owned()), ..matching("h") },
            Err("wrong answer: the body \"hello\" matches \"o\"".to_owned()),
        ),
        (ok(chunked), digest(HELLO), Ok(100)),
        (ok("Content-Length: 0\r\n\r\n"), digest(NOTHING), Ok(100)),
        (
            ok("Content-Length: 3\r\n\r\nbye"),
            digest(NOTHING),
            Err("wrong answer: the body \"bye\" has the digest 0xbfa99df33b137bc8fb5f5407d7e58da8, not \
                 0xd41d8cd98f00b204e9800998ecf8427e"
                .to_owned()),
        ),
        // A match spares nobody the digest, of all that comes.
        (
            ok(&format!("Content-Length: 100000\r\n\r\n{}", "x".repeat(100_000))),
            HttpProbe { body: Some("x".to_owned()), ..digest(MANY) },
            Ok(100),
        ),
        // The end is not waited for where the beginning is enough.
        (
            listen(|mut stream| {
                request(&mut stream);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello");
                let _ = stream.read(&mut [0]);
            }),
            matching("hello"),
            Ok(100),
        ),
        (ok("X-Weight: 30\r\n\r\n"), weighted(), Ok(30)),
        (ok("\r\n"), weighted(), Err("wrong answer: no header `x-weight`".to_owned())),
        (ok("x-weight: 0\r\n\r\n"), weighted(), Ok(0)),
        (
            ok("x-weight: much\r\n\r\n"),
            weighted(),
            Err("the header `x-weight` is \"much\", not a number from 0 to 1000".to_owned()),
        ),
        (closed, get(), Err("connection closed before message completed".to_owned())),
        (says("SSH-2.0-OpenSSH\r\n"), get(), Err("wrong answer: invalid HTTP".to_owned())),
        (says(vec![0xff; 100]), get(), Err("wrong answer: invalid HTTP".to_owned())),
        (
            ok("Content-Length: 9\r\n\r\nhel"),
            matching("hello"),
            Err("end of file before message length reached".to_owned()),
        ),
    ];
    // A body without end is read so far and no farther.
    let endless = |mut stream: TcpStream| {
        request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 10_000]).is_ok() {}
    };
    cases.push((
        listen(endless),
        matching("hello"),
        Err("wrong answer: the body \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" does not match \"hello\""
            .to_owned()),
    ));
    let found = verdicts_on(cases.iter().map(|(place, probe, _)| (*place, probe.clone())).collect());
    for ((up, factor, reason), (_, probe, expected)) in found.into_iter().zip(cases) {
        match expected {
            Ok(expected) => {
                assert_eq!((up, factor), (true, Factor::Percent(expected)), "{reason} for {probe:?}")
            }
            Err(expected) => assert!(!up && reason.contains(&expected), "{reason} instead of {expected}"),
        }
    }
}

#[test]
fn the_request_is_what_was_asked_for() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let place = {
        let heard = Arc::clone(&heard);
        listen(move |mut stream| {
            heard.lock().expect("no panic").push(request(&mut stream));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        })
    };
    let own = HttpProbe {
        path: "/health?deep=1".to_owned(),
        host: Some("www.example.com".to_owned()),
        method: "HEAD".to_owned(),
        headers: vec![("User-Agent".to_owned(), "me".to_owned()), ("X-A".to_owned(), "b".to_owned())],
        ..get()
    };
    assert_eq!(verdicts_on(vec![(place, get())])[0].2, "first answer");
    let plain = heard.lock().expect("no panic").remove(0);
    assert!(plain.starts_with("GET / HTTP/1.1\r\n"), "{plain}");
    assert!(
        plain.contains(&format!("host: {place}\r\n")) && plain.contains("connection: close\r\n"),
        "{plain}"
    );
    heard.lock().expect("no panic").clear();
    assert_eq!(verdicts_on(vec![(place, own)])[0].2, "first answer");
    // One of the plain ones may have come late.
    let requests = heard.lock().expect("no panic");
    let own = requests.iter().find(|request| request.starts_with("HEAD")).expect("the request");
    assert!(own.starts_with("HEAD /health?deep=1 HTTP/1.1\r\n"), "{own}");
    assert!(own.contains("host: www.example.com\r\n") && own.contains("x-a: b\r\n"), "{own}");
    assert!(own.contains("user-agent: me\r\n") && !own.contains("ipvsd"), "{own}");
}

#[test]
fn a_dead_a_silent_and_a_late_server_are_down() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket on the loopback");
    let dead = listener.local_addr().expect("a bound socket");
    drop(listener);
    let silent = listen(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let late = listen(|mut stream| {
        request(&mut stream);
        std::thread::sleep(ms(400));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    });
    let hasty = |id, place| {
        with(target(id, place, true, Probe::Http(get())), |check| {
            (check.interval, check.timeout) = (ms(300), ms(200));
        })
    };
    let (checker, mut verdicts) = engine(vec![hasty(0, dead), hasty(1, silent), hasty(2, late)]);
    let mut heard = [next(&mut verdicts), next(&mut verdicts), next(&mut verdicts)];
    heard.sort_by_key(|verdict| verdict.target);
    assert_eq!(heard[0], verdict(0, false, "connection refused, 3 in a row"));
    assert_eq!(heard[1], verdict(1, false, "no answer within 200ms, 3 in a row"));
    assert_eq!(heard[2], verdict(2, false, "no answer within 200ms, 3 in a row"));
    std::thread::sleep(ms(700));
    drop(checker);
    assert!(verdicts.try_recv().is_err(), "none came back");
}

/// An authority and its certificate (DER).
fn authority(name: &str) -> (CertifiedIssuer<'static, KeyPair>, Vec<u8>) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
    let der = issuer.der().to_vec();
    (issuer, der)
}

/// A server that proves to be `name`, and tells which name it was asked for (SNI).
fn secure(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str, expired: bool) -> SocketAddr {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    if expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key.into()))
        .expect("a server's settings");
    let config = Arc::new(config);
    listen(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        if request(&mut stream).is_empty() {
            return;
        }
        let name = stream.conn.server_name().unwrap_or("nobody").to_owned();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        let _ = stream.flush();
    })
}

#[test]
fn a_server_must_prove_who_it_is() {
    let (issuer, ours) = authority("ours");
    let (other, _) = authority("another");
    let tls = |name: Option<&str>, trust: &Trust, body: &str| HttpProbe {
        tls: Some(TlsProbe { name: name.map(str::to_owned), trust: trust.clone() }),
        ..matching(body)
    };
    let only = Trust::Only(vec![ours]);
    let www = Some("www.example.com");
    let right = secure(&issuer, "www.example.com", false);
    let cases = [
        (right, tls(www, &only, "^www.example.com$"), "first answer"),
        (
            right,
            tls(Some("mail.example.com"), &only, ""),
            "certificate not valid for name \"mail.example.com\"",
        ),
        (right, tls(None, &only, ""), "certificate not valid for name \"127.0.0.1\""),
        (right, tls(None, &Trust::Anybody, "^nobody$"), "first answer"),
        (secure(&issuer, "127.0.0.1", false), tls(None, &only, ""), "first answer"),
        (secure(&other, "www.example.com", false), tls(www, &only, ""), "UnknownIssuer"),
        (secure(&other, "www.example.com", false), tls(www, &Trust::Anybody, ""), "first answer"),
        (secure(&issuer, "www.example.com", true), tls(www, &only, ""), "certificate expired"),
        (listen(|mut stream| drop(stream.write_all(b"220 ready\r\n"))), tls(www, &only, ""), "TLS: "),
        (listen(hang_up), tls(www, &only, ""), "TLS: tls handshake eof"),
        (right, matching(""), "wrong answer: invalid HTTP"),
    ];
    let found = verdicts_on(cases.iter().map(|(place, probe, _)| (*place, probe.clone())).collect());
    for ((up, _, reason), (_, _, expected)) in found.into_iter().zip(cases) {
        assert!(reason.contains(expected), "{reason} instead of {expected}");
        assert_eq!(up, expected == "first answer", "{reason}");
    }
}
