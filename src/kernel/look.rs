//! Looking at IPVS all the time, cheaply: only the services are dumped that a glance shows to have changed, that have
//! had steps since, and, for what a glance does not show, a few more in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use ipvs_netlink::{Error, ServiceKey, tokio::Client};

use super::glance::{Glance, Seen};
use crate::core::Input;
use crate::core::plan::FoundService;

/// So many services are dumped at each look, whatever the glance shows, and at least each within so many looks.
const IN_TURN: usize = 16;
const ROUND: usize = 64;

/// What is known of the table from looking at it.
#[derive(Debug, Default)]
pub struct Looks {
    glance: Glance,
    /// None until a full look worked.
    picture: Option<Picture>,
}

impl Looks {
    /// A service that has had steps: what they change a glance may not show.
    pub fn stepped(&mut self, key: ServiceKey) {
        if let Some(picture) = &mut self.picture {
            picture.stepped.insert(key);
        }
    }

    /// Looks at all services and the servers of `own`; [`Input::Unchanged`] if nothing has changed since the last look,
    /// unless the answer is wanted in any case.
    pub async fn look(&mut self, client: &mut Client, own: BTreeSet<ServiceKey>, always: bool) -> Input {
        let seen = self.glance.look();
        // If anything fails, what the glance has shown is in no picture: a full look follows.
        let result = match (self.picture.take(), seen) {
            (Some(picture), Seen::Changed(keys)) if !always && own == picture.own => {
                look_again(client, picture, keys).await
            }
            (before, _) => find(client, &own).await.map(|found| (Picture::of(own, found, before), true)),
        };
        match result {
            Ok((picture, news)) => {
                let services = picture.services.iter().map(|(key, service)| (*key, service.clone()));
                let input =
                    if news { Input::FoundServices(Ok(services.collect())) } else { Input::Unchanged };
                self.picture = Some(picture);
                input
            }
            Err(error) => Input::FoundServices(Err(error.to_string())),
        }
    }
}

/// Dumps what may have changed; whether anything has.
async fn look_again(
    client: &mut Client,
    mut picture: Picture,
    changed: BTreeSet<ServiceKey>,
) -> Result<(Picture, bool), Error> {
    let mut news = false;
    for key in picture.due(changed) {
        let service = match client.get_service(&key).await {
            Ok(service) => found(client, &picture.own, service).await?,
            Err(Error::NoSuchService(_)) => None,
            Err(error) => return Err(error),
        };
        news |= picture.learn(key, service);
    }
    Ok((picture, news))
}

/// The table as it was seen last.
#[derive(Debug)]
struct Picture {
    /// The services whose servers are in it.
    own: BTreeSet<ServiceKey>,
    services: BTreeMap<ServiceKey, FoundService>,
    stepped: BTreeSet<ServiceKey>,
    /// The last that was dumped in turn.
    turn: Option<ServiceKey>,
}

impl Picture {
    /// What a full look found; whose turn it is stays as it was `before`.
    fn of(own: BTreeSet<ServiceKey>, found: Vec<(ServiceKey, FoundService)>, before: Option<Self>) -> Self {
        let turn = before.and_then(|before| before.turn);
        Self { own, services: found.into_iter().collect(), stepped: BTreeSet::new(), turn }
    }

    /// What is to be dumped: `changed`, those with steps, and the next in turn.
    fn due(&mut self, mut changed: BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        changed.append(&mut self.stepped);
        let after = self.turn.map_or(Unbounded, Excluded);
        let next = self.own.range((after, Unbounded)).take(IN_TURN.max(self.own.len().div_ceil(ROUND)));
        let next: Vec<ServiceKey> = next.copied().collect();
        self.turn = next.last().copied();
        changed.extend(next);
        changed
    }

    /// Takes what a dump showed; whether it is new.
    fn learn(&mut self, key: ServiceKey, found: Option<FoundService>) -> bool {
        let news = self.services.get(&key) != found.as_ref();
        match found {
            Some(_) if !news => {}
            Some(service) => drop(self.services.insert(key, service)),
            None => drop(self.services.remove(&key)),
        }
        news
    }
}

/// All services, and the servers of those among them that are ipvsd's own.
///
/// # Errors
/// The kernel did not list them.
pub async fn find(
    client: &mut Client,
    own: &BTreeSet<ServiceKey>,
) -> Result<Vec<(ServiceKey, FoundService)>, Error> {
    let mut all = Vec::new();
    for service in client.list_services().await? {
        let key = service.key;
        all.extend(found(client, own, service).await?.map(|service| (key, service)));
    }
    Ok(all)
}

/// A service with its servers, if it is one of `own`; none if it went while we looked.
async fn found(
    client: &mut Client,
    own: &BTreeSet<ServiceKey>,
    service: ipvs_netlink::Service,
) -> Result<Option<FoundService>, Error> {
    let servers = match own.contains(&service.key) {
        true => client.list_destinations(&service.key).await,
        false => Ok(Vec::new()),
    };
    match servers {
        Ok(servers) => {
            let servers = servers.into_iter().map(|server| (server.key, server.config));
            Ok(Some(FoundService { config: service.config, servers: Arc::new(servers.collect()) }))
        }
        Err(Error::NoSuchService(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use ipvs_netlink::{Family, ServiceConfig};

    use super::*;

    fn key(number: u16) -> ServiceKey {
        ServiceKey::udp(([192, 0, 2, 1], number).into())
    }

    fn service(timeout: u32) -> FoundService {
        let config = ServiceConfig { timeout, ..ServiceConfig::new("rr".parse().unwrap(), Family::Inet) };
        FoundService { config, servers: Arc::default() }
    }

    fn picture(services: u16) -> Picture {
        let own: BTreeSet<ServiceKey> = (1..=services).map(key).collect();
        let found = own.iter().map(|key| (*key, service(0))).collect();
        Picture::of(own, found, None)
    }

    #[test]
    fn every_service_has_its_turn() {
        for services in [1, 2, 255, 256, 257, 1000] {
            let mut picture = picture(services);
            let mut seen = BTreeSet::new();
            for _ in 0..ROUND + 1 {
                seen.extend(picture.due(BTreeSet::new()));
            }
            assert_eq!(seen, picture.own, "{services} services");
        }
    }

    #[test]
    fn what_has_changed_or_had_steps_is_dumped_once() {
        let mut picture = picture(500);
        picture.stepped.insert(key(400));
        let due = picture.due([key(300), key(900)].into());
        assert!([300, 400, 900].iter().all(|number| due.contains(&key(*number))), "{due:?}");
        assert!(due.len() <= 3 + IN_TURN);
        assert!(!picture.due(BTreeSet::new()).contains(&key(400)));
    }

    #[test]
    fn only_news_are_news() {
        let mut picture = picture(2);
        assert!(!picture.learn(key(1), Some(service(0))));
        assert!(picture.learn(key(1), Some(service(9))) && !picture.learn(key(1), Some(service(9))));
        assert!(picture.learn(key(2), None) && !picture.learn(key(2), None));
        assert!(picture.learn(key(3), Some(service(0))));
        assert_eq!(picture.services.keys().copied().collect::<Vec<_>>(), [key(1), key(3)]);
    }
}
