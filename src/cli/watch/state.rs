//! What `ipvsd watch` knows: the last answer, what changed between the answers, and where the operator is in it. No terminal, no clock.

use std::collections::VecDeque;
use std::time::Duration;

use super::changes::{Change, between};
use super::question::Question;
use super::series::{Key, Series, key};
use crate::core::status::{ServerStatus, ServiceStatus, Status};

/// So many changes are kept.
const CHANGES: usize = 200;

/// A daemon that has said nothing for so long is shown as silent.
const SILENT: Duration = Duration::from_secs(4);

/// All of it.
pub struct State {
    /// The last answer.
    pub status: Status,
    /// The services and servers that the filter lets through, in the order of the answer.
    pub rows: Vec<Row>,
    /// Which of them is chosen.
    pub chosen: usize,
    /// Which of them is the first that is seen.
    pub top: usize,
    /// How many of them are seen at a time.
    pub page: usize,
    /// What a row must contain.
    pub filter: String,
    /// Packets per second that came in, of each service and server.
    pub series: Series,
    /// Newest first.
    pub changes: VecDeque<Change>,
    /// For how long the daemon has said nothing.
    pub silence: Duration,
    /// Why it gave no answer when it was asked last.
    pub trouble: Option<String>,
    /// What became of what the operator did last, and whether it failed.
    pub outcome: Option<(String, bool)>,
    /// What keys are for.
    pub mode: Mode,
}

/// What keys are for.
pub enum Mode {
    /// To move in the list, and to begin something.
    List,
    /// To write the filter.
    Filter,
    /// To end the help.
    Help,
    /// To answer this.
    Question(Question),
}

/// A line of the list: places in the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The service.
    pub service: usize,
    /// The server; none: the line of the service itself.
    pub server: Option<usize>,
}

impl State {
    /// After the first answer.
    pub fn new(status: Status) -> Self {
        let mut state = Self {
            status,
            rows: Vec::new(),
            chosen: 0,
            top: 0,
            page: 1,
            filter: String::new(),
            series: Series::default(),
            changes: VecDeque::new(),
            silence: Duration::ZERO,
            trouble: None,
            outcome: None,
            mode: Mode::List,
        };
        state.series.add(&state.status);
        state.list(None);
        state
    }

    /// Takes an answer, or why there is none.
    pub fn told(&mut self, told: Result<Status, String>) {
        match told {
            Ok(status) => {
                let chosen = self.key();
                for change in between(&self.status, &status) {
                    self.changes.push_front(change);
                }
                self.changes.truncate(CHANGES);
                if self.status.counted != status.counted {
                    self.series.add(&status);
                }
                self.status = status;
                self.trouble = None;
                self.silence = Duration::ZERO;
                self.list(chosen);
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// Why what is shown may no longer be so.
    pub fn stale(&self) -> Option<&str> {
        match &self.trouble {
            Some(why) => Some(why),
            None if self.silence >= SILENT => Some("it was asked, and says nothing"),
            None => None,
        }
    }

    /// The chosen service, and the server of it if the line is one of a server.
    pub fn choice(&self) -> Option<(&ServiceStatus, Option<&ServerStatus>)> {
        self.rows.get(self.chosen).map(|row| self.of(*row))
    }

    /// What a row is about.
    pub fn of(&self, row: Row) -> (&ServiceStatus, Option<&ServerStatus>) {
        let service = &self.status.services[row.service];
        (service, row.server.map(|place| &service.servers[place]))
    }

    /// Chooses the row that is so many further down, or up.
    pub fn go(&mut self, by: isize) {
        self.chosen = self.chosen.saturating_add_signed(by).min(self.rows.len().saturating_sub(1));
    }

    /// Lets only those through that contain this.
    pub fn filter(&mut self, filter: String) {
        let chosen = self.key();
        self.filter = filter;
        self.list(chosen);
    }

    /// What is chosen, by what the next answer has, too.
    fn key(&self) -> Option<Key> {
        self.choice().map(|(service, server)| key(service, server))
    }

    /// Makes the rows, and chooses what was chosen before, if it is still there.
    fn list(&mut self, chosen: Option<Key>) {
        let filter = &self.filter;
        self.rows.clear();
        for (place, it) in self.status.services.iter().enumerate() {
            let whole = it.name.contains(filter) || it.vip.to_string().contains(filter);
            let through = |server: &ServerStatus| {
                let verdict = crate::cli::status::verdict(server).0;
                whole || server.address.to_string().contains(filter) || verdict == filter
            };
            let servers = it.servers.iter().enumerate().filter(|(_, server)| through(server));
            let before = self.rows.len();
            self.rows.push(Row { service: place, server: None });
            self.rows.extend(servers.map(|(server, _)| Row { service: place, server: Some(server) }));
            if !whole && self.rows.len() == before + 1 {
                self.rows.pop();
            }
        }
        let is = |row: &Row| {
            let (service, server) = self.of(*row);
            chosen == Some(key(service, server))
        };
        match self.rows.iter().position(is) {
            Some(place) => self.chosen = place,
            None => self.go(0),
        }
    }
}
