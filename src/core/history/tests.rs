//! What is written is read again and plays; what is damaged or made up is no reason to panic; no secret is in it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config;
use crate::core::model::{Config, Factor, TargetId, Verdict};
use crate::core::{Core, FoundRules, Input};
use crate::pieces::Pieces;

/// A core that is noted.
struct Noted {
    core: Core,
    recording: Recording,
    lines: Pieces,
    now: Time,
    inputs: u64,
}

impl Noted {
    fn new() -> Self {
        let (now, mut lines) = (Duration::from_micros(1_700_000_000_123_456), Pieces::default());
        let recording = Recording::start(Start::default(), now, &mut lines);
        Self { core: Core::new(Memory::default()), recording, lines, now, inputs: 0 }
    }

    /// An input, and answers to all that is asked for then, by a kernel that does as it is told.
    fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.now += Duration::from_micros(50);
            self.inputs += 1;
            for output in self.recording.handle(&mut self.core, self.now, input, &mut self.lines) {
                inputs.extend(match output {
                    Output::LookAtServices(_) => {
                        let found = self.core.found.clone().unwrap_or_default();
                        Some(Input::FoundServices(Ok(found.into_iter().collect())))
                    }
                    Output::LookAtRules => {
                        let rules = self.core.rules.as_deref().cloned().unwrap_or_default();
                        Some(Input::FoundRules(Ok(FoundRules { rules: rules.into(), damage: Vec::new() })))
                    }
                    Output::Do(key, steps) => Some(Input::Done(key, steps, BTreeMap::new())),
                    Output::DoRules(rules) => Some(Input::RulesDone(Ok(rules))),
                    _ => None,
                });
            }
        }
    }

    fn lines(&mut self) -> Vec<Vec<u8>> {
        self.recording.flush(&mut self.lines);
        let text = self.lines.iter().collect::<Vec<_>>().concat();
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| line.strip_suffix(b"\n").expect("whole lines").to_vec()).collect()
    }
}

fn parse(checks: &[&str]) -> Config {
    let service = |(number, check): (usize, &&str)| {
        format!(
            "[[service]]\nname = \"service {number}\"\nlisten = \"192.0.2.{}:53\"\n\
             servers = [\"10.0.{number}.11:53\", \"10.0.{number}.12:53\"]\ncheck = {check}\n",
            number + 1
        )
    };
    let text: Vec<String> = checks.iter().enumerate().map(service).collect();
    config::parse("ipvsd.toml", &text.join("\n")).unwrap_or_else(|error| panic!("{error}")).config
}

const PLAIN: &str = "{ type = \"udp\", send = \"a\", expect = \"b\" }";

fn verdict(target: u32, up: bool) -> Input {
    Input::Verdict(Verdict {
        target: TargetId(target),
        up,
        factor: Factor::FULL,
        reason: "because of \"it\"\n".into(),
    })
}

/// Some verdicts, quiet inputs, and a reload that changes the second service.
fn eventful() -> Noted {
    let mut noted = Noted::new();
    noted.give(Input::Config(parse(&[PLAIN, PLAIN, PLAIN])));
    for target in 1..=6 {
        noted.give(verdict(target, target != 3));
        noted.give(Input::RulesTouched);
        noted.give(Input::Wake);
    }
    noted.give(Input::Config(parse(&[PLAIN, "\"none\"", PLAIN])));
    noted.give(verdict(1, false));
    noted
}

#[test]
fn what_is_written_plays() {
    let mut noted = eventful();
    let replayed = replay(noted.lines(), |_| {}).unwrap();
    assert_eq!((replayed.runs, replayed.inputs, replayed.left_out), (1, noted.inputs, 0));
    assert!(replayed.decisions > 25, "{replayed:?}");
}

#[test]
fn what_nothing_follows_from_is_one_entry() {
    let mut noted = Noted::new();
    noted.give(Input::Config(Config::default()));
    let before = noted.lines().len();
    for _ in 0..1000 {
        noted.give(Input::Wake);
        noted.give(Input::FoundSysctls(Default::default()));
        noted.give(Input::Unchanged);
    }
    let lines = noted.lines();
    assert_eq!(lines.len(), before + 1);
    assert!(lines[before].len() < 3000 * 4, "{}", lines[before].len());
    assert_eq!(replay(&lines, |_| {}).unwrap().inputs, noted.inputs);
}

#[test]
fn of_a_reload_only_what_changed_is_written() {
    let mut noted = eventful();
    let lines = noted.lines();
    let configs = lines.iter().filter_map(|line| match Entry::parse(line).unwrap().what {
        What::Input { given: Given::Config(change), .. } => Some(change),
        _ => None,
    });
    let changes: Vec<_> = configs.map(|change| (change.first, change.services.len(), change.last)).collect();
    assert_eq!(changes, [(0, 3, 0), (1, 1, 1)]);
}

#[test]
fn a_change_in_it_is_found() {
    let lines = eventful().lines();
    let mut changed = 0;
    for place in 0..lines.len() {
        let mut entry = Entry::parse(&lines[place]).unwrap();
        let What::Input { given: Given::Verdict(verdict), decided } = &mut entry.what else { continue };
        if decided.is_empty() {
            continue;
        }
        verdict.up ^= true;
        let mut lines = lines.clone();
        lines[place] = serde_json::to_vec(&entry).unwrap();
        let differs = replay(&lines, |_| {}).unwrap_err();
        assert_eq!(differs.line, place as u64 + 1, "{differs}");
        changed += 1;
    }
    assert!(changed >= 6);
}

#[test]
fn what_follows_a_gap_is_left_out_and_the_next_run_plays() {
    let lines = eventful().lines();
    let whole = replay(&lines, |_| {}).unwrap();
    let mut cut = lines.clone();
    cut[5].pop();
    let mut missing = lines.clone();
    missing.remove(5);
    for (mut lines, left_out) in [(cut, lines.len() - 5), (missing, lines.len() - 6)] {
        lines.extend(eventful().lines());
        let replayed = replay(&lines, |_| {}).unwrap();
        assert_eq!((replayed.runs, replayed.left_out), (2, left_out as u64));
        assert!(replayed.inputs > whole.inputs);
    }
    let replayed = replay(&lines[1..], |_| {}).unwrap();
    assert_eq!((replayed.runs, replayed.left_out), (0, lines.len() as u64 - 1));
}

#[test]
fn no_secret_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, secret: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let checks = [
        format!("{{ type = \"radius\", secret_file = \"{}\" }}", file("radius", "s3cret-a")),
        format!("{{ type = \"snmp\", community_file = \"{}\" }}", file("snmp", "s3cret-b")),
        "{ type = \"snmp\", community = \"s3cret-c\" }".to_owned(),
        "{ type = \"http\", path = \"/s3cret-d?s3cret-e\", headers = { Authorization = \"s3cret-f\" } }"
            .to_owned(),
        "{ type = \"http\", path = \"/s3cret-d?s3cret-e\", headers = { Authorization = \"s3cret-g\" } }"
            .to_owned(),
        "{ type = \"exec\", command = [\"/bin/true\", \"s3cret-h\"] }".to_owned(),
        "{ type = \"udp\", send = \"s3cret-i\", expect = \"b\" }".to_owned(),
        "{ type = \"tcp\", send = \"s3cret-j\", expect = \"b\" }".to_owned(),
    ];
    let mut config = parse(&checks.each_ref().map(String::as_str));
    // All behind the same servers, so that only their secrets tell some of them apart.
    let first = config.services[0].servers.clone();
    for service in &mut config.services {
        service.servers.clone_from(&first);
        service.policy.quorum.on_up = Some(std::sync::Arc::new(crate::core::model::Command {
            argv: vec!["/bin/true".to_owned(), "s3cret-k".to_owned()],
            timeout: Duration::from_secs(1),
            network: false,
            user: None,
        }));
    }
    let mut noted = Noted::new();
    noted.give(Input::Config(config));
    for target in 1..=16 {
        noted.give(verdict(target, true));
    }
    let lines = noted.lines();
    let text = String::from_utf8(lines.concat()).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    // As numbers, too.
    assert!(!text.contains("115,51,99,114,101,116"), "{text}");
    assert!(text.contains("/bin/true"));
    let mut probed = 0;
    let replayed = replay(&lines, |outputs| {
        probed = outputs.iter().fold(probed, |probed, output| match output {
            Output::Probe(targets) => targets.len(),
            _ => probed,
        });
    });
    assert_eq!(replayed.unwrap().left_out, 0);
    assert_eq!(probed, 16, "two that differ only in their secret are two in the replay");
}

proptest! {
    #[test]
    fn bytes_are_entries_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Entry::parse(&bytes);
    }

    #[test]
    fn quiet_inputs_of_any_text_end(text in "[A-Za-f0-9é-]{0,60}", before in any::<u64>()) {
        let quiet: Quiet = serde_json::from_value(serde_json::Value::String(text.clone())).unwrap();
        let inputs: Vec<_> = quiet.inputs(Duration::from_micros(before)).collect();
        prop_assert!(inputs.len() <= text.len());
        prop_assert_eq!(inputs.is_empty(), text.is_empty());
    }

    /// Lines of a real history, cut, repeated, out of order and with other letters in them. Configs are cut only: made up they may
    /// not be valid.
    #[test]
    fn a_damaged_history_is_left_out(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let lines = eventful().lines();
        let mut damaged = vec![lines[0].clone()];
        for (line, at, byte) in places {
            let mut line = line.get(&lines).clone();
            match line.windows(8).any(|word| word == b"\"config\"") {
                true => line.truncate(at.index(line.len())),
                false => *at.get_mut(&mut line) = byte,
            }
            damaged.push(line);
        }
        let start = Entry { number: 0, at: Time::ZERO, what: What::Start(Start::default()) };
        damaged.push(serde_json::to_vec(&start).unwrap());
        let replayed = replay(&damaged, |_| {});
        prop_assert!(replayed.is_err() || replayed.unwrap().runs >= 2);
    }
}
