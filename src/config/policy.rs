//! What a service does with its verdicts: `when_all_down`, `min_healthy`, `slow_start`, `quorum` and its commands.

use std::time::Duration;

use super::MAX_DURATION;
use super::command::{self, CommandDraft};
use super::draft::{At, Field, ServerDraft};
use super::report::Problems;
use super::scheduler;
use super::toml_table::{Table, Value, place};
use super::toml_value::{choice, duration, number};
use super::validate::Resolved;
use crate::core::model::{Amount, Policy, Quorum, Vip, WhenAllDown};

/// The keys of a service that are read here.
pub const KEYS: [&str; 7] =
    ["when_all_down", "min_healthy", "slow_start", "quorum", "hysteresis", "on_up", "on_down"];

/// What the file says.
#[derive(Debug)]
pub struct PolicyDraft {
    when_all_down: Field<WhenAllDown>,
    min_healthy: Field<AmountDraft>,
    slow_start: Field<Duration>,
    quorum: Field<i64>,
    hysteresis: Field<i64>,
    on_up: Field<CommandDraft>,
    on_down: Field<CommandDraft>,
}

/// So many, or so many of a hundred.
#[derive(Clone, Copy, Debug)]
enum AmountDraft {
    Count(i64),
    Percent(i64),
}

impl PolicyDraft {
    /// The keys of a service's table that are about this.
    pub fn read(table: &Table<'_>, problems: &mut Problems) -> Self {
        let words = [
            ("keep", WhenAllDown::Keep),
            ("refuse", WhenAllDown::Refuse),
            ("fallback", WhenAllDown::Fallback),
        ];
        Self {
            when_all_down: table.get("when_all_down", problems, |v, p| choice(v, &words, p)),
            min_healthy: table.get("min_healthy", problems, amount),
            slow_start: table.get("slow_start", problems, duration),
            quorum: table.get("quorum", problems, number),
            hysteresis: table.get("hysteresis", problems, number),
            on_up: table.get("on_up", problems, command::read),
            on_down: table.get("on_down", problems, command::read),
        }
    }

    /// The policy with its defaults; none if there is an error.
    pub fn judge(&self, service: &Resolved<'_>, problems: &mut Problems) -> Option<Policy> {
        let when_all_down = self.when_all_down(service, problems);
        let min_healthy = self.min_healthy(service, problems);
        let slow_start = self.slow_start(service, problems);
        let quorum = self.quorum(service, problems);
        Some(Policy {
            when_all_down: when_all_down?,
            min_healthy: min_healthy?,
            slow_start: slow_start?,
            quorum: quorum?,
        })
    }

    /// Who names a fallback wants it used.
    fn when_all_down(&self, service: &Resolved<'_>, problems: &mut Problems) -> Option<WhenAllDown> {
        let fallback = service.servers().iter().find(|server| server.fallback);
        match (&self.when_all_down, fallback) {
            (Field::Broken, _) => None,
            (Field::Missing, Some(_)) => Some(WhenAllDown::Fallback),
            (Field::Missing, None) => Some(WhenAllDown::default()),
            (Field::Given(At { value: WhenAllDown::Fallback, place }), None) => {
                let whole = service.draft.servers.given().is_some_and(|servers| servers.value.whole);
                if whole {
                    problems
                        .error(*place, format!("{} has no fallback", service.called))
                        .help("`fallback = \"10.0.1.99:53\"`, a server that is used while no other is up");
                }
                None
            }
            (Field::Given(At { value: WhenAllDown::Fallback, .. }), Some(_)) => Some(WhenAllDown::Fallback),
            (Field::Given(at), Some(server)) => {
                problems
                    .error(at.place, "the fallback would never be used")
                    .related(server.address.place, "the fallback")
                    .help("`when_all_down = \"fallback\"`, which is the default with a fallback");
                None
            }
            (Field::Given(at), None) => Some(at.value),
        }
    }

    fn min_healthy(&self, service: &Resolved<'_>, problems: &mut Problems) -> Option<Option<Amount>> {
        let at = match &self.min_healthy {
            Field::Missing => return Some(None),
            Field::Broken => return None,
            Field::Given(at) => at,
        };
        let amount = match at.value {
            AmountDraft::Percent(percent) => {
                let at = At { value: percent, place: at.place };
                return at
                    .within("the percentage", 1..=100, problems)
                    .map(|percent| Some(Amount::Percent(percent)));
            }
            AmountDraft::Count(count) => At { value: count, place: at.place },
        };
        let amount = amount.within("`min_healthy`", 1..=u32::MAX, problems)?;
        // Behind each VIP are the servers of its family.
        let behind =
            |vip: &At<Vip>| service.servers_of(vip.value.0.family()).filter(|server| usable(server)).count();
        let fewest = service.listen().iter().map(behind).filter(|count| *count > 0).min();
        if fewest.is_some_and(|fewest| amount as usize > fewest) && knows_servers(service) {
            problems.error(at.place, format!("{} would always have too few servers", service.called)).help(
                format!("a VIP has {} with weight; or say a percentage: \"50%\"", fewest.unwrap_or_default()),
            );
            return None;
        }
        Some(Some(Amount::Count(amount)))
    }

    fn slow_start(&self, service: &Resolved<'_>, problems: &mut Problems) -> Option<Duration> {
        let at = match &self.slow_start {
            Field::Missing => return Some(Duration::ZERO),
            Field::Broken => return None,
            Field::Given(at) if at.value > MAX_DURATION => {
                problems.error(at.place, "`slow_start` must be at most a day");
                return None;
            }
            Field::Given(at) => at,
        };
        if at.value.is_zero() {
            return Some(Duration::ZERO);
        }
        let scheduler = service.scheduler.as_ref()?;
        if scheduler::ignores_weights(&scheduler.value) {
            problems
                .error(at.place, format!("a slow start ramps weights, which `{}` ignores", scheduler.value))
                .related(scheduler.place, "the scheduler")
                .help("`scheduler = \"wrr\"` heeds them");
            return None;
        }
        let all_small = service
            .servers()
            .iter()
            .filter(|server| usable(server))
            .all(|server| !matches!(server.weight, Field::Broken) && server.weight.value_or(1) < 2);
        if all_small && knows_servers(service) {
            problems
                .error(at.place, "a weight of 1 leaves nothing to ramp")
                .help("give each server a larger weight, such as 100: ten steps of 10");
            return None;
        }
        Some(at.value)
    }

    fn quorum(&self, service: &Resolved<'_>, problems: &mut Problems) -> Option<Quorum> {
        let weight = match &self.quorum {
            Field::Missing => Some(1),
            Field::Broken => None,
            Field::Given(at) => at.within("`quorum`", 1..=u32::MAX, problems),
        };
        let hysteresis = match &self.hysteresis {
            Field::Missing => Some(0),
            Field::Broken => None,
            Field::Given(at) => {
                at.within("`hysteresis`", 0..=weight.map_or(u32::MAX, |weight| weight - 1), problems)
            }
        };
        let on_up = command::judge(&self.on_up, problems);
        let on_down = command::judge(&self.on_down, problems);
        let (weight, hysteresis) = (weight?, hysteresis?);
        let behind = |vip: &At<Vip>| -> i64 {
            let servers = service.servers_of(vip.value.0.family()).filter(|server| usable(server));
            servers.map(|server| server.weight.value_or(1)).sum()
        };
        let least = service.listen().iter().map(behind).min();
        if let (Some(at), Some(least)) = (self.quorum.given(), least)
            && i64::from(weight) + i64::from(hysteresis) > least
            && knows_servers(service)
        {
            problems
                .error(at.place, format!("{} could never reach its quorum", service.called))
                .help(format!("the weights of a VIP's servers add up to {least}; `quorum` and `hysteresis` together must not exceed it"));
            return None;
        }
        Some(Quorum { weight, hysteresis, on_up: on_up?, on_down: on_down? })
    }
}

/// No entry of `servers` could not be read.
fn knows_servers(service: &Resolved<'_>) -> bool {
    let servers = service.draft.servers.given();
    servers.is_some_and(|servers| servers.value.whole)
        && service.servers().iter().all(|server| !matches!(server.weight, Field::Broken))
}

fn usable(server: &ServerDraft) -> bool {
    !server.fallback && server.weight.value_or(1) > 0
}

fn amount(value: Value<'_>, problems: &mut Problems) -> Option<AmountDraft> {
    let Some(text) = value.get_ref().as_str() else {
        return number(value, problems).map(AmountDraft::Count);
    };
    let percent = text.strip_suffix('%').and_then(|digits| digits.trim_end().parse().ok());
    if percent.is_none() {
        problems
            .error(place(value), format!("`{text}` is neither a number nor a percentage"))
            .help("2 or \"50%\"");
    }
    percent.map(AmountDraft::Percent)
}
