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
    at: Next,
    /// Its next try does not wait for a look at the kernel.
    hurried: bool,
}

/// When it is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    At(Time),
    /// A look at the kernel is under way.
    Looking,
    /// The kernel was read since.
    Looked,
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
            at: Next::Looked,
            hurried: false,
        });
        failure.hurried = false;
        failure.wait = (failure.wait * 2).min(LONGEST);
        failure.at = Next::At(now + failure.wait);
        let news = failure.error != error;
        failure.error = error.to_owned();
        news
    }

    /// `subject` succeeded, or has nothing left to do. Whether it had failed before and is over that: not before a new
    /// look at the kernel, since the failure said that the picture of it may be wrong.
    pub fn works(&mut self, subject: &S) -> bool {
        let looked = self.failures.get(subject).is_some_and(|failure| failure.at == Next::Looked);
        looked && self.failures.remove(subject).is_some()
    }

    /// `subject` was done since, whatever the picture of the kernel. Whether it had failed before.
    pub fn over(&mut self, subject: &S) -> bool {
        self.failures.remove(subject).is_some()
    }

    /// Whether `subject` has failed and is not to be tried yet.
    pub fn waits(&self, subject: &S) -> bool {
        let waits = |failure: &Failure| !failure.hurried && failure.at != Next::Looked;
        self.failures.get(subject).is_some_and(waits)
    }

    /// Whether `subject` has failed and is not over that.
    pub fn fails(&self, subject: &S) -> bool {
        self.failures.contains_key(subject)
    }

    /// The next try of `subject` is due at once, if it has failed at all.
    pub fn hurry(&mut self, subject: &S) {
        if let Some(failure) = self.failures.get_mut(subject) {
            failure.hurried = true;
        }
    }

    /// Whether any try is due.
    pub fn due(&self, now: Time) -> bool {
        self.times().any(|at| at <= now)
    }

    /// The kernel is being read anew, for all that failed.
    pub fn looking(&mut self) {
        self.failures.values_mut().for_each(|failure| failure.at = Next::Looking);
    }

    /// The kernel was read: all that waited for that may be tried.
    pub fn looked(&mut self) {
        let waiting = self.failures.values_mut().filter(|failure| failure.at == Next::Looking);
        waiting.for_each(|failure| failure.at = Next::Looked);
    }

    /// What fails, each once, in words.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.failures.values().map(|failure| failure.error.as_str())
    }

    /// When tries are due.
    pub fn times(&self) -> impl Iterator<Item = Time> {
        self.failures.values().filter_map(|failure| match failure.at {
            Next::At(time) => Some(time),
            Next::Looking | Next::Looked => None,
        })
    }
}
