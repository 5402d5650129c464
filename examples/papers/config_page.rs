//! ipvsd.toml(5), from the schema that editors use.

use roff::{Inline, Roff, bold, italic, roman};
use serde_json::{Map, Value};

const SCHEMA: &str = include_str!("../../docs/ipvsd.schema.json");

/// The page, as man(7) has them.
pub fn page() -> String {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let tables = schema["$defs"].as_object().expect("the schema has definitions");
    let mut page = Roff::new();
    page.control("TH", ["ipvsd.toml", "5", "", "", "ipvsd"]);
    page.control("SH", ["NAME"]).text([roman("ipvsd.toml - the config of ipvsd")]);
    page.control("SH", ["DESCRIPTION"]).text([roman(
        "/etc/ipvsd/ipvsd.toml is TOML. Unknown keys are refused, and everything that is wrong is said at once: \
         `ipvsd validate`. Durations have units: 500ms, 5s, 1m. Nobody but root and the user of the daemon may be \
         able to write the file. Editors find its schema in /usr/share/ipvsd/ipvsd.schema.json:",
    )]);
    example(
        &mut page,
        "#:schema /usr/share/ipvsd/ipvsd.schema.json\n\n[[service]]\nname    = \"dns\"\nlisten  = [\"192.0.2.53:53\", \"[2001:db8::53]:53\"]\nservers = [\"10.0.1.11:53\", \"10.0.1.12:53\", \"[2001:db8:1::11]:53\"]\ncheck   = { type = \"dns\", query = \"example.com\" }",
    );
    section(&mut page, "KEYS OF THE FILE", &schema, tables);
    for (title, name) in [
        ("[[service]]", "service"),
        ("[defaults]", "defaults"),
        ("[kernel]", "kernel"),
        ("[passive]", "passive"),
        ("A SERVER AS A TABLE", "server_table"),
        ("FORWARD AS A TABLE", "tunnel"),
        ("A COMMAND AS A TABLE", "command_table"),
        ("EXPECT_LENGTH AS A TABLE", "expect_length"),
    ] {
        section(&mut page, title, &tables[name], tables);
    }
    page.control("SH", ["CHECKS"]).text([roman(
        "A check is a type (check = \"ntp\") or a table with type and more keys. Each type has these keys, and more below.",
    )]);
    let common = |key: &str| key == "type" || tables["check_icmp"]["properties"].get(key).is_some();
    keys(&mut page, &tables["check_icmp"], tables, |key| key != "type");
    for (name, table) in tables.iter().filter(|(name, _)| name.starts_with("check_")) {
        let kind = name.trim_start_matches("check_");
        page.control("SS", [kind]).text([roman(text(table, "description"))]);
        keys(&mut page, table, tables, |key| !common(key) || differs(table, &tables["check_icmp"], key));
    }
    page.control("SH", ["SEE ALSO"]).text([roman("ipvsd(8), ipvsd-validate(8)")]);
    page.to_roff()
}

fn differs(table: &Value, other: &Value, key: &str) -> bool {
    key != "type" && table["properties"][key]["default"] != other["properties"][key]["default"]
}

fn example(page: &mut Roff, text: &str) {
    page.control("PP", []).control("RS", ["4"]).control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []).control("RE", []);
}

fn section(page: &mut Roff, title: &str, table: &Value, tables: &Map<String, Value>) {
    page.control("SH", [title]).text([roman(format!("{}.", text(table, "description")))]);
    keys(page, table, tables, |_| true);
}

fn keys(page: &mut Roff, table: &Value, tables: &Map<String, Value>, which: impl Fn(&str) -> bool) {
    for (key, value) in table["properties"].as_object().into_iter().flatten().filter(|(key, _)| which(key)) {
        page.control("TP", []);
        let mut head = vec![bold(key)];
        let values = values(value, tables);
        if !values.is_empty() {
            head.extend([roman(" = "), italic(values)]);
        }
        page.text(head);
        let mut body: Vec<Inline> = vec![roman(format!("{}.", text(value, "description")))];
        if let Some(default) = value.get("default") {
            body.push(roman(format!(" Default: {default}.")));
        }
        page.text(body);
    }
}

/// What a key may be: its words, its kind, or what its definition says.
fn values(value: &Value, tables: &Map<String, Value>) -> String {
    if let Some(words) = value["enum"].as_array() {
        return words.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    if let Some(name) = value["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        let shown = tables[name].get("enum").is_some();
        return if shown { values(&tables[name], tables) } else { name.replace('_', " ") };
    }
    text(value, "type").to_owned()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
