//! The constants against the installed `linux/ip_vs.h` (Debian: linux-libc-dev).

use std::collections::BTreeMap;

const HEADER: &str = "/usr/include/linux/ip_vs.h";

/// Names that the header has and this library has no use for: the old socket options, the connection flags of the
/// sync protocol, other names for what is here, and where its enums begin and end.
const UNUSED: [&str; 10] = [
    "IP_VS_SO_",
    "IP_VS_BASE_CTL",
    "IP_VS_VERSION_CODE",
    "IP_VS_CONN_F_",
    "IP_VS_SVC_F_SCHED_",
    "IP_VS_STATE_NONE",
    "IP_VS_PEDATA_MAXLEN",
    "__IPVS_",
    "_UNSPEC",
    "IPVS_GENL_NAME",
];

#[test]
fn the_constants_are_those_of_the_header() {
    let Ok(header) = std::fs::read_to_string(HEADER) else {
        println!("skipped: no {HEADER}: the package linux-libc-dev has it");
        return;
    };
    let (theirs, ours) = (numbers_of_header(&header), numbers_of_library());
    assert!(ours.len() > 90, "{ours:?}");
    for (name, number) in &ours {
        assert_eq!(theirs.get(name), Some(number), "{name}");
    }
    assert!(header.contains(r#"IPVS_GENL_NAME		"IPVS""#));
    let forgotten: Vec<_> = theirs
        .keys()
        .filter(|name| !ours.contains_key(*name) && !UNUSED.iter().any(|unused| name.contains(unused)))
        .collect();
    assert_eq!(forgotten, [""; 0]);
}

/// `pub const NAME: TYPE = NUMBER;`
fn numbers_of_library() -> BTreeMap<String, i64> {
    let constant = |line: &str| {
        let (name, rest) = line.strip_prefix("pub const ")?.split_once(':')?;
        Some((name.to_owned(), number(rest.split_once('=')?.1.trim_end_matches(';'))?))
    };
    include_str!("../uapi.rs").lines().filter_map(constant).collect()
}

/// `#define NAME NUMBER`, and the members of enums.
fn numbers_of_header(header: &str) -> BTreeMap<String, i64> {
    let mut numbers = BTreeMap::new();
    let mut next = 0;
    for line in header.lines() {
        let line = line.split("/*").next().unwrap_or_default().trim();
        if let Some(define) = line.strip_prefix("#define") {
            let mut words = define.trim().splitn(2, char::is_whitespace);
            let (name, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            numbers.extend(number(value).map(|number| (name.to_owned(), number)));
        } else if line.starts_with("enum") {
            next = 0;
        } else if let Some(member) = line.strip_suffix(',') {
            let (name, value) = member.split_once('=').unwrap_or((member, ""));
            next = number(value).unwrap_or(next);
            numbers.insert(name.trim().to_owned(), next);
            next += 1;
        }
    }
    let is_name = |name: &str| name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    numbers.retain(|name, _| is_name(name) && (name.contains("IPVS_") || name.contains("IP_VS_")));
    numbers
}

/// `12`, `0x0c`, `(12)`, `(1 << 3)`.
fn number(text: &str) -> Option<i64> {
    let text = text.trim().trim_matches(['(', ')']);
    if let Some((left, right)) = text.split_once("<<") {
        return Some(number(left)? << number(right)?);
    }
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
