//! What touches the kernel: IPVS, sysctls. Tasks that only take work and give inputs of the core.

pub mod facts;
pub mod ipvs;
pub mod preflight;
pub mod rules;
pub mod sysctl;
