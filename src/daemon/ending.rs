//! An end that was asked for comes, whatever fails: the core tries again for ever, and somebody waits for the process.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipvs_netlink::ServiceKey;

use super::Refusal;
use super::prepare;
use super::remember;
use crate::core::desired;
use crate::core::model::Config;
use crate::nft::{self, Nft};

/// So long after the longest `drain` all is removed, or is not going to be.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be gone, and until when.
#[derive(Default)]
pub struct Ending {
    own: BTreeSet<ServiceKey>,
    longest: Duration,
    until: Option<Instant>,
}

impl Ending {
    /// The services of this config are to be removed, too, and their servers drained.
    pub fn follow(&mut self, config: &Config) {
        self.own.extend(desired::listens(config).map(|(key, _)| key));
        self.longest = config.services.iter().map(|service| service.drain).fold(self.longest, Duration::max);
    }

    /// From now on time runs; how much there is.
    pub fn begin(&mut self) -> Duration {
        let until = self.until.get_or_insert(Instant::now() + self.longest + PATIENCE);
        until.saturating_duration_since(Instant::now())
    }

    /// Waits until it is too late; for ever if no end was asked for.
    pub async fn too_late(&self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    }

    /// What is still in the kernel, as far as can be read.
    pub async fn left(&self) -> Refusal {
        let mut left = Vec::new();
        let memory = remember::read().map(|(_, memory)| memory.unwrap_or_default()).unwrap_or_default();
        match services().await {
            Ok(services) => {
                let own = |key: &&ServiceKey| self.own.contains(key) || memory.created.contains(key);
                left.extend(services.iter().filter(own).map(|key| format!("the service {key}")));
            }
            Err(error) => left.push(format!("services ({error})")),
        }
        match Nft::new().observe().await {
            Ok(listing) if listing == nft::Listing::default() => {}
            Ok(_) => left.push("the reply rules".to_owned()),
            Err(error) => left.push(format!("the reply rules ({error})")),
        }
        left.extend(memory.sysctls.iter().map(|(key, old)| format!("the sysctl {key}, which was {old}")));
        let waited = humantime::format_duration(self.longest + PATIENCE);
        Refusal::new(format!(
            "not all could be removed within {waited}; left in the kernel: {}; \
             run `ipvsd flush` when the cause is mended",
            left.join(", ")
        ))
    }
}

async fn services() -> Result<Vec<ServiceKey>, String> {
    let client = prepare::connect().await.map_err(|refusal| refusal.to_string())?;
    let Some(mut client) = client else { return Ok(Vec::new()) };
    let services = client.list_services().await.map_err(|error| error.to_string())?;
    Ok(services.into_iter().map(|service| service.key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_end_comes_after_the_longest_drain() {
        let text = |drain: &str| {
            format!(
                "[[service]]\nname = \"a\"\nlisten = \"192.0.2.53:53\"\nservers = [\"10.0.1.11:53\"]\n\
                 check = \"none\"\ndrain = \"{drain}\"\n"
            )
        };
        let mut ending = Ending::default();
        for drain in ["30s", "1s"] {
            ending.follow(&config::parse("ipvsd.toml", &text(drain)).unwrap().config);
        }
        assert_eq!(ending.until, None, "nobody has asked for an end");
        let before = Instant::now();
        ending.begin();
        let until = ending.until.unwrap();
        ending.begin();
        assert_eq!(ending.until, Some(until), "asked again it does not come later");
        let after = until - before;
        assert!((Duration::from_secs(40)..Duration::from_secs(41)).contains(&after), "{after:?}");
    }
}
