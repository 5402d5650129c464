//! keepalived.conf: our reading of it and keepalived's own; a director that changes over, and VRRP beside ipvsd.

#[path = "../../keepalived/oracle.rs"]
mod oracle;
#[path = "../../keepalived/sample.rs"]
pub mod sample;
mod takeover;
mod vrrp;

use lab::case;
use libtest_mimic::Trial;

/// The version whose complaints are the measure: Debian 12's.
const VERSION: &str = "2.2.7";
/// So many random files are compared, and as many spoilt ones; `KEEPALIVED_SEEDS=from-to` takes others.
const SEEDS: std::ops::Range<u64> = 0..20;

/// Files in the shapes that are in use, and what is wrong in many ways.
const FILES: [(&str, &str); 9] = [
    ("octavia", include_str!("../../keepalived/conf/octavia.conf")),
    ("syslog_templates", include_str!("../../keepalived/conf/syslog_templates.conf")),
    ("anycast_dns", include_str!("../../keepalived/conf/anycast_dns.conf")),
    ("consul_group", include_str!("../../keepalived/conf/consul_group.conf")),
    ("rubbish", include_str!("../../keepalived/conf/rubbish.conf")),
    ("vrrp_beside", include_str!("../../keepalived/conf/vrrp_beside.conf")),
    ("radius_udp_check", include_str!("../../keepalived/conf/radius_udp_check.conf")),
    ("brace_missing", include_str!("../../keepalived/conf/brace_missing.conf")),
    ("unknown_block", include_str!("../../keepalived/conf/unknown_block.conf")),
];

pub fn tests() -> Vec<Trial> {
    vec![
        case("keepalived::the_parser_agrees_with_keepalived_t", agrees_with_keepalived_t),
        case("keepalived::takeover_with_its_own_file_and_back_again_with_ops", takeover::with_ops),
        case("keepalived::takeover_with_its_own_file_and_back_again_without_ops", takeover::without_ops),
        case(
            "keepalived::the_backup_goes_on_when_the_masters_is_killed",
            vrrp::the_masters_keepalived_is_killed,
        ),
        case("keepalived::the_backup_goes_on_when_the_masters_link_goes", vrrp::the_masters_link_goes),
        case("keepalived::the_master_goes_on_when_its_ipvsd_is_killed", vrrp::the_masters_ipvsd_is_killed),
    ]
}

/// Which random files are looked at.
fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("KEEPALIVED_SEEDS").ok().and_then(|range| {
        let (from, to) = range.split_once('-')?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    given.unwrap_or(SEEDS)
}

fn agrees_with_keepalived_t() {
    let program = std::env::var_os("KEEPALIVED").unwrap_or_else(|| "keepalived".into());
    match oracle::version(&program).as_deref() {
        Some(VERSION) => {}
        other => {
            println!("skipped: this compares with keepalived {VERSION}, and here is {other:?}");
            return;
        }
    }
    let named = FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let random = seeds().flat_map(|seed| {
        [(format!("valid({seed})"), sample::valid(seed)), (format!("spoilt({seed})"), sample::spoilt(seed))]
    });
    let mut disagreements = Vec::new();
    let mut compared = 0;
    for (name, text) in named.chain(random) {
        compared += 1;
        if let Some(disagreement) = oracle::disagreement(&program, &text) {
            disagreements.push(format!("{name}:\n{text}\n{disagreement}"));
        }
    }
    println!("{compared} files compared with keepalived {VERSION}");
    assert!(
        disagreements.is_empty(),
        "{} of {compared} files:\n{}",
        disagreements.len(),
        disagreements.join("\n\n")
    );
}
