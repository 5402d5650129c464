//! What is asked at the admin sockets, answered by the loop; what takes time is done beside it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::notes::{About, notes};
use super::recorder::HistoryFile;
use super::reload;
use super::tasks::Tasks;
use crate::admin::{self, Health, Planned, Rejected, Reload, Request, Words};
use crate::config::heeds_weight;
use crate::core::Input;
use crate::core::history::Note;
use crate::core::overrides::Override;
use crate::core::probes::Probes;
use crate::core::status::{Status, means};
use crate::metrics::Observed;

/// A task of the daemon that owes an answer for longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// So much of the history is told.
const NOTES: usize = 100;

/// What requests are passed on to.
pub struct Requests {
    /// The config's file.
    pub config: PathBuf,
    pub reloads: UnboundedSender<Reload>,
}

impl Requests {
    /// Answers one. Whoever asked may have gone.
    pub fn answer(&self, request: Request, tasks: &mut Tasks) {
        match request {
            Request::History { service, server, answer } => {
                drop(tokio::spawn(history(About { service: Some(service), server }, answer)));
            }
            Request::Status { traffic: false, answer } => drop(answer.send(tasks.status())),
            Request::Status { traffic: true, answer } => {
                let figures = figures(tasks, true);
                tokio::spawn(async move { answer.send(figures.await.0) });
            }
            Request::Health(answer) => {
                let hangs = tasks.progress.hanging(Instant::now(), PATIENCE);
                drop(answer.send(Health { hangs, unready: tasks.unready() }));
            }
            Request::Metrics(answer) => {
                let (figures, happened) = (figures(tasks, false), tasks.happened());
                tokio::spawn(async move {
                    let (status, probes) = figures.await;
                    answer.send(Observed { status, probes, happened })
                });
            }
            Request::Reload(reload) => drop(self.reloads.send(reload)),
            Request::Plan(answer) => drop(tokio::spawn(plan(self.config.clone(), answer))),
            Request::Override(words, answer) => drop(answer.send(say(tasks, words))),
            Request::TakeBack(words, answer) => drop(answer.send(take_back(tasks, &words))),
        }
    }
}

/// The files may be long: read on a thread of its own.
async fn history(about: About, answer: oneshot::Sender<Result<Vec<Note>, String>>) {
    let read = tokio::task::spawn_blocking(move || {
        let lines = HistoryFile::in_directory(admin::state_directory()).lines()?;
        Ok::<_, io::Error>(notes(lines, &about, NOTES))
    });
    let read = read.await.map_err(io::Error::other).flatten();
    let _ = answer.send(read.map_err(|error| error.to_string()));
}

/// How everything stands, with what went through services and servers and what became of probes; and the latter by check.
fn figures(tasks: &Tasks, rates: bool) -> impl Future<Output = (Status, Probes)> + use<> {
    let mut status = tasks.status();
    let own = status.services.iter().map(|service| service.vip.0).collect();
    let figures = tasks.figures(own, rates);
    async move {
        let (probes, counters) = figures.await;
        status.probed(&probes);
        if let Some(counters) = counters {
            status.count(&counters);
        }
        (status, probes)
    }
}

async fn plan(config: PathBuf, answer: oneshot::Sender<Planned>) {
    let _ = answer.send(planned(&config).await);
}

async fn planned(config: &Path) -> Planned {
    let loaded = reload::load(config).await?;
    let changes = super::plan(&loaded.config).await;
    let changes = changes.map_err(|refusal| Rejected::Machine(refusal.to_string()))?;
    Ok((changes, loaded.warnings))
}

fn say(tasks: &mut Tasks, words: Words) -> Result<Override, String> {
    let status = tasks.status();
    let server = find(&status, &words.service, &words.server)?;
    let scheduler =
        status.services.iter().find(|it| it.name == words.service).map(|it| it.scheduler.as_str());
    if let (1.., Some(scheduler)) = (words.weight, scheduler.filter(|name| heeds_weight(name) == Some(false)))
    {
        return Err(format!(
            "the scheduler {scheduler} of service \"{}\" does not heed weights: only 0 (`ipvsd drain`) makes a \
             difference; `scheduler = \"wrr\"` heeds them",
            words.service
        ));
    }
    if words.weight == 0
        && !words.force
        && let Some(vip) = tasks.would_empty(&words.service, server)
    {
        return Err(format!(
            "{server} is the last server with weight behind {vip}: without it all clients are refused; `--force` \
             (\"force\": true) drains it nevertheless"
        ));
    }
    let it = Override {
        service: words.service,
        server,
        weight: words.weight,
        by: words.by,
        since: status.now,
        until: words.lasts.map(|lasts| status.now.saturating_add(lasts)),
    };
    tasks.input(Input::Override(it.clone()));
    Ok(it)
}

fn take_back(tasks: &mut Tasks, words: &Words) -> Result<Override, String> {
    let status = tasks.status();
    let said = |server: &SocketAddr| {
        let of = |it: &&Override| it.service == words.service && it.server == *server;
        status.overrides.iter().find(of)
    };
    // One that the config does not name any more, too.
    let server = match words.server.parse().ok().filter(|server| said(server).is_some()) {
        Some(server) => server,
        None => find(&status, &words.service, &words.server)?,
    };
    let Some(it) = said(&server) else {
        return Err(format!("no operator has said anything about {server} of service \"{}\"", words.service));
    };
    let (service, by) = (words.service.clone(), words.by);
    tasks.input(Input::TakeBack { service, server, by });
    Ok(it.clone())
}

/// The server of the config that these words mean.
fn find(status: &Status, service: &str, server: &str) -> Result<SocketAddr, String> {
    let of = status.clone().of(Some(service), None)?;
    let configured = of.services.iter().flat_map(|it| &it.servers).filter(|it| it.configured.is_some());
    let mut servers: Vec<SocketAddr> = configured.map(|it| it.address).collect();
    servers.sort();
    servers.dedup();
    let found: Vec<&SocketAddr> = servers.iter().filter(|it| means(server, **it)).collect();
    let list = |servers: &mut dyn Iterator<Item = &SocketAddr>| {
        servers.take(20).map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    match found[..] {
        [one] => Ok(*one),
        [] => {
            Err(format!("service \"{service}\" has no server {server}; it has {}", list(&mut servers.iter())))
        }
        _ => Err(format!(
            "service \"{service}\" has several servers {server}: {}",
            list(&mut found.into_iter())
        )),
    }
}
