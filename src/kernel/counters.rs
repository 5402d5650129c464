//! The task that reads what the kernel counts, when somebody asks: IPVS's own counters, and those of the reply rules. Nobody asks,
//! nothing is read; many ask, it is read once a second.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{Error, ServiceKey, tokio::Client};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::core::Time;
use crate::core::traffic::{Counters, LONGEST, Reading, SHORTEST};
use crate::nft::Nft;

/// Whoever asks does not wait longer, whatever nft does: all else that there is to say is more important.
const ENOUGH: Duration = Duration::from_secs(4);

/// Somebody wants to know.
#[derive(Debug)]
pub struct Ask {
    /// What went through these services.
    pub own: BTreeSet<ServiceKey>,
    /// It is worth a second to know the rates of replies, too.
    pub rates: bool,
    /// Those of the last time if the kernel cannot be read now; none if it never could.
    pub answer: oneshot::Sender<Option<Arc<Counters>>>,
}

/// Answers until nobody can ask any more. `now` is the core's clock.
pub async fn run(mut asked: UnboundedReceiver<Ask>, now: impl Fn() -> Time) {
    let mut reader = Reader { now, client: None, last: None, rated: false };
    // Who asks every few seconds is not to fill the log.
    let mut said = None;
    while let Some(first) = asked.recv().await {
        let mut asks = vec![first];
        while let Ok(more) = asked.try_recv() {
            asks.push(more);
        }
        let own = asks.iter().flat_map(|ask| &ask.own).copied().collect();
        let rates = asks.iter().any(|ask| ask.rates);
        let late = |_| format!("nothing came within {} s", ENOUGH.as_secs());
        let counters = match timeout(ENOUGH, reader.current(&own, rates)).await.map_err(late).flatten() {
            Ok(counters) => {
                said = None;
                Some(counters)
            }
            Err(error) => {
                if said.as_ref() != Some(&error) {
                    tracing::warn!(error, "the kernel's counters cannot be read");
                }
                said = Some(error);
                // They say how old they are.
                reader.last.clone()
            }
        };
        for ask in asks {
            // Whoever asked may have gone.
            let _ = ask.answer.send(counters.clone());
        }
    }
}

struct Reader<F> {
    now: F,
    /// None before the first reading, and after one that failed.
    client: Option<Client>,
    last: Option<Arc<Counters>>,
    /// It says at what rate replies went.
    rated: bool,
}

impl<F: Fn() -> Time> Reader<F> {
    /// The last counters if they are less than a second old and of all that is asked for; else new ones.
    async fn current(&mut self, own: &BTreeSet<ServiceKey>, rates: bool) -> Result<Arc<Counters>, String> {
        let fresh = self.last.as_ref().filter(|last| self.age(last) < SHORTEST);
        let counters = match fresh {
            Some(fresh) => Arc::clone(fresh),
            None => self.read(own).await?,
        };
        if !rates || self.rated {
            return Ok(counters);
        }
        tokio::time::sleep(SHORTEST.saturating_sub(self.age(&counters))).await;
        self.read(own).await
    }

    fn age(&self, counters: &Counters) -> Duration {
        (self.now)().saturating_sub(counters.at)
    }

    async fn read(&mut self, own: &BTreeSet<ServiceKey>) -> Result<Arc<Counters>, String> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect().await.map_err(|error| error.to_string())?,
        };
        let nft = Nft::new();
        let (services, replies) = tokio::join!(services(&mut client, own), nft.count());
        let services = services.map_err(|error| error.to_string())?;
        let replies = replies.map_err(|error| error.to_string())?;
        self.client = Some(client);
        let reading = Reading { at: (self.now)(), services, replies };
        self.rated =
            self.last.as_ref().is_some_and(|last| (SHORTEST..=LONGEST).contains(&(reading.at - last.at)));
        let counters = Arc::new(Counters::of(reading, self.last.as_deref()));
        self.last = Some(Arc::clone(&counters));
        Ok(counters)
    }
}

type Services = Vec<(ipvs_netlink::Service, Vec<ipvs_netlink::Destination>)>;

async fn services(client: &mut Client, own: &BTreeSet<ServiceKey>) -> Result<Services, Error> {
    let mut services = Vec::new();
    for service in client.list_services().await? {
        if !own.contains(&service.key) {
            continue;
        }
        match client.list_destinations(&service.key).await {
            Ok(servers) => services.push((service, servers)),
            // It went while we looked.
            Err(Error::NoSuchService(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(services)
}
