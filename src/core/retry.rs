//! What failed is tried again with back-off, and said once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Time;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// What failed, and when it is tried again.
#[derive(Debug)]
pub struct Retries<S> {
    failures: BTreeMap<S, Failure>,
}

#[derive(Debug)]
struct Failure {
    error: String,
    wait: Duration,
    /// None: a new look at the kernel was asked for.
    at: Option<Time>,
    /// Its next try does not wait for that look.
    hurried: bool,
}

impl<S> Default for Retries<S> {
    fn default() -> Self {
        Self { failures: BTreeMap::new() }
    }
}

impl<S: Ord> Retries<S> {
    /// `subject` failed. Whether that is news: the first failure, or another error than before.
    pub fn failed(&mut self, subject: S, now: Time, error: &str) -> bool {
        let failure = self.failures.entry(subject).or_insert_with(|| Failure {
            error: String::new(),
            wait: FIRST / 2,
            at: None,
            hurried: false,
        });
        failure.hurried = false;
        failure.wait = (failure.wait * 2).min(LONGEST);
        failure.at = Some(now + failure.wait);
        let news = failure.error != error;
        failure.error = error.to_owned();
        news
    }

    /// `subject` succeeded, or has nothing left to do. Whether it had failed before and is over that: not before a new
    /// look at the kernel, since the failure said that the picture of it may be wrong.
    pub fn works(&mut self, subject: &S) -> bool {
        let looked = self.failures.get(subject).is_some_and(|failure| failure.at.is_none());
        looked && self.failures.remove(subject).is_some()
    }

    /// Whether `subject` has failed and its next try is not due.
    pub fn waits(&self, subject: &S, now: Time) -> bool {
        let waits = |failure: &Failure| !failure.hurried && failure.at.is_some_and(|at| at > now);
        self.failures.get(subject).is_some_and(waits)
    }

    /// The next try of `subject` is due at once, if it has failed at all.
    pub fn hurry(&mut self, subject: &S) {
        if let Some(failure) = self.failures.get_mut(subject) {
            failure.hurried = true;
        }
    }

    /// Whether any try is due.
    pub fn due(&self, now: Time) -> bool {
        self.failures.values().any(|failure| failure.at.is_some_and(|at| at <= now))
    }

    /// All that failed is being tried again.
    pub fn asked(&mut self) {
        self.failures.values_mut().for_each(|failure| failure.at = None);
    }

    /// When tries are due.
    pub fn times(&self) -> impl Iterator<Item = Time> {
        self.failures.values().filter_map(|failure| failure.at)
    }
}
