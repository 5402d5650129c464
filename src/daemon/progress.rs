//! What the tasks were asked and have not answered: whether the kernel is as wanted, and whether everybody still works.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipvs_netlink::ServiceKey;

use crate::core::{Input, Output};

/// The services, the rules, and what was asked of each.
#[derive(Debug, Default)]
pub struct Progress {
    /// There is a config that the daemon goes by.
    configured: bool,
    services: Waiting<Option<ServiceKey>>,
    rules: Waiting<Rules>,
    failing: BTreeMap<Subject, String>,
}

/// What one task has not answered, and since when it has said nothing.
#[derive(Debug)]
struct Waiting<T> {
    asked: BTreeSet<T>,
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rules {
    Look,
    Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Look,
    Rules,
    Service(ServiceKey),
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { asked: BTreeSet::new(), since: None }
    }
}

impl<T: Ord> Waiting<T> {
    fn ask(&mut self, what: T, now: Instant) {
        self.asked.insert(what);
        self.since.get_or_insert(now);
    }

    fn answer(&mut self, what: &T, now: Instant) {
        self.asked.remove(what);
        self.since = (!self.asked.is_empty()).then_some(now);
    }

    fn hangs(&self, now: Instant, limit: Duration) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) > limit)
    }
}

impl Progress {
    /// The core has asked for something.
    pub fn asked(&mut self, output: &Output, now: Instant) {
        match output {
            Output::LookAtServices(_) | Output::GlanceAtServices(_) => self.services.ask(None, now),
            Output::Do(key, _) => self.services.ask(Some(*key), now),
            Output::LookAtRules => self.rules.ask(Rules::Look, now),
            Output::DoRules(_) => self.rules.ask(Rules::Change, now),
            Output::Probe(_) => self.configured = true,
            _ => {}
        }
    }

    /// The core is told something.
    pub fn answered(&mut self, input: &Input, now: Instant) {
        match input {
            Input::FoundServices(found) => {
                self.services.answer(&None, now);
                self.judge(Subject::Look, found.as_ref().err());
            }
            Input::Unchanged => self.services.answer(&None, now),
            Input::Done(key, _, failed) => {
                self.services.answer(&Some(*key), now);
                self.judge(Subject::Service(*key), failed.values().next());
            }
            Input::FoundRules(found) => {
                self.rules.answer(&Rules::Look, now);
                self.judge(Subject::Look, found.as_ref().err());
            }
            Input::RulesDone(done) => {
                self.rules.answer(&Rules::Change, now);
                self.judge(Subject::Rules, done.as_ref().err());
            }
            // What failed may not be wanted any more; what is still wanted is tried again.
            Input::Config(_) => self.failing.clear(),
            _ => {}
        }
    }

    fn judge(&mut self, subject: Subject, failed: Option<&String>) {
        match failed {
            Some(error) => drop(self.failing.insert(subject, error.clone())),
            None => drop(self.failing.remove(&subject)),
        }
    }

    /// The config was gone by, and no step is under way.
    pub fn settled(&self) -> bool {
        let steps = self.services.asked.iter().any(Option::is_some);
        self.configured && !steps && !self.rules.asked.contains(&Rules::Change)
    }

    /// What failed last, and how many things do.
    pub fn failing(&self) -> Option<(&str, usize)> {
        self.failing.values().next().map(|error| (error.as_str(), self.failing.len()))
    }

    /// A task that owes an answer and has given none for longer than `limit`.
    pub fn hanging(&self, now: Instant, limit: Duration) -> Option<&'static str> {
        let services = self.services.hangs(now, limit).then_some("the task for IPVS");
        services.or_else(|| self.rules.hangs(now, limit).then_some("the task for nftables"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::FoundRules;
    use crate::core::model::{Config, Rules as ReplyRules};
    use crate::core::plan::{Action, Step};

    const LIMIT: Duration = Duration::from_secs(30);

    fn key() -> ServiceKey {
        ServiceKey::udp("192.0.2.53:53".parse().unwrap())
    }

    fn done(result: Result<(), String>) -> Input {
        let failed = result.err().map(|error| (0, error)).into_iter().collect();
        Input::Done(key(), [Step { action: Action::DeleteService, why: String::new() }].into(), failed)
    }

    #[test]
    fn it_is_settled_when_the_config_was_taken_and_all_steps_were_done() {
        let (mut progress, now) = (Progress::default(), Instant::now());
        assert!(!progress.settled(), "there is no config yet");
        progress.asked(&Output::LookAtRules, now);
        progress.answered(&Input::FoundRules(Ok(FoundRules::default())), now);
        assert!(!progress.settled(), "nobody has gone by the config yet");
        progress.asked(&Output::Probe(Vec::new()), now);
        progress.asked(&Output::DoRules(Arc::new(ReplyRules::default())), now);
        assert!(!progress.settled());
        progress.answered(&Input::RulesDone(Ok(Arc::new(ReplyRules::default()))), now);
        progress.asked(&Output::Do(key(), Arc::default()), now);
        progress.asked(&Output::GlanceAtServices(BTreeSet::new()), now);
        assert!(!progress.settled());
        progress.answered(&done(Ok(())), now);
        assert!(progress.settled() && progress.failing().is_none(), "a look is no step");
    }

    #[test]
    fn what_failed_is_known_until_it_works_or_a_config_comes() {
        let (mut progress, now) = (Progress::default(), Instant::now());
        progress.answered(&done(Err("no such scheduler".to_owned())), now);
        progress.answered(&Input::RulesDone(Err("no nft".to_owned())), now);
        assert_eq!(progress.failing(), Some(("no nft", 2)));
        progress.answered(&Input::RulesDone(Ok(Arc::new(ReplyRules::default()))), now);
        assert_eq!(progress.failing(), Some(("no such scheduler", 1)));
        progress.answered(&Input::Config(Config::default()), now);
        assert_eq!(progress.failing(), None);
    }

    #[test]
    fn a_task_hangs_that_owes_an_answer_and_says_nothing() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(progress.hanging(after(1000), LIMIT), None, "nobody was asked");
        progress.asked(&Output::Do(key(), Arc::default()), start);
        progress.asked(&Output::LookAtServices(BTreeSet::new()), after(5));
        assert_eq!(progress.hanging(after(30), LIMIT), None);
        assert_eq!(progress.hanging(after(31), LIMIT), Some("the task for IPVS"));
        progress.answered(&done(Ok(())), after(31));
        assert_eq!(progress.hanging(after(61), LIMIT), None, "it answers something");
        assert_eq!(progress.hanging(after(62), LIMIT), Some("the task for IPVS"));
        progress.answered(&Input::Unchanged, after(62));
        progress.asked(&Output::LookAtRules, after(62));
        assert_eq!(progress.hanging(after(93), LIMIT), Some("the task for nftables"));
    }
}
