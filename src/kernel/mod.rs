//! What touches the kernel: IPVS, sysctls. Tasks that only take work and give inputs of the core.

pub mod connections;
pub mod counters;
pub mod facts;
pub mod finding;
mod glance;
pub mod hints;
pub mod ipvs;
pub mod look;
pub mod preflight;
pub mod rules;
pub mod state;
pub mod sysctl;
pub mod timeouts;
pub mod touched;
