//! The task that owns the IPVS socket: looks, and steps in bounded windows of one send each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ipvs_netlink::{Error, Request, ServiceKey, request, tokio::Client};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::core::Input;
use crate::core::plan::{Action, Step};
use crate::kernel::look::Looks;

/// What the task is asked to do.
#[derive(Debug)]
pub enum Work {
    /// List all services, and the servers of these.
    Look(BTreeSet<ServiceKey>),
    /// The same, if a glance shows that anything has changed since the last look.
    Glance(BTreeSet<ServiceKey>),
    /// Do these steps for one service, in this order.
    Do(ServiceKey, Arc<[Step]>),
}

/// Between two windows a server's weight can go to 0 before other steps that were asked for earlier.
const WINDOW: usize = 64;

struct Batch {
    key: ServiceKey,
    steps: Arc<[Step]>,
    /// So many of them were done.
    done: usize,
    /// The places of those that failed, and why.
    failed: BTreeMap<usize, String>,
}

impl Batch {
    fn left(&self) -> &[Step] {
        &self.steps[self.done..]
    }
}

/// Works until the other end of `work` is dropped. A look comes after all steps that were asked for before it.
pub async fn run(mut client: Client, mut work: UnboundedReceiver<Work>, inputs: UnboundedSender<Input>) {
    let mut batches: VecDeque<Batch> = VecDeque::new();
    let mut look = None;
    let mut looks = Looks::default();
    loop {
        if batches.is_empty() {
            if let Some((own, always)) = look.take() {
                let input = looks.look(&mut client, own, always).await;
                let _ = inputs.send(input);
            }
            let Some(work) = work.recv().await else { return };
            accept(work, &mut batches, &mut look);
        }
        while let Ok(work) = work.try_recv() {
            accept(work, &mut batches, &mut look);
        }
        batches
            .make_contiguous()
            .sort_by_key(|batch| !batch.left().iter().any(|step| step.action.stops_traffic()));
        window(&mut client, &mut batches).await;
        while let Some(place) = batches.iter().position(|batch| batch.left().is_empty()) {
            let Some(batch) = batches.remove(place) else { break };
            looks.stepped(batch.key);
            let _ = inputs.send(Input::Done(batch.key, batch.steps, batch.failed));
        }
    }
}

/// Which servers a look is to list, and whether it is made in any case.
type Look = (BTreeSet<ServiceKey>, bool);

fn accept(work: Work, batches: &mut VecDeque<Batch>, look: &mut Option<Look>) {
    match work {
        Work::Look(own) => *look = Some((own, true)),
        Work::Glance(own) => *look = Some((own, look.take().is_some_and(|(_, always)| always))),
        Work::Do(key, steps) => batches.push_back(Batch { key, steps, done: 0, failed: BTreeMap::new() }),
    }
}

async fn window(client: &mut Client, batches: &mut VecDeque<Batch>) {
    let (mut sent, mut requests) = (Vec::new(), Vec::new());
    for (number, batch) in batches.iter_mut().enumerate() {
        let room = WINDOW - sent.len();
        for place in batch.done..batch.steps.len().min(batch.done + room) {
            match message(&batch.key, &batch.steps[place].action) {
                Ok(request) => {
                    requests.push(request);
                    sent.push((number, place));
                }
                Err(error) => drop(batch.failed.insert(place, error.to_string())),
            }
            batch.done = place + 1;
        }
    }
    let results = client.send_all(requests).await;
    for ((number, place), result) in sent.into_iter().zip(results) {
        let batch = &mut batches[number];
        match result {
            Ok(()) => {}
            // What was to go is gone.
            Err(Error::NoSuchService(_) | Error::NoSuchDestination(_))
                if matches!(batch.steps[place].action, Action::DeleteService | Action::DeleteServer(_)) => {}
            Err(error) => drop(batch.failed.insert(place, error.to_string())),
        }
    }
}

fn message(key: &ServiceKey, action: &Action) -> Result<Request<()>, Error> {
    Ok(match action {
        Action::AddService(config) => request::add_service(key, config)?,
        Action::SetService(config) => request::set_service(key, config)?,
        Action::DeleteService => request::delete_service(key),
        Action::AddServer(server, config) => request::add_destination(key, server, config),
        Action::SetServer(server, config) => request::set_destination(key, server, config),
        Action::DeleteServer(server) => request::delete_destination(key, server),
    })
}
