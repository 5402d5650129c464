//! `file` checks.

use std::fs;
use std::path::Path;

use super::*;
use crate::core::model::{Factor, FileNumber, FileProbe};

/// Written in one step, as a writer should.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a file");
    fs::rename(&new, path).expect("a file");
}

fn file(id: u32, folder: &Path, number: FileNumber) -> Target {
    let path = format!("{}/{{address}}-{{port}}", folder.display());
    let place = "192.0.2.1:53".parse().expect("an address");
    target(id, place, false, Probe::File(FileProbe { path, number }))
}

fn said(verdicts: &mut UnboundedReceiver<Verdict>) -> (bool, Factor, String) {
    let verdict = next(verdicts);
    (verdict.up, verdict.factor, verdict.reason.into_owned())
}

#[test]
fn a_file_says_whether_a_server_is_up_and_its_share() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("192.0.2.1-53");
    let shown = path.display();
    let (_checker, mut verdicts) = engine(vec![file(1, folder.path(), FileNumber::Percent)]);
    let missing = format!("{shown}: No such file or directory (os error 2)");
    assert_eq!(said(&mut verdicts), (false, Factor::Percent(100), missing));
    write(&path, "50\n");
    assert_eq!(
        said(&mut verdicts),
        (true, Factor::Percent(50), "first answer with a weight of 50 %".to_owned())
    );
    write(&path, "120");
    assert_eq!(
        said(&mut verdicts),
        (true, Factor::Percent(120), "answered with a weight of 120 %".to_owned())
    );
    write(&path, "0");
    assert_eq!(said(&mut verdicts), (true, Factor::Percent(0), "answered with a weight of 0 %".to_owned()));
    write(&path, "100");
    assert_eq!(said(&mut verdicts), (true, Factor::Percent(100), "answered".to_owned()));
    write(&path, "full");
    let garbage = format!("{shown} is \"full\", not a number from 0 to 1000, 3 in a row");
    assert_eq!(said(&mut verdicts), (false, Factor::Percent(100), garbage));
}

#[test]
fn without_a_weight_0_is_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("192.0.2.1-53");
    write(&path, "7");
    let (_checker, mut verdicts) = engine(vec![file(1, folder.path(), FileNumber::UpUnlessZero)]);
    assert_eq!(said(&mut verdicts), (true, Factor::Percent(100), "first answer".to_owned()));
    write(&path, "0");
    assert_eq!(
        said(&mut verdicts),
        (false, Factor::Percent(100), format!("{} is 0, 3 in a row", path.display()))
    );
}

#[test]
fn a_number_is_added_to_the_weight() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("192.0.2.1-53");
    write(&path, "-3\n");
    let (_checker, mut verdicts) = engine(vec![file(1, folder.path(), FileNumber::Times(2))]);
    let added = |added| Factor::Added { added };
    assert_eq!(said(&mut verdicts), (true, added(-6), "first answer with a weight of -6".to_owned()));
    write(&path, "4");
    assert_eq!(said(&mut verdicts), (true, added(8), "answered with a weight of +8".to_owned()));
}

#[test]
fn what_is_no_file_is_a_failure_and_holds_up_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    nix::unistd::mkfifo(&folder.path().join("192.0.2.1-53"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let (_checker, mut verdicts) = engine(vec![file(1, folder.path(), FileNumber::UpUnlessZero)]);
    let (up, _, reason) = said(&mut verdicts);
    assert!(!up && reason.ends_with("not a regular file"), "{reason}");
}
