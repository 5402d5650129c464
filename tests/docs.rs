//! The docs against the program: every config in them is valid, every command line is one, and every file that they name is there.
//! All commands in blocks are run by `package::the_commands_of_the_docs` in `tests/e2e`.

use std::fs;
use std::path::{Path, PathBuf};

use ipvsd::keepalived::{self, Block, Keyword, Verdict};
use ipvsd::{cli, config};

/// A block of a document.
struct CodeBlock {
    file: PathBuf,
    line: usize,
    language: String,
    text: String,
}

impl CodeBlock {
    fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

fn documents() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(folder.join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    assert!(pages.len() >= 5, "{pages:?}");
    pages.into_iter().chain([folder.join("README.md"), folder.join("ipvs-netlink/README.md")]).collect()
}

fn blocks() -> Vec<CodeBlock> {
    let mut blocks = Vec::new();
    for file in documents() {
        let text = fs::read_to_string(&file).expect("a page");
        let mut open: Option<CodeBlock> = None;
        for (number, line) in text.lines().enumerate() {
            match (open.as_mut(), line.trim_start().strip_prefix("```")) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => block.text += &format!("{line}\n"),
                (None, Some(language)) => {
                    let language = language.to_owned();
                    open = Some(CodeBlock {
                        file: file.clone(),
                        line: number + 1,
                        language,
                        text: String::new(),
                    });
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block has no end", file.display());
    }
    blocks
}

/// What is said in `backticks` outside of blocks, with its place.
fn inline() -> Vec<(String, String)> {
    let mut said = Vec::new();
    for file in documents() {
        let mut inside = false;
        for (number, line) in fs::read_to_string(&file).expect("a page").lines().enumerate() {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            if !inside && !fence {
                let place = format!("{}:{}", file.display(), number + 1);
                said.extend(
                    line.split('`').skip(1).step_by(2).map(|words| (place.clone(), words.to_owned())),
                );
            }
        }
    }
    said
}

/// Whether `ipvsd …` is a command line. What stands for something else is in capitals, or is `…`.
fn judge(line: &str) -> Result<(), String> {
    let words = line.split(" #").next().unwrap_or_default().replace('…', "dns");
    // The name of a command alone, in a sentence.
    if let [_, name] = words.split_whitespace().collect::<Vec<_>>()[..]
        && cli::command().find_subcommand(name).is_some()
    {
        return Ok(());
    }
    let words = words.split_whitespace().map(|word| match word {
        "NUMBER" | "N" | "WEIGHT" => "1",
        "TIME" => "10m",
        "SERVER" => "10.0.1.11:53",
        "DIRECTORY" => "/tmp",
        word => word.trim_matches(['[', ']', '"', '\'']),
    });
    let parsed = cli::command().try_get_matches_from(words);
    let help = |error: &clap::Error| {
        use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
        matches!(error.kind(), DisplayHelp | DisplayVersion)
    };
    parsed.map(drop).or_else(|error| if help(&error) { Ok(()) } else { Err(error.to_string()) })
}

#[test]
fn every_config_is_valid() {
    let mut count = 0;
    for block in blocks().into_iter().filter(|block| block.language == "toml") {
        let mut text = block.text.clone();
        if text.contains("[dependencies]") {
            continue;
        }
        // A part of a config; and a service that is shown without what it shares with all others.
        if !text.contains("[[service]]") {
            text += "\n[[service]]\nname = \"x\"\nlisten = \"192.0.2.53:53\"\nservers = [\"10.0.1.11:53\"]\ncheck = \"none\"\n";
        }
        if let Err(report) = config::parse(&block.place(), &text) {
            panic!("{}", report.render(false));
        }
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn every_command_line_is_one() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let lines = blocks().into_iter().filter(|block| block.language == "sh").flat_map(|block| {
        let place = block.place();
        block.text.lines().map(|line| (place.clone(), line.trim().to_owned())).collect::<Vec<_>>()
    });
    for (place, line) in lines.chain(inline()) {
        // `ipvsd run` and the like; not `ipvsd.service`, nor `ipvsd` by itself.
        let line = line.strip_prefix("sudo ").unwrap_or(&line);
        if line.starts_with("ipvsd ") {
            count += 1;
            wrong.extend(judge(line).err().map(|error| format!("{place}: {line}: {error}")));
        }
    }
    assert!(count > 15, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judge("ipvsd frobnicate").is_err(), "the test sees what is wrong");
}

#[test]
fn every_block_says_what_it_is() {
    for block in blocks() {
        let known = ["toml", "sh", "text", "json", "rust", "ini", "yaml"];
        let language = block.language.split(',').next().unwrap_or_default();
        assert!(known.contains(&language), "{}: {:?}", block.place(), block.language);
        if block.language == "json" {
            let json: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
            assert!(json.is_ok(), "{}: {json:?}", block.place());
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for file in documents() {
        let text = fs::read_to_string(&file).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            count += 1;
            let path = file.parent().expect("a folder").join(target);
            assert!(path.exists(), "{}: {link}", file.display());
        }
    }
    assert!(count > 5);
}

/// Every key that the schema knows, which is held against the parser, is in the reference.
#[test]
fn every_key_is_documented() {
    fn keys(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
        match schema {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    if let ("properties", Some(properties)) = (name.as_str(), value.as_object()) {
                        found.extend(properties.keys().cloned());
                    }
                    keys(value, found);
                }
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
    let schema = serde_json::from_str(&read("ipvsd.schema.json")).expect("JSON");
    let mut known = std::collections::BTreeSet::new();
    keys(&schema, &mut known);
    assert!(known.len() > 40, "{known:?}");
    let reference = read("config.md") + &read("checks.md");
    let said = |key: &&String| {
        [format!("`{key}`"), format!("`{key} ="), format!("[{key}]"), format!("{key} = ")]
            .iter()
            .any(|words| reference.contains(words))
    };
    let missing: Vec<&String> = known.iter().filter(|key| !said(key)).collect();
    assert!(missing.is_empty(), "not in docs/config.md or docs/checks.md: {missing:?}");
}

/// The table of keepalived's keywords is that of the program.
#[test]
fn every_keyword_of_keepalived_is_in_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/keepalived.md");
    let text = fs::read_to_string(&path).expect("docs/keepalived.md");
    let (before, _) = text.split_once("-->\n").expect("the mark before the table");
    let wanted = format!("{before}-->\n{}", keywords());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).expect("docs/keepalived.md");
    } else {
        assert!(
            text == wanted,
            "docs/keepalived.md: `UPDATE_DOCS=1 cargo test --test docs` writes its table"
        );
    }
}

/// A table for each kind of block; keywords with the same verdict and reason share a line.
fn keywords() -> String {
    use std::fmt::Write;

    let mut blocks: Vec<(Block, Vec<Keyword>)> = Vec::new();
    for keyword in keepalived::keywords() {
        match blocks.iter_mut().find(|(block, _)| *block == keyword.block) {
            Some((_, of)) => of.push(keyword),
            None => blocks.push((keyword.block, vec![keyword])),
        }
    }
    let mut text = String::new();
    for (block, keywords) in blocks {
        let name = match block {
            Block::Root => "outside of all blocks".to_owned(),
            block => format!("`{}`", serde_json::to_value(block).expect("a name").as_str().expect("a name")),
        };
        let _ = write!(text, "\n### {name}\n\n| keyword | | why |\n|---|---|---|\n");
        let mut rows: Vec<((Verdict, &str), Vec<&str>)> = Vec::new();
        for keyword in keywords {
            let key = (keyword.verdict, keyword.reason);
            match rows.iter_mut().find(|(row, _)| *row == key) {
                Some((_, names)) => names.push(keyword.name),
                None => rows.push((key, vec![keyword.name])),
            }
        }
        for ((verdict, reason), names) in rows {
            let verdict = match verdict {
                Verdict::Taken => "taken",
                Verdict::Noted => "note",
                Verdict::NotNeeded => "not needed",
                Verdict::LeftToKeepalived => "left to keepalived",
                Verdict::Refused => "refused",
            };
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let _ = writeln!(text, "| {} | {verdict} | {} |", names.join(", "), reason.replace('|', "\\|"));
        }
    }
    text
}
