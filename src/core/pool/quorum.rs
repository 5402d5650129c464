//! Whether enough servers are up for a service to be offered: what its commands are told.

use super::Pool;
use crate::core::model;

/// The quorum of one IPVS service as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quorum {
    /// None before it has settled.
    reached: Option<bool>,
}

impl Quorum {
    /// Whether it is reached; none before that is known.
    pub fn reached(&self) -> Option<bool> {
        self.reached
    }

    /// Whether the pool's verdicts have turned it: the news to tell, which is the first state too.
    ///
    /// Verdicts count and not the weights that are held: a pool that fails open has lost its quorum. The weights of the servers
    /// that are up are added as the config has them.
    pub fn turn(&mut self, of: &model::Quorum, pool: &Pool) -> Option<bool> {
        let sum: u64 = pool.alive().map(|(_, weight)| u64::from(weight)).sum();
        let (quorum, hysteresis) = (u64::from(of.weight), u64::from(of.hysteresis));
        let reached = match self.reached {
            None if sum >= quorum => true,
            None if pool.settled() => false,
            None => return None,
            Some(true) => sum >= quorum.saturating_sub(hysteresis).max(1),
            Some(false) => sum >= quorum + hysteresis,
        };
        (self.reached.replace(reached) != Some(reached)).then_some(reached)
    }
}
