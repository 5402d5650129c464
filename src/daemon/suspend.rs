//! Looks every second which VIPs of services with `ha_suspend` are addresses of this machine.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::core::model::Config;
use crate::core::suspend;
use crate::kernel::facts;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(1);

/// What is looked for, and what was found.
pub struct Suspend {
    /// The VIPs of all configs: the core may go by an earlier one.
    vips: BTreeSet<IpAddr>,
    here: BTreeSet<IpAddr>,
    due: Interval,
}

impl Default for Suspend {
    fn default() -> Self {
        let mut due = interval(LOOK);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { vips: BTreeSet::new(), here: BTreeSet::new(), due }
    }
}

impl Suspend {
    /// Looks for the VIPs of this config, too, and does so at once; those that are here, if that is new.
    pub fn follow(&mut self, config: &Config) -> Option<BTreeSet<IpAddr>> {
        self.vips.extend(suspend::vips(config));
        self.look()
    }

    /// Waits until others are here than before; for ever if there are no such services. Nothing is lost where it is dropped.
    pub async fn here(&mut self) -> BTreeSet<IpAddr> {
        if self.vips.is_empty() {
            return std::future::pending().await;
        }
        loop {
            self.due.tick().await;
            if let Some(here) = self.look() {
                return here;
            }
        }
    }

    fn look(&mut self) -> Option<BTreeSet<IpAddr>> {
        match facts::here(&self.vips) {
            Ok(here) if here == self.here => None,
            Ok(here) => {
                self.here.clone_from(&here);
                Some(here)
            }
            Err(error) => {
                tracing::error!(%error, "cannot read this machine's addresses: services stay suspended or not, as they were");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[tokio::test]
    async fn only_vips_of_services_that_may_be_suspended_are_looked_for() {
        let service = |vip: &str, more: &str| {
            format!(
                "[[service]]\nname = \"{vip}\"\nlisten = \"{vip}:53\"\nservers = [\"10.0.0.1:53\"]\ncheck = \"tcp\"\nops = false\n{more}\n"
            )
        };
        let text = service("127.0.0.1", "ha_suspend = true")
            + &service("127.0.0.2", "")
            + &service("192.0.2.53", "ha_suspend = true");
        let config = config::parse("ipvsd.toml", &text).unwrap_or_else(|report| panic!("{report}")).config;
        let mut suspend = Suspend::default();
        assert_eq!(suspend.follow(&config), Some(BTreeSet::from(["127.0.0.1".parse().unwrap()])));
        assert_eq!(suspend.follow(&config), None, "nothing new");
        suspend.here.clear();
        assert_eq!(suspend.here().await.len(), 1, "it came back");
    }
}
