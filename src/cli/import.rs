//! `ipvsd import`.

mod rules;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::{self, Imported, Report};
use crate::keepalived::Verdict;

pub fn main(path: &Path, ruleset: Option<&Path>, json: bool) -> ExitCode {
    let imported = match config::import(path) {
        Ok(imported) => imported,
        Err(error) => {
            eprintln!("ipvsd: {error}");
            return ExitCode::from(super::FAILED);
        }
    };
    let rules = match ruleset.map_or(Ok(Vec::new()), |path| {
        rules::unnecessary(path, &imported.rewritten.servers, &imported.rewritten.vips)
    }) {
        Ok(rules) => rules,
        Err(error) => {
            eprintln!("ipvsd: {error}");
            return ExitCode::from(super::FAILED);
        }
    };
    let report = match &imported.judged {
        Ok(loaded) => &loaded.warnings,
        Err(report) => report,
    };
    if json {
        super::say(io::stdout(), &format!("{:#}\n", data(&imported, report, &rules)));
    } else {
        super::say(io::stdout(), &imported.toml);
        // What is refused stands in the report, with its line.
        for note in imported.notes.iter().filter(|note| note.verdict != Verdict::Refused) {
            super::say(io::stderr(), &format!("{}\n", note.line(&imported.sources)));
        }
        for rule in &rules {
            super::say(io::stderr(), &format!("{rule}\n"));
        }
        super::say(io::stderr(), &report.render(io::stderr().is_terminal()));
    }
    match imported.judged {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(super::BAD_CONFIG),
    }
}

fn data(imported: &Imported, report: &Report, rules: &[String]) -> Value {
    json!({
        "toml": imported.toml,
        "refused": imported.judged.is_err(),
        "notes": imported.notes.iter().map(|note| note.told(&imported.sources)).collect::<Vec<_>>(),
        "rules": rules,
        "problems": report.problems().collect::<Vec<_>>(),
    })
}
