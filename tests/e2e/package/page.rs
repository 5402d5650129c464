//! The commands of the docs on a fresh machine, word for word, with what the quick start sets up.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::{Family, Network, Process, wait_until};

use super::CONFIG;
use super::machine::{Machine, package};
use crate::setup::{LIMIT, wait_for_weights};

/// The quick start, the other pages, and the README.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(root.join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|end| end == "md")).collect();
    files.push(root.join("README.md"));
    files.sort_by_key(|file| (!file.ends_with("quickstart.md"), file.clone()));
    let read = |file: PathBuf| (file.display().to_string(), fs::read_to_string(&file).expect("a page"));
    files.into_iter().map(read).collect()
}

pub fn commands() {
    let network = Network::new(3);
    network.director.ip(&["addr del 192.0.2.53/32 dev lo"]);
    network.set_forwarding(false);
    let folder = tempfile::tempdir().expect("a folder");
    let _servers: Vec<Process> = (0..3).map(|number| resolver(&network, number, folder.path())).collect();
    let machine = Machine::boot(&network.director);
    let mut count = 0;
    for (name, page) in pages() {
        let start = name.ends_with("quickstart.md");
        for (language, text) in blocks(&page) {
            match language {
                "toml" if start => machine.write(CONFIG, &text),
                "yaml" => {
                    machine.write("/root/prometheus.yml", &text);
                    machine.check(&["promtool", "check", "config", "/root/prometheus.yml"]);
                }
                "sh" => {
                    for line in text.lines() {
                        let line = line.split(" #").next().unwrap_or_default().trim();
                        println!("{name}: {line}");
                        follow(&machine, line);
                        count += 1;
                    }
                }
                _ => {}
            }
        }
        if start {
            wait_for_weights(&network, Family::V4, &[1, 1, 1]);
            let ask = ["+short", "+tries=1", "+time=5", "@192.0.2.53", "example.com"];
            assert_eq!(network.client().check("dig", &ask), "192.0.2.80\n");
        }
    }
    assert!(count > 25, "{count} commands");
}

/// An authority for the name that the quick start asks for.
fn resolver(network: &Network, number: usize, folder: &Path) -> Process {
    let (file, ip) = (folder.join(number.to_string()), network.server_address(number, Family::V4));
    let config = format!(
        "server:\n interface: {ip}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n \
         access-control: 0.0.0.0/0 allow\n local-zone: example.com static\n local-data: \"example.com A 192.0.2.80\"\n\
         remote-control:\n control-enable: no\n"
    );
    fs::write(&file, config).expect("writing the config");
    let process =
        Process::start(&network.servers[number], Command::new("unbound").args(["-d", "-c"]).arg(file));
    wait_until(LIMIT, "unbound", || network.servers[number].check("ss", &["-Hlun"]).contains(":53 "));
    process
}

/// Language and text of each block.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut open = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), open.as_mut()) {
            (Some(language), None) => open = Some((language, String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, text))) => text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    blocks
}

/// Does what a line says, or what comes nearest to it here.
fn follow(machine: &Machine<'_>, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        // `tests/run`, which has built what is here.
        [script] => {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
            let mode =
                fs::metadata(&file).unwrap_or_else(|error| panic!("{script}: {error}")).permissions().mode();
            assert_ne!(mode & 0o100, 0, "{script} is no program");
        }
        ["apt-get", "install", file] => {
            assert!(file.starts_with("./target/debian/ipvsd_") && file.ends_with(".deb"), "{file}");
            machine.check(&["dpkg", "--install", &package(1)]);
        }
        // `firewall::the_rules_of_the_readme`
        ["nft", "insert", ..] => {}
        // The unit does so; a screen needs a terminal: `watch::…`, `terminal::…`.
        ["ipvsd", "run"] | ["ipvsd", "watch", ..] => {}
        // It says whether something would change.
        ["ipvsd", "plan"] => {
            let status = machine.run(&words).status.code();
            assert!([Some(0), Some(3)].contains(&status), "{line}: {status:?}");
        }
        ["ipvsd", "flush"] => {
            machine.check(&["systemctl", "stop", "ipvsd"]);
            machine.check(&words);
            machine.check(&["systemctl", "start", "ipvsd"]);
        }
        // The scheduler of the quick start heeds no weights.
        ["ipvsd", "weight", ..] => {
            let config = fs::read_to_string(machine.file(CONFIG)).expect("the config");
            machine.write(CONFIG, &format!("{config}\nscheduler = \"wrr\"\n"));
            machine.check(&["ipvsd", "reload"]);
            machine.check(&words);
        }
        ["curl", "--unix-socket", socket, ..] => {
            let answer = curl(machine, socket, line);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{line}: {answer}");
        }
        ["journalctl", ..] => {
            let said = machine.check(&words);
            let asked = words.iter().find_map(|word| word.strip_prefix("IPVSD_SERVER="));
            assert!(asked.is_none_or(|server| said.contains(server)), "{line}: {said}");
        }
        ["ipvsd", "doctor"] => {
            let mut said = String::new();
            wait_until(LIMIT, "a doctor who finds nothing", || {
                let (success, found) = machine.try_to(&words);
                said = found;
                success
            });
            println!("{said}");
        }
        _ => println!("{}", machine.check(&words)),
    }
}

/// What curl(1) would send by these options, and the answer: the machine has none.
fn curl(machine: &Machine<'_>, socket: &str, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    let after = |option: &str| {
        let place = words.iter().position(|word| *word == option)?;
        words.get(place + 1).copied()
    };
    let body = after("-d").unwrap_or_default();
    let method = after("-X").unwrap_or(if body.is_empty() { "GET" } else { "POST" });
    let target = words.last().and_then(|url| url.strip_prefix("http://ipvsd")).expect("a URL");
    let mut stream = UnixStream::connect(machine.file(socket)).expect("the socket");
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: ipvsd\r\nUser-Agent: curl\r\nAccept: */*\r\n");
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let request = format!("{head}Connection: close\r\n{kind}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
