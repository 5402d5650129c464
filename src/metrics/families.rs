//! What is served, family by family. `docs/metrics.md` has the same list; a test compares them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Observed;
use crate::core::pool::Standing;
use crate::core::probes::{BOUNDS, Ended, Tally};
use crate::core::status::{ServerStatus, ServiceStatus};
use crate::core::traffic::{Flow, Traffic};

/// Encodes what was observed.
#[derive(Debug)]
pub struct Families(pub Observed);

type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

impl Collector for Families {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        self.daemon(&mut to)?;
        self.services(&mut to)?;
        self.servers(&mut to)?;
        self.probes(&mut to)
    }
}

fn gauge<'a>(
    to: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    to.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn counter<'a>(
    to: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    to.encode_descriptor(name, help, None, MetricType::Counter)
}

fn set<const N: usize>(family: &mut MetricEncoder<'_>, labels: Labels<'_, N>, value: f64) -> fmt::Result {
    family.encode_family(&labels)?.encode_gauge(&value)
}

fn total<const N: usize>(family: &mut MetricEncoder<'_>, labels: Labels<'_, N>, value: u64) -> fmt::Result {
    family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn number(is: bool) -> f64 {
    f64::from(u8::from(is))
}

impl Families {
    fn daemon(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Observed { status, happened: it, .. } = &self.0;
        to.encode_descriptor("ipvsd_build", "The version of ipvsd", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let age = |since: Duration| status.now.saturating_sub(since).as_secs_f64();
        let ready = "Every server has had its first verdict, and the kernel is as it is to be";
        let failing = "What failed and is tried again: services, the reply rules, looks at the kernel";
        let read = "How long ago the kernel's table was read, or seen to be unchanged";
        let counted = "How long ago packets and bytes were read";
        let overrides = "Servers whose weight an operator has set";
        for (name, help, value) in [
            ("ipvsd_ready", ready, Some(number(status.ready))),
            ("ipvsd_failing", failing, Some(status.failing.len() as f64)),
            ("ipvsd_observation_age_seconds", read, status.read.map(age)),
            ("ipvsd_counters_age_seconds", counted, status.counted.map(age)),
            ("ipvsd_overrides", overrides, Some(status.overrides.len() as f64)),
        ] {
            if let Some(value) = value {
                gauge(to, name, help)?.encode_gauge(&value)?;
            }
        }
        for (name, help, value) in [
            ("ipvsd_steps", "Changes that the kernel took", it.steps),
            ("ipvsd_apply_errors", "Changes and looks that the kernel refused", it.errors),
            ("ipvsd_drift_unrepaired", "What somebody else changed, and was left so", it.unrepaired),
        ] {
            counter(to, name, help)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let mut repairs = counter(to, "ipvsd_drift_repairs", "What somebody else changed, and was repaired")?;
        let drift =
            [("service", it.service_repairs), ("server", it.server_repairs), ("rules", it.rules_repairs)];
        for (thing, count) in drift {
            total(&mut repairs, [("thing", thing)], count)?;
        }
        let mut reloads = counter(to, "ipvsd_reloads", "How often the config was read again")?;
        total(&mut reloads, [("result", "taken")], it.reloads)?;
        total(&mut reloads, [("result", "refused")], it.refused_reloads)
    }

    fn services(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let vips: Vec<(&ServiceStatus, String)> =
            self.0.status.services.iter().map(|it| (it, it.vip.to_string())).collect();
        type Value = fn(&ServiceStatus) -> Option<f64>;
        let gauges: [(&str, &str, Value); 6] = [
            ("ipvsd_service_present", "The service is in the kernel", |it| Some(number(it.present))),
            ("ipvsd_service_servers", "Servers in the config, fallbacks apart", |it| {
                let counts = |server: &&ServerStatus| server.configured.is_some() && !server.fallback;
                Some(it.servers.iter().filter(counts).count() as f64)
            }),
            (
                "ipvsd_service_servers_up",
                "Servers that are up by their verdicts, drained ones and fallbacks apart",
                |it| Some(it.up as f64),
            ),
            ("ipvsd_service_servers_minimum", "With fewer servers up the service fails open", |it| {
                Some(it.minimum as f64)
            }),
            ("ipvsd_service_weight", "The weights in the kernel of all servers together", |it| {
                Some(it.servers.iter().filter_map(|server| server.weight).map(f64::from).sum())
            }),
            ("ipvsd_service_quorum", "The quorum is reached", |it| it.quorum.map(number)),
        ];
        for (name, help, value) in gauges {
            let mut family = gauge(to, name, help)?;
            for (it, vip) in &vips {
                if let Some(value) = value(it) {
                    set(&mut family, [("service", &it.name), ("vip", vip)], value)?;
                }
            }
        }
        for (name, help, value) in
            FLOWS.map(|(what, help, value)| (format!("ipvsd_service_{what}"), help, value))
        {
            let mut family = counter(to, &name, help)?;
            for (it, vip) in &vips {
                for (direction, flow) in it.traffic.iter().flat_map(directions) {
                    let labels = [("service", it.name.as_str()), ("vip", vip), ("direction", direction)];
                    total(&mut family, labels, value(flow))?;
                }
            }
        }
        Ok(())
    }

    /// Each family goes through all servers: there may be tens of thousands, whose addresses are put into words for each.
    fn servers(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Value = fn(&ServerStatus) -> Option<f64>;
        let gauges: [(&str, &str, Value); 3] = [
            ("ipvsd_server_up", "The server is up by its checks", |it| match it.verdict {
                Standing::Up => Some(1.0),
                Standing::Down => Some(0.0),
                Standing::Unknown | Standing::Unchecked => None,
            }),
            ("ipvsd_server_weight", "The weight in the kernel", |it| it.weight.map(f64::from)),
            ("ipvsd_server_configured_weight", "The weight in the config", |it| it.configured.map(f64::from)),
        ];
        for (name, help, value) in gauges {
            let mut family = gauge(to, name, help)?;
            self.each_server(|labels, it| value(it).map_or(Ok(()), |value| set(&mut family, labels, value)))?;
        }
        for (name, help, value) in
            FLOWS.map(|(what, help, value)| (format!("ipvsd_server_{what}"), help, value))
        {
            let mut family = counter(to, &name, help)?;
            self.each_server(|[service, vip, server], it| {
                for (direction, flow) in it.traffic.iter().flat_map(directions) {
                    total(&mut family, [service, vip, server, ("direction", direction)], value(flow))?;
                }
                Ok(())
            })?;
        }
        let mut family = gauge(
            to,
            "ipvsd_probe_latency_seconds",
            "How long the last right answer took, the slowest of one type of check",
        )?;
        self.each_server(|[service, vip, server], it| {
            // A server may have several checks of one type, and a series has one value.
            let mut slowest: BTreeMap<&str, Duration> = BTreeMap::new();
            for check in &it.checks {
                if let Some(latency) = check.last.and_then(|last| last.latency) {
                    let known = slowest.entry(&check.check).or_default();
                    *known = latency.max(*known);
                }
            }
            for (check, latency) in slowest {
                set(&mut family, [service, vip, server, ("check", check)], latency.as_secs_f64())?;
            }
            Ok(())
        })
    }

    fn each_server(&self, mut say: impl FnMut(Labels<'_, 3>, &ServerStatus) -> fmt::Result) -> fmt::Result {
        for service in &self.0.status.services {
            let vip = service.vip.to_string();
            for it in &service.servers {
                say([("service", &service.name), ("vip", &vip), ("server", &it.address.to_string())], it)?;
            }
        }
        Ok(())
    }

    fn probes(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let checks = &self.0.probes.checks;
        let mut results =
            counter(to, "ipvsd_probe_results", "Probes that ended, by type of check and by result")?;
        for (check, tally) in checks {
            for (ended, count) in Ended::ALL.iter().zip(tally.ended) {
                total(&mut results, [("check", check), ("result", ended.word())], count)?;
            }
        }
        let help = "How long right answers took, by type of check";
        let mut family =
            to.encode_descriptor("ipvsd_probe_duration_seconds", help, None, MetricType::Histogram)?;
        for (check, tally) in checks {
            histogram(&mut family, check, tally)?;
        }
        Ok(())
    }
}

fn histogram(family: &mut MetricEncoder<'_>, check: &'static str, tally: &Tally) -> fmt::Result {
    let bounds = BOUNDS.iter().map(|micros| f64::from(*micros) / 1e6).chain([f64::INFINITY]);
    let classes: Vec<(f64, u64)> = bounds.zip(tally.classes).collect();
    let (sum, count) = (tally.micros as f64 / 1e6, tally.classes.iter().sum());
    family.encode_family(&[("check", check)])?.encode_histogram::<NoLabelSet>(sum, count, &classes, None)
}

type Value = fn(Flow) -> u64;
const FLOWS: [(&str, &str, Value); 2] = [
    ("packets", "Packets from clients (in) and replies (out)", |flow| flow.packets),
    ("bytes", "Bytes, IP headers included, from clients (in) and of replies (out)", |flow| flow.bytes),
];

fn directions(traffic: &Traffic) -> [(&'static str, Flow); 2] {
    [("in", traffic.incoming), ("out", traffic.outgoing)]
}
