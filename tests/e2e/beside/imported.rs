//! A keepalived.conf as `ipvsd import` sees it: its TOML, and the notes about each virtual server.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::setup::IPVSD;

/// What `ipvsd import` says of a file.
pub struct Imported {
    /// Where it is, with what it names.
    pub folder: TempDir,
    /// As TOML.
    pub toml: String,
    /// The keywords that have a note, and the lines.
    noted: BTreeSet<(String, u64)>,
    /// The first error.
    pub refused: Option<String>,
}

impl Imported {
    pub fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let busy = folder.path().join("busy");
        fs::write(&busy, "0\n").expect("a track file");
        let text = text.replace("/nonexistent/busy", &busy.display().to_string());
        let file = folder.path().join("keepalived.conf");
        fs::write(&file, text).expect("a keepalived.conf");
        let output =
            Command::new(IPVSD).arg("import").arg(&file).arg("--json").output().expect("ipvsd import");
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let notes = said["notes"].as_array().expect("a list").iter().flat_map(|note| {
            let keyword = note["keyword"].as_str().expect("a keyword");
            let places = note["places"].as_array().expect("a list").iter();
            places.map(|place| (keyword.to_owned(), place["line"].as_u64().expect("a line")))
        });
        let refused = said["refused"] == true;
        assert_eq!(output.status.code(), Some(if refused { 2 } else { 0 }));
        let problems = said["problems"].as_array().expect("a list").iter();
        let mut errors = problems.filter(|it| it["severity"] == "error").map(|it| it["message"].to_string());
        Self {
            toml: said["toml"].as_str().expect("TOML").to_owned(),
            noted: notes.collect(),
            refused: refused.then(|| errors.next().expect("an error")),
            folder,
        }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("keepalived.conf")
    }

    /// The keywords that have a note about the virtual server that an IPVS service (`-u 192.0.2.1:53`) comes from: those at its
    /// lines. What is said of the whole file explains nothing about the kernel.
    pub fn noted_of(&self, service: &str) -> BTreeSet<String> {
        let listen = match service.split(' ').collect::<Vec<_>>()[..] {
            ["-u", address] => format!("\"{address}\""),
            ["-t", address] => format!("\"{address}/tcp\""),
            ["-f", mark] => format!("\"fwmark {mark}\""),
            ["-f", mark, "-6"] => format!("\"fwmark {mark}/ipv6\""),
            _ => format!("\"{}/sctp\"", service.split(' ').next_back().expect("a word")),
        };
        // `[[service]] # keepalived.conf:12`
        let sections: Vec<(u64, &str)> = self
            .toml
            .split("[[service]]")
            .skip(1)
            .map(|section| {
                let line =
                    section.lines().next().and_then(|head| head.rsplit(':').next()?.trim().parse().ok());
                (line.expect("a line in keepalived.conf"), section)
            })
            .collect();
        let (begin, _) = sections.iter().find(|(_, section)| section.contains(&listen)).expect(&listen);
        let end =
            sections.iter().map(|(line, _)| *line).filter(|line| line > begin).min().unwrap_or(u64::MAX);
        let noted = self.noted.iter().filter(|(_, line)| (*begin..end).contains(line));
        noted.map(|(keyword, _)| keyword.clone()).collect()
    }

    /// The addresses of VIPs and servers.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let texts = self.toml.split('"').skip(1).step_by(2);
        let sockets = texts.filter_map(|text| text.split('/').next()?.parse::<SocketAddr>().ok());
        sockets.map(|socket| socket.ip()).collect()
    }
}
