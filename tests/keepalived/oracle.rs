//! What `keepalived -t` complains of in a text, what our parser complains of, and whether that is the same.
//!
//! Lines are compared for what stands on a line, and the rule for what is said of a whole block. Of a file with a brace too many or
//! a block that nobody knows, keepalived reads the rest in its own way: then only that both complain.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use ipvsd::keepalived::{Block, File, Finding, Machine, Rule, Severity, Verdict, keyword, parse};

/// One thing that is wrong: a line, or a rule with how often it is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    Line(u32),
    Rule(Rule, usize),
}

/// The version of the keepalived that is installed; none if there is none.
pub fn version(program: &OsString) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(text.split_whitespace().nth(1)?.trim_start_matches('v').to_owned())
}

/// What the two disagree about in a text; empty if nothing.
pub fn disagreement(program: &OsString, text: &str) -> Option<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("keepalived.conf");
    std::fs::write(&path, text).expect("writing a config");
    let output = Command::new(program)
        .args(["-t", "-i", "somebody", "-f"])
        .arg(&path)
        .output()
        .expect("running keepalived");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let file = parse(&path, text.as_bytes(), &Machine::new(Some("somebody".to_owned())));
    let theirs = theirs(&said, &path, &file);
    let ours = ours(&file);
    let derails = file.findings.iter().any(derails);
    let agree = match (&theirs, derails) {
        (Err(_), _) => false,
        (Ok(theirs), true) => theirs.is_empty() == ours.is_empty(),
        (Ok(theirs), false) => *theirs == ours,
    };
    (!agree).then(|| format!("keepalived: {theirs:?}\nipvsd:      {ours:?}\n{said}\n{:#?}", file.findings))
}

/// After it, keepalived 2.2.7 reads on in another block than everybody else.
fn derails(finding: &Finding) -> bool {
    matches!(finding.rule, Rule::Brace | Rule::MissingValue | Rule::Limit)
        || (finding.rule == Rule::UnknownKeyword && finding.message.contains("its block"))
}

fn ours(file: &File) -> BTreeSet<Complaint> {
    let said = file
        .findings
        .iter()
        .filter(|finding| finding.severity != Severity::Note || finding.rule == Rule::NewKeyword);
    let mut rules = Vec::new();
    let mut complaints = BTreeSet::new();
    for finding in said {
        if of_blocks(finding.rule) {
            rules.push(finding.rule);
        } else {
            complaints.insert(Complaint::Line(finding.place.line));
        }
    }
    complaints.extend(counted(&rules));
    complaints
}

fn counted(rules: &[Rule]) -> impl Iterator<Item = Complaint> {
    rules.iter().map(|rule| Complaint::Rule(*rule, rules.iter().filter(|other| *other == rule).count()))
}

/// Rules about a whole block, of which keepalived gives its last line, or none.
fn of_blocks(rule: Rule) -> bool {
    !matches!(
        rule,
        Rule::UnknownKeyword
            | Rule::NewKeyword
            | Rule::BadValue
            | Rule::Order
            | Rule::SecondScript
            | Rule::UnknownName
            | Rule::Generator
            | Rule::Text
            | Rule::MissingValue
            | Rule::Deprecated
            | Rule::Include
    )
}

/// What keepalived says of a whole block, by a piece of it.
const OF_BLOCKS: [(&str, Rule); 24] = [
    ("no protocol set", Rule::NoProtocol),
    ("no scheduler set", Rule::NoScheduler),
    ("no forwarding method set", Rule::NoForwarding),
    ("protocol specified for fwmark", Rule::ProtocolIgnored),
    ("one packet scheduling requires UDP", Rule::OpsNeedsUdp),
    ("zero port only valid", Rule::ZeroPort),
    ("exceeds total weight", Rule::Quorum),
    ("hysteresis ", Rule::Hysteresis),
    ("is duplicated", Rule::DuplicateServer),
    ("has no real servers", Rule::NoServers),
    ("ports don't match", Rule::PortReset),
    ("has port specified - clearing", Rule::PortReset),
    ("cannot use ha_suspend", Rule::HaSuspend),
    ("has no entries", Rule::Incomplete),
    ("No script path", Rule::Incomplete),
    ("has no urls", Rule::Incomplete),
    ("url has no path", Rule::Incomplete),
    ("has no track_file", Rule::Incomplete),
    ("No name has been specified", Rule::Incomplete),
    ("No file set", Rule::Incomplete),
    ("min_reply length", Rule::NeverSucceeds),
    ("Address family of virtual server", Rule::Family),
    ("does not match address family", Rule::Family),
    ("conflicts with server family", Rule::Family),
];

/// What it says of the machine that it runs on, of VRRP without a line, or for humans only.
const ELSEWHERE: [&str; 10] = [
    "SECURITY VIOLATION",
    "uid/gid",
    "default user",
    "script user",
    "NOTICE",
    "Non-existent interface",
    "VRRP",
    "vrrp",
    "Config files missing",
    "Unknown interface",
];

fn theirs(said: &str, path: &Path, file: &File) -> Result<BTreeSet<Complaint>, String> {
    let others = others(file);
    let mut complaints = BTreeSet::new();
    // Four processes read the file, and each says what it finds.
    let lines: BTreeSet<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut rules = Vec::new();
    for line in lines {
        // It leaves the name out where there is only one file.
        let named = line.strip_prefix(&format!("({}: Line ", path.display()));
        let (number, message) = match named.or(line.strip_prefix("(Line ")) {
            Some(rest) => {
                let (number, message) = rest.split_once(") ").ok_or(line)?;
                (Some(number.parse::<u32>().map_err(|_| line)?), message)
            }
            None => (None, line),
        };
        if ELSEWHERE.iter().any(|what| message.contains(what))
            || number.is_some_and(|number| others.contains(&number))
        {
            continue;
        }
        // With a line it may be of a value: `Hysteresis x must be …` has one.
        let of_block = OF_BLOCKS.iter().find(|(piece, _)| message.contains(piece));
        match (of_block, number) {
            (Some((_, rule)), _) => rules.push(*rule),
            (None, Some(number)) => drop(complaints.insert(Complaint::Line(number))),
            (None, None) if message.contains("missing '}'s") => rules.push(Rule::Brace),
            (None, None) => return Err(line.to_owned()),
        }
    }
    complaints.extend(counted(&rules));
    Ok(complaints)
}

/// The lines of the blocks that are none of LVS's, to their ends.
fn others(file: &File) -> BTreeSet<u32> {
    let starts: Vec<u32> = file.statements.iter().map(|statement| statement.place().line).collect();
    let mut lines = BTreeSet::new();
    for (index, statement) in file.statements.iter().enumerate() {
        let left = keyword(Block::Root, statement.keyword())
            .is_some_and(|keyword| keyword.verdict == Verdict::LeftToKeepalived);
        if left {
            let end = starts.get(index + 1).copied().unwrap_or(statement.place().line + 1_000);
            lines.extend(statement.place().line..end);
        }
    }
    lines
}
