//! Two tables of `ipvsadm -Sn`, and which of their differences were announced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Services by their address, mark and protocol; of each its options and its servers with theirs.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<String, Service>);

#[derive(Debug, Default)]
struct Service {
    scheduler: String,
    options: BTreeSet<String>,
    servers: BTreeMap<String, Server>,
}

#[derive(Debug, PartialEq)]
struct Server {
    weight: u32,
    options: BTreeSet<String>,
}

impl Table {
    pub fn read(text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [verb, kind, key, rest @ ..] = &words[..] else { continue };
            // `-f 7 -6` has the family behind it, on the lines of services and servers alike.
            let six = if rest.contains(&"-6") { " -6" } else { "" };
            let key = format!("{kind} {key}{six}");
            let mut options = pairs(rest);
            options.remove("-6");
            match *verb {
                "-A" => {
                    let service = table.0.entry(key).or_default();
                    service.scheduler = options.remove("-s").unwrap_or_default();
                    service.options = joined(options);
                }
                "-a" => {
                    let name = options.remove("-r").expect("a server");
                    let weight =
                        options.remove("-w").and_then(|weight| weight.parse().ok()).expect("a weight");
                    let server = Server { weight, options: joined(options) };
                    table.0.entry(key).or_default().servers.insert(name, server);
                }
                _ => panic!("{line}"),
            }
        }
        table
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Options with their values.
fn pairs(words: &[&str]) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut last: Option<String> = None;
    for word in words {
        if word.starts_with('-') {
            options.insert((*word).to_owned(), String::new());
            last = Some((*word).to_owned());
        } else if let Some(last) = last.take() {
            options.insert(last, (*word).to_owned());
        }
    }
    options
}

fn joined(options: BTreeMap<String, String>) -> BTreeSet<String> {
    options.into_iter().map(|(option, value)| format!("{option} {value}").trim_end().to_owned()).collect()
}

/// The differences of ours from theirs: the notes that explain some, and the others in words.
pub fn differences(
    theirs: &Table,
    ours: &Table,
    noted: impl Fn(&str) -> BTreeSet<String>,
) -> (BTreeSet<String>, Vec<String>) {
    let (mut explained, mut unexplained) = (BTreeSet::new(), Vec::new());
    let keys: BTreeSet<&String> = theirs.0.keys().chain(ours.0.keys()).collect();
    for key in keys {
        let mut differs = |notes: &[&str], what: String| {
            let noted = if notes.is_empty() { BTreeSet::new() } else { noted(key) };
            match notes.iter().find(|note| noted.contains(**note)) {
                Some(note) => drop(explained.insert((*note).to_owned())),
                None => unexplained.push(what),
            }
        };
        let (Some(their), Some(our)) = (theirs.0.get(key), ours.0.get(key)) else {
            differs(&[], format!("{key} is there with one of them only"));
            continue;
        };
        if their.scheduler != our.scheduler {
            differs(
                &["lvs_sched"],
                format!("{key}: scheduler {} with us, {} with them", our.scheduler, their.scheduler),
            );
        }
        for option in their.options.symmetric_difference(&our.options) {
            // A script sets it later with keepalived, if ever.
            let notes: &[&str] = match option.split(' ').next() {
                Some("-o") => &["ops"],
                Some("-M") => &["persistence_granularity"],
                _ => &[],
            };
            differs(notes, format!("{key}: {option} with one of them only"));
        }
        let servers: BTreeSet<&String> = their.servers.keys().chain(our.servers.keys()).collect();
        for server in servers {
            match (their.servers.get(server), our.servers.get(server)) {
                // A dead one is deleted, and a sorry server is added when it is needed.
                (None, Some(Server { weight: 0, .. })) => {
                    differs(
                        &["inhibit_on_failure", "sorry_server"],
                        format!("{key}: {server} with weight 0"),
                    );
                }
                // The kernel has refused it, or it was asked at no port.
                (None, Some(_)) => {
                    differs(&["lthreshold", "connect_port"], format!("{key}: {server} with us only"));
                }
                (Some(its), Some(own)) => {
                    if its.options != own.options {
                        differs(
                            &[],
                            format!(
                                "{key}: {server}: {:?} with us, {:?} with them",
                                own.options, its.options
                            ),
                        );
                    }
                    if its.weight != own.weight {
                        differs(
                            match (its.weight, own.weight) {
                                (0, _) => &["connect_port"],
                                (_, 1) => &["weight"],
                                _ => &[],
                            },
                            format!(
                                "{key}: {server}: weight {} with us, {} with them",
                                own.weight, its.weight
                            ),
                        );
                    }
                }
                (its, own) => differs(&[], format!("{key}: {server}: {own:?} with us, {its:?} with them")),
            }
        }
    }
    (explained, unexplained)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, Service { scheduler, options, servers }) in &self.0 {
            writeln!(f, "  {key} {scheduler} {options:?}")?;
            for (name, Server { weight, options }) in servers {
                writeln!(f, "    {name} {weight} {options:?}")?;
            }
        }
        Ok(())
    }
}
