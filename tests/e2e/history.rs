//! What a daemon was told on a real kernel is in its history, and a core that is told the same again decides the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ipvsd::core::history::{Entry, Given, Note, Replayed, What, replay};
use ipvsd::daemon::{About, HistoryFile, notes};
use lab::{Daemon, Family, Network, case, reading, wait_until};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::faults::Small;
use crate::setup::{LIMIT, PATIENT, config, echoes, ipvsd, key, server, service, wait_for_weights};
use crate::traffic::Traffic;

pub fn tests() -> Vec<Trial> {
    vec![
        case("history::what_is_recorded_is_decided_again", recorded),
        case("history::a_full_disk_holds_nothing_up", full),
    ]
}

const FAMILY: Family = Family::V4;

fn text(network: &Network, more: &str) -> String {
    config(network, FAMILY, 5300, &format!("check = {PATIENT}\ndrain = \"1s\"\nscheduler = \"wrr\"\n{more}"))
}

fn lines(network: &Network) -> Vec<Vec<u8>> {
    let file = HistoryFile::in_directory(network.director.state_directory());
    file.lines().expect("the history").collect()
}

fn end(mut daemon: Daemon, signal: Signal) {
    daemon.signal(signal);
    daemon.wait_exit(LIMIT);
}

fn recorded() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let daemon = ipvsd(&network, &text(&network, ""));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    let traffic = Traffic::start(&network);

    servers[1].kill();
    wait_for_weights(&network, FAMILY, &[1, 0, 1]);
    let (vip, third) = (service(FAMILY).to_string(), server(&network, 2, FAMILY).to_string());
    network.director.check("ipvsadm", &["-e", "-u", &vip, "-r", &third, "-m", "-w", "7"]);
    daemon.wait_for("drift, repaired", LIMIT);
    wait_for_weights(&network, FAMILY, &[1, 0, 1]);
    fs::write(daemon.config_file(), text(&network, "min_healthy = 1")).expect("writing the config");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("reloaded", LIMIT);
    // Some looks that find nothing new.
    traffic.replies(3000);
    end(daemon, Signal::SIGKILL);
    let daemon = ipvsd(&network, &text(&network, ""));
    daemon.wait_for("verdict=\"down\"", LIMIT);
    // Looks that find nothing new are kept until the end, and lost only where the daemon is killed.
    traffic.replies(4000);
    end(daemon, Signal::SIGTERM);
    traffic.stop("a history is written");

    let lines = lines(&network);
    let replayed = replay(&lines, |_| {}).unwrap_or_else(|differs| panic!("{differs}"));
    let bytes: usize = lines.iter().map(Vec::len).sum();
    println!("measured: {replayed:?} in {} lines, {bytes} bytes", lines.len());
    let Replayed { runs, inputs, decisions, left_out } = replayed;
    assert_eq!((runs, left_out), (2, 0));
    assert!(inputs > 40 && decisions > 20, "{replayed:?}");
    let mode = network.director.state_directory().join("history.jsonl").metadata().expect("the file");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);

    let about = About { service: Some("echo".to_owned()), server: Some(server(&network, 1, FAMILY)) };
    let notes: Vec<String> =
        notes(lines.clone(), &about, 1000).iter().map(|note| note.what.clone()).collect();
    let said = |text: &str| notes.iter().filter(|what| what.contains(text)).count();
    assert_eq!(
        (said("ipvsd 0.1.0 started"), said("config read"), said("told to end")),
        (2, 3, 1),
        "{notes:#?}"
    );
    assert_eq!((said("weight=0 → 1"), said("weight=1 → 0"), said("drift")), (1, 1, 0), "{notes:#?}");

    let mut planted = 0;
    for (place, line) in lines.iter().enumerate() {
        let mut entry = Entry::parse(line).expect("an entry");
        let What::Input { given: Given::Verdict(verdict), .. } = &mut entry.what else { continue };
        verdict.up ^= true;
        let mut lines = lines.clone();
        lines[place] = serde_json::to_vec(&entry).expect("JSON");
        let differs = replay(&lines, |_| {}).expect_err("a verdict was turned");
        assert_eq!(differs.line, place as u64 + 1, "{differs}");
        planted += 1;
    }
    assert!(planted >= 4, "there are verdicts");
}

fn full() {
    let network = Network::new(3);
    let mut servers = echoes(&network, 5300);
    let disk = Small::new(network.director.state_directory());
    let daemon = ipvsd(&network, &text(&network, ""));
    wait_for_weights(&network, FAMILY, &[1, 1, 1]);
    disk.fill();
    let traffic = Traffic::start(&network);
    for (number, weights) in [(1, [1, 0, 1]), (2, [1, 0, 0])] {
        servers[number].kill();
        wait_for_weights(&network, FAMILY, &weights);
        traffic.replies(300);
    }
    daemon.wait_for("cannot write the history", LIMIT);
    wait_until(LIMIT, "several tries", || traffic.stream.received() > 8000);
    disk.clear();
    daemon.wait_for("the history works again", LIMIT);
    let lines_said = daemon.lines();
    let said = lines_said.iter().filter(|line| line.contains("cannot write the history")).count();
    assert_eq!(said, 1);
    traffic.stop("the disk of the history is full");
    end(daemon, Signal::SIGTERM);
    let lines = lines(&network);
    let replayed = replay(&lines, |_| {}).unwrap_or_else(|differs| panic!("{differs}"));
    assert_eq!((replayed.runs, replayed.left_out), (1, 0), "nothing is missing");
    let down = |note: &Note| note.what.starts_with("weight changed weight=1 → 0");
    assert_eq!(notes(lines, &About::default(), 1000).iter().filter(|note| down(note)).count(), 2);
    assert_eq!(reading::weights(&network.director, &key(FAMILY)), [1, 0, 0]);
    drop(disk);
}
