//! Metrics over HTTP, if the config has `[metrics]`: for Prometheus, and for whoever asks whether the daemon works. They only
//! tell; nothing can be done here.
//!
//! ```text
//! GET /metrics   everything, as OpenMetrics or, to those who do not ask for that, as Prometheus's text
//! GET /healthz   200 if the loop works, and the tasks for the kernel do
//! GET /readyz    200 if every server has had its first verdict and the kernel is as it is to be; 503 with the reason
//! ```

mod families;
mod happened;
mod server;
#[cfg(test)]
mod tests;
mod text;

pub use happened::{Happened, Reloads};
pub use server::{Exporter, start};

use crate::core::probes::Probes;
use crate::core::status::Status;

/// All that metrics are made of.
#[derive(Clone, Debug)]
pub struct Observed {
    /// How everything stands, with counters and probes where they are known.
    pub status: Status,
    /// What became of probes, by type of check.
    pub probes: Probes,
    /// What the daemon did.
    pub happened: Happened,
}
