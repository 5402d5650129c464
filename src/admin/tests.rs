//! The socket over a real Unix socket, with a daemon of the test's own behind it.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;

use super::client::{self, Error};
use super::*;
use crate::config;
use crate::core::memory::Memory;
use crate::core::{Core, Time};

const GOOD: &str = r#"
[[service]]
name = "dns"
listen = "192.0.2.53:53"
servers = ["10.0.1.11:53"]
check = "none"
"#;

/// A socket in a directory of its own, whose reloads have this outcome.
struct Fake {
    directory: TempDir,
    admin: Admin,
}

impl Fake {
    fn start(outcome: fn() -> Reloaded) -> Self {
        Self::serve(Access::Control, outcome)
    }

    fn serve(access: Access, outcome: fn() -> Reloaded) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (requests, mut asked) = unbounded_channel();
        let path = directory.path().join("run/control.sock");
        let admin = super::start(make(path, access).unwrap(), requests);
        tokio::spawn(async move {
            while let Some(request) = asked.recv().await {
                match request {
                    Request::Reload(Reload { by, answer }) => {
                        assert_eq!(by, Some(nix::unistd::getuid().as_raw()));
                        drop(answer.send(outcome()));
                    }
                    Request::Status { answer, .. } => {
                        drop(answer.send(Core::new(Memory::default()).status(Time::ZERO)))
                    }
                    Request::Health(_) | Request::Metrics(_) => panic!("they are for metrics"),
                    Request::History { answer, .. } => drop(answer.send(Ok(Vec::new()))),
                    Request::Plan(answer) => drop(answer.send(outcome().map(|report| (Vec::new(), report)))),
                    Request::Override(words, answer) => drop(answer.send(said(words))),
                    Request::TakeBack(words, answer) => {
                        drop(answer.send(Err(format!("nothing about {}", words.server))));
                    }
                }
            }
        });
        Self { directory, admin }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("run/control.sock")
    }

    async fn reload(&self) -> client::Answer {
        client::act(&self.path(), "/reload", None).await.unwrap()
    }

    /// What a request with this body is answered.
    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        self.exchange(&format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await
    }

    /// What comes back for these bytes: status and body.
    async fn exchange(&self, request: &str) -> (u16, Value) {
        let (path, request) = (self.path(), request.to_owned());
        let raw = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut raw = Vec::new();
            // The end of a connection that was refused may be a reset.
            let _ = stream.read_to_end(&mut raw);
            String::from_utf8(raw).unwrap()
        });
        let raw = raw.await.unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {raw:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

fn said(words: Words) -> Result<Override, String> {
    let Words { service, server, weight, lasts, force, by } = words;
    if force {
        return Err("not by force".to_owned());
    }
    let server = server.parse().map_err(|error| format!("{error}"))?;
    Ok(Override { service, server, weight, by, since: Time::ZERO, until: lasts })
}

fn taken() -> Reloaded {
    Ok(config::parse("ipvsd.toml", GOOD).unwrap().warnings)
}

fn invalid() -> Reloaded {
    let report = config::parse("ipvsd.toml", &GOOD.replace("servers", "severs")).unwrap_err();
    Err(Rejected::Config(report.into()))
}

fn not_ready() -> Reloaded {
    Err(Rejected::Machine("IPv4 is not forwarded; do so".to_owned()))
}

#[tokio::test]
async fn a_reload_that_is_taken() {
    let fake = Fake::start(taken);
    let answer = fake.reload().await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    let raw = fake.exchange("POST /reload HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(raw, (200, json!({ "reloaded": true, "text": "", "problems": [] })));
}

#[tokio::test]
async fn a_bad_config_comes_back_as_text_and_as_data() {
    let fake = Fake::start(invalid);
    let answer = fake.reload().await;
    assert_eq!(answer.status.as_u16(), 422);
    assert!(answer.text().contains("ipvsd.toml:5:1"), "{}", answer.text());
    let (status, said) = fake.exchange("POST /reload HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((status, &said["reloaded"]), (422, &json!(false)));
    assert_eq!(said["text"], json!(answer.text()));
    let problem = said["problems"].as_array().unwrap().iter().find(|problem| problem["line"] == 5).unwrap();
    assert_eq!(problem["severity"], "error");
    assert_eq!((&problem["file"], &problem["column"]), (&json!("ipvsd.toml"), &json!(1)));
    assert!(problem["message"].as_str().unwrap().contains("severs"), "{problem}");
    assert!(problem["help"].as_str().unwrap().contains("servers"), "{problem}");
}

#[tokio::test]
async fn a_machine_that_is_not_ready_and_a_daemon_that_ends() {
    let answer = Fake::start(not_ready).reload().await;
    assert_eq!((answer.status.as_u16(), answer.text()), (409, "IPv4 is not forwarded; do so\n"));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let (requests, _) = unbounded_channel();
    let _admin = super::start(make(path.clone(), Access::Control).unwrap(), requests);
    assert_eq!(client::act(&path, "/reload", None).await.unwrap().status.as_u16(), 503);
}

#[tokio::test]
async fn anything_else_is_refused() {
    let fake = Fake::start(|| panic!("this is no reload"));
    for (request, expected) in [
        ("GET /reload HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("POST /status HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nconfig", 400),
        ("POST /reload?config=/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /status?config=/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /status?service=dns HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", 408),
        (
            &format!("POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5000)),
            413,
        ),
        ("rubbish\r\n\r\n", 400),
        (&format!("POST /reload HTTP/1.1\r\nLong: {}", "x".repeat(100_000)), 431),
    ] {
        assert_eq!(fake.exchange(request).await.0, expected, "{}", &request[..request.len().min(100)]);
    }
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out_for_long() {
    let fake = Fake::start(taken);
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(fake.path()).unwrap()).collect();
    assert_eq!(fake.reload().await.status.as_u16(), 200);
    drop(silent);
}

#[tokio::test]
async fn the_file_has_its_mode_replaces_that_of_a_dead_daemon_and_goes_at_the_end() {
    let fake = Fake::start(taken);
    let path = fake.path();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let refused = make(path.clone(), Access::Control).unwrap_err();
    assert!(refused.to_string().contains("another program listens there"), "{refused}");

    drop(fake.admin);
    assert!(!path.exists());
    let error = client::act(&path, "/reload", None).await.unwrap_err();
    assert!(matches!(error, Error::NotRunning(_)), "{error}");
    assert!(error.to_string().contains("is ipvsd running?"), "{error}");

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(
        matches!(client::act(&path, "/reload", None).await.unwrap_err(), Error::NotRunning(_)),
        "a dead daemon's file"
    );
    let (requests, _asked) = unbounded_channel();
    let _admin = super::start(make(path.clone(), Access::Control).unwrap(), requests);
    assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1, "nothing else is left there");
}

#[tokio::test]
async fn the_words_of_an_operator_come_with_who_said_them() {
    let fake = Fake::start(taken);
    let uid = nix::unistd::getuid().as_raw();
    let body = r#"{"service":"dns","server":"10.0.1.11:53","for":"10m"}"#;
    let expected = json!({
        "service": "dns", "server": "10.0.1.11:53", "weight": 0, "by": uid,
        "since": { "secs": 0, "nanos": 0 }, "until": { "secs": 600, "nanos": 0 },
    });
    assert_eq!(fake.post("/drain", body).await, (200, json!({ "text": "", "override": expected })));
    for (path, body, status, said) in [
        ("/drain", r#"{"service":"dns","server":"10.0.1.11:53","force":true}"#, 409, "not by force"),
        ("/undrain", r#"{"service":"dns","server":"10.0.1.11"}"#, 409, "nothing about 10.0.1.11"),
        ("/weight", r#"{"service":"dns","server":"10.0.1.11:53"}"#, 400, "weight"),
        ("/weight", r#"{"service":"dns","server":"10.0.1.11:53","weight":2147483648}"#, 400, "2147483647"),
        ("/weight", r#"{"service":"dns","server":"10.0.1.11:53","weight":-1}"#, 400, "-1"),
        ("/drain", r#"{"service":"dns","server":"10.0.1.11:53","weight":1}"#, 400, "weight"),
        ("/drain", r#"{"service":"dns","server":"10.0.1.11:53","for":"soon"}"#, 400, "10m"),
        ("/drain", r#"{"service":"dns","server":"10.0.1.11:53","for":"0s"}"#, 400, "for"),
        ("/undrain", r#"{"service":"dns","server":"10.0.1.11:53","for":"1m"}"#, 400, "for"),
        ("/drain", r#"{"service":"dns","server":"10.0.1.11:53","config":"/etc/passwd"}"#, 400, "config"),
        ("/drain", "", 400, "EOF"),
    ] {
        let (is, answer) = fake.post(path, body).await;
        assert_eq!(is, status, "{path} {body}: {answer}");
        assert!(answer["text"].as_str().unwrap().contains(said), "{path} {body}: {answer}");
    }
}

#[tokio::test]
async fn the_reading_socket_only_tells() {
    let fake = Fake::serve(Access::Read, || panic!("this is no reload"));
    let (status, said) = fake.exchange("GET /status HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((status, &said["services"]), (200, &json!([])));
    for path in ["/reload", "/drain", "/weight", "/undrain"] {
        assert_eq!(fake.post(path, "{}").await.0, 403, "{path}");
    }
}
