//! What ipvsd costs, in guest instructions, and how fast it is, in virtual time: `benches/run` gives it a VM whose clock counts
//! instructions, one for each benchmark. It fails where a target is missed.

mod bare;
mod detection;
mod fleet;
mod idle;
mod import;
mod library;
mod meter;
mod probes;
mod table;

use std::process::ExitCode;

use lab::case;

fn main() -> ExitCode {
    let status = lab::suite(vec![
        case("idle without checks", idle::without_checks),
        case("table programmed and seen", table::programmed_and_seen),
        case("library against ipvsadm", library::against_ipvsadm),
        case("keepalived.conf of 10 000", import::ten_thousand),
        case("cost of one check", probes::cost_of_one),
        case("checks of 10 000 servers", probes::ten_thousand),
        case("detection: silent", detection::silent),
        case("detection: wrong answer", detection::wrong_answer),
        case("detection: killed without traffic", detection::killed),
        case("detection: killed under 100 a second", detection::killed_under_100),
        case("detection: killed under 1 000 a second", detection::killed_under_1000),
    ]);
    if meter::missed() { ExitCode::FAILURE } else { status }
}
