//! The command line without a kernel: what is said, where, and the exit status.

use std::process::{Command, Output, Stdio};

fn ipvsd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ipvsd")).args(arguments).output().expect("ipvsd starts")
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("writing the config");
    file
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_valid_config_is_said_to_be_valid() {
    let output = ipvsd(&["validate", "--config", "examples/dns.toml"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "examples/dns.toml is valid: 1 service, 4 servers\n");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn warnings_do_not_fail() {
    let output = ipvsd(&["validate", "--config", "tests/config/bad/warnings.toml"]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    assert!(said.contains("warning") && said.contains("tests/config/bad/warnings.toml:"), "{said}");
}

#[test]
fn every_error_is_said_at_once_with_line_and_column_and_nothing_is_started() {
    let bad = file(
        "[[service]]\n\
         name = \"dns\"\n\
         listen = \"192.0.2.53\"\n\
         servers = [\"10.0.1.11:53\", \"10.0.1.11:53\"]\n\
         check = { type = \"dns\", interval = \"0s\" }\n\
         wieght = 1\n",
    );
    let path = bad.path().to_str().expect("a path of text");
    for command in ["validate", "plan", "run", "flush"] {
        let output = ipvsd(&[command, "--config", path]);
        // Of a plan 1 says that what would change cannot be said.
        let status = if command == "plan" { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(status), "{command}");
        assert_eq!(text(&output.stdout), "", "{command}");
        let said = text(&output.stderr);
        for place in [":3:10", ":4:28", ":5:36", ":6:1"] {
            assert!(said.contains(&format!("{path}{place}")), "{command}: no {place} in\n{said}");
        }
    }
}

#[test]
fn a_missing_config_and_wrong_usage_are_status_2() {
    let output = ipvsd(&["run", "--config", "/nonexistent/ipvsd.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot read the config /nonexistent/ipvsd.toml"));
    assert_eq!(ipvsd(&["plan", "--config", "/nonexistent/ipvsd.toml"]).status.code(), Some(1));
    for wrong in [&["dance"][..], &["plan", "--dance"]] {
        assert_eq!(ipvsd(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert!(text(&ipvsd(&["run", "--help"]).stdout).contains("[default: /etc/ipvsd/ipvsd.toml]"));
}

#[test]
fn nobody_reading_along_changes_no_status() {
    let full = || Stdio::from(std::fs::File::create("/dev/full").expect("/dev/full"));
    let bad = file("on_stop = 1");
    let bad = bad.path().to_str().expect("a path of text");
    for (config, status) in [("examples/dns.toml", 0), (bad, 2), ("/nonexistent/ipvsd.toml", 2)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsd"));
        let command = command.args(["validate", "--config", config]).stdout(full()).stderr(full());
        assert_eq!(command.status().expect("ipvsd starts").code(), Some(status), "{config}");
    }
}

#[test]
fn a_reload_without_a_daemon_fails_and_asks_for_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsd"));
    let output =
        command.arg("reload").env("RUNTIME_DIRECTORY", directory.path()).output().expect("ipvsd starts");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let socket = directory.path().join("control.sock");
    assert!(
        said.starts_with(&format!("ipvsd: nobody listens at {}: is ipvsd running?", socket.display())),
        "{said}"
    );
}

#[test]
fn the_log_is_text_or_json() {
    let open_to_all = file(
        "[[service]]\nname = \"a\"\nlisten = \"192.0.2.1:53\"\nservers = [\"10.0.0.1:53\"]\ncheck = \"none\"\n",
    );
    std::fs::set_permissions(open_to_all.path(), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .expect("chmod");
    let path = open_to_all.path().to_str().expect("a path of text");
    let run = |log: &[&str]| {
        let output = ipvsd(&[&["run", "--config", path], log].concat());
        assert_eq!(output.status.code(), Some(1), "nothing is started from a file that others may write");
        text(&output.stderr)
    };
    for said in [run(&[]), run(&["--log", "text"])] {
        assert!(said.contains("ERROR") && said.contains("may be written by others"), "{said}");
    }
    let said = run(&["--log", "json"]);
    let data: serde_json::Value = serde_json::from_str(&said).expect("one object");
    assert_eq!(data["level"], "ERROR", "{said}");
    assert!(data["message"].as_str().is_some_and(|line| line.contains(path)), "{said}");
}
