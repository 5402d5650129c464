//! A draft → a valid config, or errors.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipvs_netlink::{Family, Forward, SchedulerName};

use super::draft::{At, Draft, Field, ServerDraft, ServiceDraft};
use super::report::{Place, Problems};
use super::{MAX_DURATION, check, command, conflicts, persistence, rules, scheduler};
use crate::core::model::{Check, Commands, Config, Drift, Persistence, Policy, Server, Service, Vip};

const DRAIN: Duration = Duration::from_secs(5);

/// One service with what it takes from the defaults. What could not be read is `None`, and has its error.
pub struct Resolved<'a> {
    pub draft: &'a ServiceDraft,
    /// As errors call it: ``service `dns` ``.
    pub called: String,
    pub ops: Option<bool>,
    pub scheduler: Option<At<SchedulerName>>,
    pub scheduler_flags: Option<u32>,
    pub persistence: Option<Option<Persistence>>,
    pub forward: Option<At<Forward>>,
    pub checks: Option<Vec<Arc<Check>>>,
    /// Those of the servers that say it themselves.
    pub own_checks: Option<BTreeMap<SocketAddr, Box<[Arc<Check>]>>>,
    pub own_commands: Option<BTreeMap<SocketAddr, Commands>>,
    pub policy: Option<Policy>,
}

/// What the defaults say, judged once however many services use it.
struct Defaults {
    scheduler: Field<SchedulerName>,
    forward: Field<Forward>,
    checks: Field<Vec<Arc<Check>>>,
}

/// The config that a draft means; none if there is an error.
pub fn validate(draft: &Draft, problems: &mut Problems) -> Option<Config> {
    let defaults = Defaults {
        scheduler: draft.defaults.scheduler.judged(|at| scheduler::judge(at, problems)),
        forward: draft.defaults.forward.judged(|at| Some(at.value)),
        checks: draft.defaults.check.judged(|at| check::judge_all(&at.value, problems)),
    };
    let services = match &draft.services {
        Field::Given(list) => list.value.items.as_slice(),
        Field::Missing | Field::Broken => &[],
    };
    let none = match &draft.services {
        Field::Given(list) => list.value.items.is_empty() && list.value.whole,
        Field::Missing => true,
        Field::Broken => false,
    };
    if none {
        let place = draft.services.given().map_or(Place { start: 0, end: 0 }, |at| at.place);
        problems.error(place, "the config has no service").help("add a `[[service]]`");
    }
    let services: Vec<Resolved<'_>> =
        services.iter().map(|service| resolve(service, &defaults, problems)).collect();
    let mut advised = BTreeSet::new();
    for service in &services {
        rules::judge(service, &mut advised, problems);
    }
    conflicts::judge(&services, problems);
    if problems.has_errors() {
        return None;
    }
    let mut services = services.iter().map(build).collect::<Option<Vec<_>>>()?;
    share_checks(&mut services);
    Some(Config {
        services,
        kernel: draft.kernel,
        on_stop: draft.on_stop,
        refusals: draft.refusals,
        metrics: draft.metrics,
        notify: draft.notify.clone(),
    })
}

impl Resolved<'_> {
    /// The VIPs that could be read.
    pub fn listen(&self) -> &[At<Vip>] {
        self.draft.listen.given().map_or(&[], |at| &at.value.items)
    }

    /// The servers that could be read.
    pub fn servers(&self) -> &[ServerDraft] {
        self.draft.servers.given().map_or(&[], |at| &at.value.items)
    }

    /// The servers of a family that could be read.
    pub fn servers_of(&self, family: Family) -> impl Iterator<Item = &ServerDraft> {
        self.servers().iter().filter(move |server| Family::of(server.address.value.ip()) == family)
    }

    /// How packets reach a server; none where that could not be read.
    pub fn forward_to(&self, server: &ServerDraft) -> Option<At<Forward>> {
        match server.forward {
            Field::Missing => self.forward,
            field => field.given().copied(),
        }
    }

    /// How a server is asked; nothing where that could not be read.
    pub fn checks_of(&self, server: &ServerDraft) -> &[Arc<Check>] {
        let own = self.own_checks.as_ref().and_then(|own| own.get(&server.address.value));
        match (&server.check, own) {
            _ if server.fallback => &[],
            (Field::Missing, _) => self.checks.as_deref().unwrap_or_default(),
            (_, own) => own.map_or(&[], |own| own),
        }
    }

    /// Whether the reply rewrite stands behind a server for some VIP of its family.
    pub fn rewrites(&self, server: &ServerDraft) -> bool {
        let family = Family::of(server.address.value.ip());
        let nat = self.forward_to(server).is_some_and(|forward| forward.value == Forward::Masquerade);
        let mut vips = self.listen().iter().filter(|vip| vip.value.0.family() == family);
        self.ops == Some(true) && nat && vips.any(|vip| vip.value.udp().is_some())
    }
}

fn resolve<'a>(draft: &'a ServiceDraft, defaults: &Defaults, problems: &mut Problems) -> Resolved<'a> {
    let called = match &draft.name {
        Field::Given(name) => format!("service `{}`", name.value),
        Field::Missing | Field::Broken => "this service".to_owned(),
    };
    let own = draft.scheduler.judged(|at| scheduler::judge(at, problems));
    let scheduler = match own.or(&defaults.scheduler) {
        Field::Missing => "rr".parse().ok().map(|value| At { value, place: draft.place }),
        field => field.given().cloned(),
    };
    let forward = match draft.forward.or(&defaults.forward) {
        Field::Missing => Some(At { value: Forward::Masquerade, place: draft.place }),
        field => field.given().copied(),
    };
    let own = draft.check.judged(|at| check::judge_all(&at.value, problems));
    let checks = match own.or(&defaults.checks) {
        Field::Missing => no_check(draft, &called, problems).then(Vec::new),
        field => field.given().map(|at| at.value.clone()),
    };
    let own_checks = own_checks(draft, problems);
    let own_commands = own_commands(draft, problems);
    let datagrams = match &draft.listen {
        Field::Given(list) => {
            list.value.items.iter().any(|vip| vip.value.has_datagrams()) || !list.value.whole
        }
        Field::Missing | Field::Broken => true,
    };
    let ops = match &draft.ops {
        Field::Broken => None,
        Field::Given(at) if at.value && !datagrams => {
            problems
                .error(at.place, format!("{called} has no datagrams that could be scheduled one by one"))
                .help("remove `ops`: TCP and SCTP have connections");
            None
        }
        field => Some(field.value_or(datagrams && matches!(draft.persistence, Field::Missing))),
    };
    if let Some(drain) = draft.drain.given().filter(|drain| drain.value > MAX_DURATION) {
        problems.error(drain.place, "`drain` must be at most a day");
    }
    let scheduler_flags = scheduler::judge_flags(&draft.scheduler_flags, scheduler.as_ref(), problems);
    let persistence = persistence::judge(&draft.persistence, problems);
    let mut service = Resolved {
        draft,
        called,
        ops,
        scheduler,
        scheduler_flags,
        persistence,
        forward,
        checks,
        own_checks,
        own_commands,
        policy: None,
    };
    service.policy = draft.policy.judge(&service, problems);
    service
}

/// A service may do without a check where each of its servers has its own; an error where one has not.
fn no_check(draft: &ServiceDraft, called: &str, problems: &mut Problems) -> bool {
    let servers = draft.servers.given().map_or(&[][..], |at| &at.value.items);
    let mut asked = servers.iter().filter(|server| !server.fallback);
    let without = asked.find(|server| matches!(server.check, Field::Missing));
    if without.is_none() && !servers.is_empty() {
        return true;
    }
    let problem = problems
        .error(draft.place, format!("{called} has no check: a dead server would get its share for ever"))
        .help("add a `check` here or in `[defaults]`; `check = \"none\"` does without on purpose");
    if let Some(server) = without.filter(|_| servers.iter().any(|server| server.check.given().is_some())) {
        problem.related(server.address.place, "this server has none of its own");
    }
    false
}

/// None if there is an error.
fn own_checks(
    draft: &ServiceDraft,
    problems: &mut Problems,
) -> Option<BTreeMap<SocketAddr, Box<[Arc<Check>]>>> {
    let servers = draft.servers.given().map_or(&[][..], |at| &at.value.items);
    let (mut checks, mut valid) = (BTreeMap::new(), true);
    for server in servers {
        match &server.check {
            Field::Missing => {}
            Field::Given(at) if server.fallback => {
                problems.error(at.place, "a fallback is not checked").help("remove its `check`");
            }
            Field::Broken => valid = false,
            Field::Given(at) => match check::judge_all(&at.value, problems) {
                Some(own) => drop(checks.insert(server.address.value, own.into())),
                None => valid = false,
            },
        }
    }
    valid.then_some(checks)
}

/// None if there is an error.
fn own_commands(draft: &ServiceDraft, problems: &mut Problems) -> Option<BTreeMap<SocketAddr, Commands>> {
    let servers = draft.servers.given().map_or(&[][..], |at| &at.value.items);
    let (mut commands, mut valid) = (BTreeMap::new(), true);
    for server in servers {
        for field in [&server.on_up, &server.on_down] {
            if let Some(at) = field.given().filter(|_| server.fallback) {
                problems
                    .error(at.place, "a fallback is not checked: its state never turns")
                    .help("remove it");
            }
        }
        match (command::judge(&server.on_up, problems), command::judge(&server.on_down, problems)) {
            (Some(None), Some(None)) => {}
            (Some(on_up), Some(on_down)) => {
                commands.insert(server.address.value, Commands { on_up, on_down });
            }
            _ => valid = false,
        }
    }
    valid.then_some(commands)
}

/// Equal checks become one: thousands of services may say the same.
fn share_checks(services: &mut [Service]) {
    let mut known = BTreeSet::new();
    for check in services
        .iter_mut()
        .flat_map(|service| service.checks.iter_mut().chain(service.own_checks.values_mut().flatten()))
    {
        match known.get(check) {
            Some(same) => *check = Arc::clone(same),
            None => _ = known.insert(Arc::clone(check)),
        }
    }
}

fn build(service: &Resolved<'_>) -> Option<Service> {
    let server = |server: &ServerDraft| {
        let number = |field: &Field<i64>, default| u32::try_from(field.value_or(default)).ok();
        Some(Server {
            fallback: server.fallback,
            upper_threshold: number(&server.upper_threshold, 0)?,
            lower_threshold: number(&server.lower_threshold, 0)?,
            ..Server::new(server.address.value, number(&server.weight, 1)?, service.forward_to(server)?.value)
        })
    };
    let mut servers: Vec<Server> = service.servers().iter().map(server).collect::<Option<_>>()?;
    servers.shrink_to_fit();
    Some(Service {
        name: service.draft.name.given()?.value.clone(),
        listen: service.listen().iter().map(|vip| vip.value).collect(),
        ops: service.ops?,
        scheduler: service.scheduler.clone()?.value,
        scheduler_flags: service.scheduler_flags?,
        persistence: service.persistence.clone()?,
        forward: service.forward?.value,
        servers,
        checks: service.checks.clone()?,
        own_checks: service.own_checks.clone()?,
        own_commands: service.own_commands.clone()?,
        down_on_stop: service.draft.down_on_stop.value_or(false),
        ha_suspend: service.draft.ha_suspend.value_or(false),
        policy: service.policy.clone()?,
        drain: service.draft.drain.value_or(DRAIN),
        drift: service.draft.drift.value_or(Drift::default()),
    })
}
