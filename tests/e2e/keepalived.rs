//! keepalived.conf: ours and keepalived's own reading of it.

#[path = "../keepalived/sample.rs"]
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use ipvsd::keepalived::{Machine, Rule, Severity, Verdict, keyword, parse};
use lab::case;
use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    vec![case("keepalived::the_parser_agrees_with_keepalived_t", || agrees_with_keepalived_t(&keepalived_version()))]
}
