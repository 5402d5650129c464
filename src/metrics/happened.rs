//! How often what the daemon does has happened since it started.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::drift::{Ruling, Thing};
use crate::core::event::Event;
use crate::core::{Input, Output};

/// What is counted. Counts only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Steps that the kernel took; changes of the reply rules are one each.
    pub steps: u64,
    /// Those that failed, and looks at the kernel that did.
    pub errors: u64,
    /// Drift of services that was repaired.
    pub service_repairs: u64,
    /// Of servers.
    pub server_repairs: u64,
    /// Of the reply rules.
    pub rules_repairs: u64,
    /// Drift that was not repaired: the config has it so, or another program fights.
    pub unrepaired: u64,
    /// Reloads that were taken.
    pub reloads: u64,
    /// Those that were refused.
    pub refused_reloads: u64,
}

impl Happened {
    /// Counts what the core is told.
    pub fn input(&mut self, input: &Input) {
        match input {
            Input::Done(_, steps, failed) => {
                self.steps += (steps.len() - failed.len()) as u64;
                self.errors += failed.len() as u64;
            }
            Input::RulesDone(Ok(_)) => self.steps += 1,
            Input::RulesDone(Err(_)) | Input::FoundServices(Err(_)) | Input::FoundRules(Err(_)) => {
                self.errors += 1;
            }
            _ => {}
        }
    }

    /// Counts what the core says.
    pub fn output(&mut self, output: &Output) {
        match output {
            Output::Say(Event::Drift { thing, ruling: Some(Ruling::Repair), .. }) => match thing {
                Thing::Service => self.service_repairs += 1,
                Thing::Server(_) => self.server_repairs += 1,
            },
            Output::Say(Event::Drift { .. }) => self.unrepaired += 1,
            Output::Say(Event::RulesDrift { .. }) => self.rules_repairs += 1,
            _ => {}
        }
    }
}

/// How often the config was read again: this happens beside the loop.
#[derive(Debug, Default)]
pub struct Reloads {
    taken: AtomicU64,
    refused: AtomicU64,
}

impl Reloads {
    /// Counts one.
    pub fn count(&self, taken: bool) {
        let counter = if taken { &self.taken } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds them to what happened.
    pub fn add_to(&self, happened: &mut Happened) {
        happened.reloads = self.taken.load(Ordering::Relaxed);
        happened.refused_reloads = self.refused.load(Ordering::Relaxed);
    }
}
