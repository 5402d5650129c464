//! `exec` checks.

use std::fs;
use std::path::Path;

use super::*;
use crate::core::model::{ExecProbe, ExecWeight, Factor};

/// A target that is asked by a shell script, in which `$0` is the folder.
fn script(id: u32, folder: &Path, script: &str, weight: ExecWeight) -> Target {
    let words = ["/bin/sh", "-c", script, &folder.display().to_string(), "{address} {port}"];
    let probe = ExecProbe { argv: words.map(str::to_owned).to_vec(), network: false, user: None, weight };
    target(id, "[2001:db8::1]:53".parse().expect("an address"), false, Probe::Exec(probe))
}

#[test]
fn a_command_tells_whether_a_server_is_up_and_its_share() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = folder.path().join("answer");
    fs::write(&answer, "echo 40").expect("a file");
    let ask = "[ \"$1 $IPVSD_SERVER $IPVSD_PORT\" = '2001:db8::1 53 2001:db8::1 53' ] || exit 9; . $0/answer";
    let (_checker, mut verdicts) = engine(vec![script(1, folder.path(), ask, ExecWeight::Printed)]);
    let mut said = |text: &str| {
        // Written in one step, for it is read all the time.
        let new = folder.path().join("new");
        fs::write(&new, text).expect("a file");
        fs::rename(&new, &answer).expect("a file");
        let verdict = next(&mut verdicts);
        (verdict.up, verdict.factor, verdict.reason.into_owned())
    };
    assert_eq!(said("echo 40"), (true, Factor::Percent(40), "first answer with a weight of 40 %".to_owned()));
    let why = "command: exit status 2: CRITICAL: no answer, 3 in a row".to_owned();
    assert_eq!(said("echo 'CRITICAL: no answer' >&2; exit 2"), (false, Factor::Percent(40), why));
    assert_eq!(said("echo 100"), (true, Factor::Percent(100), "answered, 2 in a row".to_owned()));
    assert_eq!(
        said("kill -KILL $$"),
        (false, Factor::Percent(100), "command: ended by signal 9, 3 in a row".to_owned())
    );
}

#[test]
fn an_exit_status_may_be_a_weight() {
    let folder = tempfile::tempdir().expect("a folder");
    let status = folder.path().join("status");
    let (new, mut first) = (folder.path().join("new"), true);
    let write = |text: &str| {
        fs::write(&new, text).expect("a file");
        fs::rename(&new, &status).expect("a file");
    };
    write("7");
    let ask = script(1, folder.path(), "exit $(cat $0/status)", ExecWeight::Status);
    let (_checker, mut verdicts) = engine(vec![ask]);
    for (status, up, factor, reason) in [
        ("7", true, Factor::Weight { weight: 5 }, "first answer with a weight of 5"),
        ("2", true, Factor::Weight { weight: 0 }, "answered with a weight of 0"),
        ("0", true, Factor::FULL, "answered"),
        ("1", false, Factor::FULL, "command: exit status 1, 3 in a row"),
        ("255", true, Factor::Weight { weight: 253 }, "answered with a weight of 253, 2 in a row"),
    ] {
        if !std::mem::take(&mut first) {
            write(status);
        }
        let verdict = next(&mut verdicts);
        assert_eq!((verdict.up, verdict.factor, &*verdict.reason), (up, factor, reason));
    }
}

#[test]
fn a_command_that_hangs_is_a_failure_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = format!("{}.25", 85_000 + std::process::id() % 1000);
    let hangs = script(1, folder.path(), &format!("sleep {mark} & sleep {mark}"), ExecWeight::None);
    let hangs = with(hangs, |check| (check.timeout, check.fall) = (ms(300), 1));
    let missing = with(script(2, folder.path(), "", ExecWeight::None), |check| {
        let argv = vec!["/no/such/command".to_owned()];
        check.probe = Probe::Exec(ExecProbe { argv, network: false, user: None, weight: ExecWeight::None });
    });
    let (checker, mut verdicts) = engine(vec![hangs, missing]);
    let mut heard = [next(&mut verdicts), next(&mut verdicts)];
    heard.sort_by_key(|verdict| verdict.target);
    // Both clocks end at the same time.
    let late = ["no answer within 300ms", "command: killed after 300ms"].map(|why| verdict(1, false, why));
    assert!(late.contains(&heard[0]), "{:?}", heard[0]);
    let why = "command: could not be run: No such file or directory (os error 2)";
    assert_eq!(heard[1], verdict(2, false, why));
    drop(checker);
    let is_ours = |entry: &Path| {
        fs::read(entry.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&mark))
    };
    let limit = Instant::now() + PATIENCE;
    while fs::read_dir("/proc").expect("proc").flatten().any(|entry| is_ours(&entry.path())) {
        assert!(Instant::now() < limit, "it still runs");
        std::thread::sleep(ms(20));
    }
}

#[test]
fn too_many_commands_at_once_are_no_word_about_the_servers() {
    let folder = tempfile::tempdir().expect("a folder");
    // 32 at a time: of 100, the last 36 would have their turn after four seconds, which is more than half of the timeout.
    let slow = |id| {
        with(script(id, folder.path(), "sleep 2", ExecWeight::None), |check| {
            (check.interval, check.timeout, check.retry_interval) = (ms(60_000), ms(6000), ms(60_000));
        })
    };
    let (_checker, mut verdicts) = engine((0..100).map(slow).collect());
    for _ in 0..64 {
        let verdict = next(&mut verdicts);
        assert!(verdict.up, "{verdict:?}");
    }
    // Past the timeout of those that have not been asked.
    std::thread::sleep(ms(2000));
    while let Ok(verdict) = verdicts.try_recv() {
        assert!(verdict.up, "{verdict:?}");
    }
}
