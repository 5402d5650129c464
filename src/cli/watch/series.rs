//! Rates of the last minute or so, for sparklines.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use crate::cli::words::short;
use crate::core::model::Vip;
use crate::core::status::{ServerStatus, ServiceStatus, Status};
use crate::core::traffic::Traffic;

/// So many rates are kept of each; 10 000 servers take 3 MB.
const RATES: usize = 60;

/// Names a service by its VIP and port, or a server of it.
pub type Key = (Vip, Option<SocketAddr>);

/// The key of a line of the list.
pub fn key(service: &ServiceStatus, server: Option<&ServerStatus>) -> Key {
    (service.vip, server.map(|server| server.address))
}

/// Packets per second that came in.
#[derive(Default)]
pub struct Series(HashMap<Key, VecDeque<u32>>);

impl Series {
    /// Adds the rates of a status, and forgets what it does not have.
    pub fn add(&mut self, status: &Status) {
        let mut before = std::mem::take(&mut self.0);
        for service in &status.services {
            let servers = service.servers.iter().map(|it| (Some(it), it.traffic));
            for (server, traffic) in std::iter::once((None, service.traffic)).chain(servers) {
                let key = key(service, server);
                let mut rates = before.remove(&key).unwrap_or_default();
                if let Some(rate) = traffic.and_then(|it| it.incoming.rate) {
                    rates.truncate(RATES - 1);
                    // Where a rate is no number or too large for one, the nearest that is.
                    rates.push_front(rate.packets.ceil() as u32);
                }
                self.0.insert(key, rates);
            }
        }
    }

    /// Newest first.
    pub fn of(&self, key: &Key) -> impl Iterator<Item = u64> {
        self.0.get(key).into_iter().flatten().map(|rate| u64::from(*rate))
    }
}

/// Packets per second in and out, where they are known: `0`, `950`, `12.3k`.
pub fn rates(traffic: Option<Traffic>) -> [String; 2] {
    let said = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), short);
    match traffic {
        Some(it) => [it.incoming, it.outgoing].map(|flow| said(flow.rate.map(|rate| rate.packets))),
        None => [None; 2].map(said),
    }
}
