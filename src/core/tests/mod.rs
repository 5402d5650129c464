//! The core against a kernel in memory: the order of things in examples, and a simulation over random histories.
//!
//! ```text
//!  history ──> world (core, clock, tasks) ──> kernel
//!                        bugs ──┘     └──> promises
//! ```
//! A seed that fails is printed; `IPVSD_SEED=n cargo test -p ipvsd --lib simulation` runs that one alone.

mod bugs;
mod clock;
mod commands;
mod configs;
mod end;
mod hands;
mod history;
mod kernel;
mod operators;
mod order;
mod promises;
mod random;
mod recorded;
mod repair;
mod replies;
mod seldom;
mod simulation;
mod suspended;
mod tasks;
mod weights;
mod world;
