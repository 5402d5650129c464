//! What ipvsd costs, in guest instructions: `benches/run` gives it a VM whose clock counts them, one for each benchmark.

mod idle;
mod meter;
mod table;

use std::process::ExitCode;

use lab::case;

fn main() -> ExitCode {
    lab::suite(vec![
        case("idle without checks", idle::without_checks),
        case("table programmed and seen", table::programmed_and_seen),
    ])
}
