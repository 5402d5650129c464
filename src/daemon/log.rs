//! Words events for the log: one line for each change.

use ipvs_netlink::{Flags, ServiceConfig};

use crate::core::drift::{Ruling, Thing};
use crate::core::event::{Before, Event};
use crate::core::overrides::Override;
use crate::core::plan::{Action, Step};

/// Logs one event.
pub fn say(event: &Event) {
    match event {
        Event::Done { service, key, step, before } => {
            done(service.as_deref().unwrap_or("not in the config"), key, step, before);
        }
        Event::Failed { error } => tracing::error!(error, "failed, will be tried again"),
        Event::Works { what } => tracing::info!(what, "works again"),
        Event::Verdict { service, key, server, up, reason } => {
            let verdict = if *up { "up" } else { "down" };
            tracing::info!(service, vip = %key, %server, verdict, why = reason, "verdict, weight unchanged");
        }
        Event::AllDown { service, key, kept } if kept.is_empty() => {
            tracing::error!(service, vip = %key, "no server is up: clients are refused");
        }
        Event::AllDown { service, key, kept } => {
            let kept = kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            tracing::error!(
                service, vip = %key, kept,
                "all servers are down: the last healthy ones keep their weight, or nobody would answer"
            );
        }
        Event::TooFew { service, key, up, kept } => {
            let kept = kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            tracing::error!(
                service, vip = %key, up, kept,
                "fewer servers are up than `min_healthy`: these have weight, or the few that are left would be overrun"
            );
        }
        Event::Recovered { service, key } => {
            tracing::info!(service, vip = %key, "enough servers are up: weights follow the verdicts again");
        }
        Event::Quorum { service, key, reached: true } => {
            tracing::info!(service, vip = %key, "quorum reached")
        }
        Event::Quorum { service, key, reached: false } => tracing::error!(service, vip = %key, "quorum lost"),
        Event::Suspended { service, suspended: true } => {
            tracing::info!(service, "no VIP is here: its servers are not probed");
        }
        Event::Suspended { service, suspended: false } => {
            tracing::info!(service, "a VIP is here: its servers are probed");
        }
        Event::Left { key } => tracing::warn!(
            vip = %key,
            "no longer in the config, and not created by ipvsd: left as it is; `ipvsadm -D` removes it"
        ),
        Event::Drift { service, key, thing, what, ruling } => {
            let service = service.as_deref().unwrap_or("not in the config");
            let server = match thing {
                Thing::Service => "the service itself".to_owned(),
                Thing::Server(server) => server.to_string(),
            };
            match ruling {
                Some(Ruling::BackOff(wait)) => tracing::error!(
                    service, vip = %key, server, what, left_alone_for = ?wait,
                    "drift again and again: another program manages this"
                ),
                Some(_) => tracing::warn!(service, vip = %key, server, what, "drift, repaired"),
                None => tracing::warn!(service, vip = %key, server, what, "drift, only reported"),
            }
        }
        Event::RulesDrift { requests: vips, replies: servers, damage, again } => {
            let damage = damage.join("; ");
            match again {
                true => tracing::error!(
                    vips,
                    servers,
                    damage,
                    "drift, repaired again and again: another program manages the reply rules"
                ),
                false => tracing::warn!(
                    vips,
                    servers,
                    damage,
                    "drift, repaired: somebody else changed the reply rules"
                ),
            }
        }
        Event::EvictionPostponed { key, server } => tracing::warn!(
            vip = %key, %server,
            "connection entries pin clients to this server; they are evicted when another server has weight"
        ),
        Event::Waits { service, key, servers } => {
            let servers: Vec<_> =
                servers.iter().map(|(server, vip)| format!("{server} (answers for {vip})")).collect();
            tracing::info!(
                service, vip = %key, servers = servers.join(", "),
                "under NAT with OPS a server answers for one VIP: these get weight here when they have left the other"
            );
        }
        Event::GivesUp { service, key, circle } => {
            let circle = circle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ");
            tracing::warn!(
                service, vip = %key, circle,
                "the servers of these VIPs change places, and each waits for the next: this one goes first, \
                 its clients are refused until the server that it gets is free"
            );
        }
        Event::ReloadAsked { by } => tracing::info!(by, "an operator lets the config be read again"),
        Event::Overridden(Override { service, server, weight, by, until, since }) => {
            let lasts = until.map_or_else(
                || "until it is taken back".to_owned(),
                |until| humantime::format_duration(until.saturating_sub(*since)).to_string(),
            );
            tracing::warn!(service, %server, weight, by, lasts, "weight set by an operator");
        }
        Event::TakenBack { it: Override { service, server, weight, .. }, by: Some(by) } => {
            tracing::warn!(service, %server, weight, by, "weight set by an operator: taken back");
        }
        Event::TakenBack { it: Override { service, server, weight, .. }, by: None } => {
            tracing::warn!(service, %server, weight, "weight set by an operator: its time is over");
        }
        Event::Rules { requests, replies } => {
            tracing::info!(vips = requests, servers = replies, "reply rules changed");
        }
    }
}

fn done(service: &str, key: &ipvs_netlink::ServiceKey, step: &Step, before: &Before) {
    let why = step.why.as_str();
    let old = match before {
        Before::Server(config) => Some(config.weight),
        _ => None,
    };
    match &step.action {
        Action::AddService(config) => {
            let ServiceConfig { scheduler, flags, .. } = config;
            let ops = flags.contains(Flags::ONE_PACKET);
            tracing::info!(service, vip = %key, %scheduler, ops, why, "service added");
        }
        Action::SetService(_) => tracing::info!(service, vip = %key, why, "service changed"),
        Action::DeleteService => tracing::info!(service, vip = %key, why, "service deleted"),
        Action::AddServer(server, config) => {
            tracing::info!(service, vip = %key, %server, weight = config.weight, why, "server added");
        }
        Action::SetServer(server, config) => {
            let new = config.weight;
            if old == Some(new) {
                tracing::info!(service, vip = %key, %server, why, "server's forwarding changed");
            } else {
                let old = old.map_or("unknown".to_owned(), |old| old.to_string());
                let weight = format_args!("{old} → {new}");
                tracing::info!(service, vip = %key, %server, %weight, why, "weight changed");
            }
        }
        Action::DeleteServer(server) => {
            tracing::info!(service, vip = %key, %server, why, "server deleted");
        }
    }
}
