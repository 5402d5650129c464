//! docs/ipvsd.schema.json, for editors: it knows the keys that the parser knows, and takes what the parser takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::Value;

use super::super::{Report, parse};
use super::properties::config;
use super::written::write;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn schema() -> Value {
    let text = fs::read_to_string(folder().join("docs/ipvsd.schema.json")).expect("the schema");
    serde_json::from_str(&text).expect("JSON")
}

/// A config with this key in the table that the schema calls `name`.
fn with_key(name: &str, key: &str) -> String {
    let in_service = |text: &str| format!("[[service]]\n{text}\n");
    match name {
        "the file" => format!("{key} = 1\n"),
        "a service" => in_service(&format!("{key} = 1")),
        "a server" => in_service(&format!("servers = [{{ {key} = 1 }}]")),
        "`persistence`" => in_service(&format!("persistence = {{ {key} = 1 }}")),
        "`timeouts`" => format!("[kernel]\ntimeouts = {{ {key} = 1 }}\n"),
        "`forward`" => in_service(&format!("forward = {{ {key} = 1 }}")),
        "a command" => in_service(&format!("on_up = {{ {key} = 1 }}")),
        "`weight`" => in_service(&format!("check = {{ type = \"file\", weight = {{ {key} = 1 }} }}")),
        "`expect_length`" => {
            in_service(&format!("check = {{ type = \"udp\", expect_length = {{ {key} = 1 }} }}"))
        }
        _ if name.starts_with("`[") => format!("{}\n{key} = 1\n", name.trim_matches('`')),
        _ => {
            let kind = name.split('`').nth(1).expect("the type of a check");
            in_service(&format!("check = {{ type = \"{kind}\", {key} = 1 }}"))
        }
    }
}

fn said(text: &str) -> Report {
    parse("a.toml", text).map_or_else(|report| report, |loaded| loaded.warnings)
}

/// Nothing is like it: whoever writes it is told all that is known.
const NONE: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";

/// The words that a report names beside this error.
fn known(report: &Report, error: &str) -> BTreeSet<String> {
    let problem = report.problems().find(|problem| problem.message == error);
    let problem = problem.unwrap_or_else(|| panic!("no {error:?} in {report}"));
    let known = problem.help.expect("what is known").strip_prefix("known: ").expect("all that is known");
    known.split(", ").map(|key| key.trim_matches('`').to_owned()).collect()
}

#[test]
fn every_table_has_the_keys_that_the_parser_knows() {
    let schema = schema();
    let tables: Vec<&Value> = std::iter::once(&schema)
        .chain(schema["$defs"].as_object().expect("definitions").values())
        .filter(|table| table.get("properties").is_some())
        .collect();
    let kinds = tables.iter().filter_map(|table| table["properties"]["type"]["const"].as_str());
    let kinds: BTreeSet<String> = kinds.chain(["none"]).map(str::to_owned).collect();
    let check = format!("[[service]]\ncheck = \"{NONE}\"\n");
    assert_eq!(kinds, known(&said(&check), &format!("unknown value `{NONE}`")), "types of checks");
    assert_eq!(tables.len() - (kinds.len() - 1), 14, "other tables");
    for table in tables {
        let name = table["title"].as_str().expect("a title");
        let properties = table["properties"].as_object().expect("properties");
        let keys: BTreeSet<String> = properties.keys().cloned().collect();
        assert_eq!(
            keys,
            known(&said(&with_key(name, NONE)), &format!("unknown key `{NONE}` in {name}")),
            "{name}"
        );
        assert_eq!(table["additionalProperties"], false, "{name}");
        for (key, value) in properties {
            assert!(value["description"].is_string(), "{key} of {name} is not described");
        }
    }
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).expect("a schema")
}

/// A TOML file as data; none if it is not TOML.
fn data(text: &str) -> Option<Value> {
    toml::from_str(text).ok()
}

proptest! {
    #[test]
    fn what_the_parser_takes_the_schema_takes(config in config()) {
        let text = write(&config);
        let errors: Vec<_> =
            validator().iter_errors(&data(&text).expect("TOML")).map(|error| error.to_string()).collect();
        prop_assert!(errors.is_empty(), "{errors:?}\n{text}");
    }
}

fn tomls(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn every_example_is_valid() {
    let validator = validator();
    let examples = [tomls(&folder().join("examples")), tomls(&folder().join("examples/demo"))].concat();
    assert!(examples.len() >= 4);
    for path in examples {
        let text = fs::read_to_string(&path).expect("an example");
        let errors: Vec<_> =
            validator.iter_errors(&data(&text).expect("TOML")).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0], "{}", path.display());
    }
}

/// What takes more than one value to see (names twice, VIPs that share servers), or is only warned of.
const BEYOND: [&str; 2] = ["conflicts", "warnings"];

#[test]
fn a_bad_file_is_refused_where_a_schema_can_tell() {
    let validator = validator();
    let mut refused = 0;
    for path in tomls(&folder().join("tests/config/bad")) {
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let Some(data) = data(&fs::read_to_string(&path).expect("a file")) else { continue };
        let beyond = BEYOND.contains(&stem.as_str());
        assert_eq!(validator.is_valid(&data), beyond, "{stem}");
        refused += usize::from(!beyond);
    }
    assert!(refused >= 6, "only {refused}");
}
