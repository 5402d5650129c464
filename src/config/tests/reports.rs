//! Golden reports: every file of tests/config/bad and the exact text it is refused with, or warned of.

use std::fs;
use std::path::Path;

use super::super::{LoadError, Report, Severity, load, parse};

/// Whatever there is to say about a text.
fn report(name: &str, text: &str) -> Report {
    parse(name, text).map_or_else(|report| report, |loaded| loaded.warnings)
}

#[test]
fn every_bad_file_is_told_all_of_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder.join("reports"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut files: Vec<_> =
        fs::read_dir(folder.join("bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let report = report(&format!("{stem}.toml"), &text);
        assert!(!report.is_empty(), "{stem} is without fault");
        settings.bind(|| insta::assert_snapshot!(stem, report.render(false)));
    }
}

#[test]
fn a_problem_is_data_too() {
    let report = report("a.toml", "on_stop = \"keep\"\n\n# é\nkernel = { \"é\" = 1, forwarding = \"st\" }\n");
    let problems: Vec<_> = report.problems().map(|p| (p.line, p.column, p.message, p.help)).collect();
    assert_eq!(
        problems,
        [
            (1, 1, "the config has no service", Some("add a `[[service]]`")),
            (4, 12, "unknown key `é` in `[kernel]`", Some("known: `sysctls`, `forwarding`, `timeouts`")),
            (4, 34, "unknown value `st`", Some("did you mean `set`?")),
        ]
    );
    assert!(report.problems().all(|problem| problem.severity == Severity::Error && problem.file == "a.toml"));
}

#[test]
fn colour_only_where_asked_for() {
    let report = report("a.toml", "x = 1");
    assert!(!report.render(false).contains('\u{1b}'));
    assert!(report.render(true).contains('\u{1b}'));
}

#[test]
fn control_characters_of_the_file_do_not_reach_the_terminal() {
    let text = "on_stop = \"a\\u001b[2Jb\"\n\"\\u001b[2J\" = 1\n[[service]]\nname = \"\\u0007\"\ncheck = \"\\u001bdns\"";
    let report = report("a.toml", text);
    assert!(report.problems().count() > 4);
    assert!(!report.to_string().contains(['\u{1b}', '\u{7}']), "{report}");
}

#[test]
fn bytes_that_are_not_text_have_a_place() {
    let folder = std::env::temp_dir().join(format!("ipvsd-config-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("latin1.toml");
    fs::write(&path, b"# ok\nname = \"caf\xe9\"\n").unwrap();
    let error = load(&path).unwrap_err();
    fs::remove_dir_all(&folder).unwrap();
    let LoadError::Invalid(report) = error else { panic!("{error}") };
    let place = report.problems().map(|problem| (problem.line, problem.column)).collect::<Vec<_>>();
    assert_eq!(place, [(2, 12)]);
}

#[test]
fn a_thousand_errors_are_a_thousand_reports() {
    let text = "[[service]]\nbad = 1\n".repeat(1_000);
    let report = report("a.toml", &text);
    // Each lacks name, VIP, server and check, and has an unknown key.
    assert_eq!(report.problems().count(), 5_000);
    let begun = std::time::Instant::now();
    assert!(report.to_string().contains("a.toml:2000:1"));
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_long_line_is_not_shown_whole_and_takes_no_time() {
    let servers: Vec<String> = (0..5_000).map(|n| format!("'10.0.{}.{}'", n / 250, n % 250)).collect();
    let text = format!("[[service]]\nservers = [{}]", servers.join(", "));
    let begun = std::time::Instant::now();
    let report = report("a.toml", &text);
    let said = report.to_string();
    assert!(said.contains("--> a.toml:2:12\n = here: '10.0.0.0', '10.0.0.1', "), "{}", &said[..1_000]);
    let last = text.find("'10.0.19.249'").unwrap() - text.find("servers").unwrap() + 1;
    assert!(said.contains(&format!("--> a.toml:2:{last}\n = here: '10.0.19.249']\n")));
    // Generous, as above: shown whole, it takes a minute.
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_byte_order_mark_is_no_column() {
    let report = report("a.toml", "\u{feff}on_stop = 1");
    let places: Vec<_> = report.problems().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(1, 1), (1, 11)]);
}
