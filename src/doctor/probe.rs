//! `--probe`: datagrams through the VIP from a client in a namespace of its own, counted at each hop of the director by a
//! table of its own, `inet ipvsd_doctor`. Both are gone when this ends, is interrupted, or runs the next time.

mod counters;
mod hops;
mod send;
mod space;

use std::net::{IpAddr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixListener};
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{DestinationKey, Forward, TunnelKind};

use super::facts::Facts;
use super::{Progress, program};
use crate::core::desired;
use crate::core::model::{Config, Service, Vip};
use crate::core::plan::FoundService;
use crate::health::protocol::{self, Protocol};
use crate::kernel::finding::Finding;
use counters::{Meters, TABLE};
use space::Space;

/// What goes through one VIP.
struct Course {
    /// The service's name.
    name: String,
    /// Where the datagrams go.
    vip: SocketAddr,
    /// How the servers are reached.
    forward: Forward,
    /// The servers that have weight.
    servers: Vec<SocketAddr>,
    /// What is asked; none where the service has no check by datagrams, and a mark is sent.
    question: Option<Question>,
}

/// A request and whether an answer must come.
#[derive(Clone, Debug)]
struct Question {
    protocol: Arc<dyn Protocol>,
    /// How long an answer may take.
    patience: Duration,
}

/// So many servers of a VIP are counted one by one.
const SERVERS: usize = 64;

/// Datagrams to each server, if the scheduler spreads them evenly.
const ROUNDS: usize = 2;

/// Sends datagrams through each VIP of the services of `scope` that the kernel has; findings, and what was done.
///
/// # Errors
/// What is missing to do it, in words.
pub async fn probe(
    scope: &Config,
    facts: &Facts,
    progress: &Progress,
) -> Result<(Vec<Finding>, Vec<String>), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root may make the network namespace that `--probe` needs".to_owned());
    }
    let services = facts.services.as_ref().ok_or("the IPVS table could not be read")?;
    // As long as it is bound no other probe counts here.
    let name = net::SocketAddr::from_abstract_name("ipvsd-doctor").map_err(|error| error.to_string())?;
    let _lock = UnixListener::bind_addr(&name).map_err(|error| {
        format!("another `ipvsd doctor --probe` runs in this network namespace ({error})")
    })?;
    progress.step("making a client for the probe");
    space::remove_stale();
    let vips = scope.services.iter().flat_map(|service| &service.listen);
    let vips: Vec<IpAddr> = vips.filter_map(|vip| Some(vip.udp()?.ip())).collect();
    let space = Space::make(facts, &vips).await?;
    let (mut findings, mut said) = (Vec::new(), Vec::new());
    for (key, place) in desired::listens(scope) {
        let service = &scope.services[place];
        let Some(vip) = Vip(key).udp() else {
            said.push(format!("{} of {}: not probed, for only datagrams are sent", Vip(key), service.name));
            continue;
        };
        match services.get(&key) {
            Some(found) if found.servers.values().any(|server| server.forward != service.forward) => {
                said.push(format!(
                    "{vip} of {}: not probed, for its servers are reached in several ways",
                    service.name
                ));
            }
            Some(found) => {
                progress.step(format!("probing {vip} of {}", service.name));
                let course = Course::of(service, vip, found);
                run(&course, &space, &mut findings, &mut said).await?;
            }
            None => said.push(format!("{vip} of {}: not probed, for IPVS has no such service", service.name)),
        }
    }
    Ok((findings, said))
}

impl Course {
    fn of(service: &Service, vip: SocketAddr, found: &FoundService) -> Course {
        let weighted = found.servers.iter().filter(|(_, config)| config.weight > 0);
        let servers = weighted.map(|(DestinationKey(server), _)| *server).take(SERVERS).collect();
        let answered = service.all_checks().find_map(|check| {
            let protocol = protocol::compile(&check.probe).ok()?;
            let asked = !protocol::silence_succeeds(&check.probe) && check.port.is_none();
            asked.then_some(Question { protocol, patience: check.timeout })
        });
        Course { name: service.name.clone(), vip, forward: service.forward, servers, question: answered }
    }

    /// Bytes of the outer headers before the inner IP header, counted from the transport header.
    fn outer(&self) -> Option<(Option<u16>, usize)> {
        match self.forward {
            Forward::Tunnel(tunnel) => Some(match tunnel.kind {
                TunnelKind::Gue { port } => (Some(port.get()), 12),
                TunnelKind::Gre => (None, 4),
                _ => (None, 0),
            }),
            _ => None,
        }
    }
}

async fn run(
    course: &Course,
    space: &Space,
    findings: &mut Vec<Finding>,
    said: &mut Vec<String>,
) -> Result<(), String> {
    let client = space.client(course.vip.ip());
    let meters = Meters::new(course, client);
    // What a probe that was killed has left.
    let _ = program::run("nft", &["delete", "table", "inet", TABLE]).await;
    program::run("nft", &[meters.table()]).await?;
    let count = (course.servers.len().max(1) * ROUNDS).min(SERVERS * ROUNDS);
    let received = send::send(space, course, count).await?;
    let listed = program::run("nft", &["-j", "list", "counters", "table", "inet", TABLE]).await?;
    let seen = meters.read(&listed, count as u64, received);
    let mut direct = Vec::new();
    for (place, server) in course.servers.iter().enumerate() {
        let asked = seen.unanswered(place) && course.forward == Forward::Masquerade;
        direct.push(match (&course.question, asked) {
            (Some(question), true) => Some(send::ask(question, *server).await),
            _ => None,
        });
    }
    said.push(hops::say(course, client, &seen));
    findings.extend(hops::judge(course, client, &seen, &direct));
    let _ = program::run("nft", &["delete", "table", "inet", TABLE]).await;
    Ok(())
}
