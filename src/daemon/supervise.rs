//! What systemd is told: sd_notify(3). Without it (no `$NOTIFY_SOCKET`) nobody is told anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::oneshot;

use super::progress::Progress;
use crate::health::Checker;

/// Where not all could be done, the daemon is ready so long after its start nevertheless: it goes on trying, and a restart would
/// bring nothing but the loss of what it knows.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks at itself until it is ready.
const TICK: Duration = Duration::from_secs(1);

/// Tells systemd how the daemon is.
pub struct Supervisor {
    started: Instant,
    /// Somebody listens.
    told: bool,
    ready: Ready,
    status: String,
    /// Within this time systemd wants to hear that the daemon works, and the daemon from its tasks.
    watchdog: Option<Duration>,
    next: Option<Instant>,
    /// What the checker was asked, and when.
    pulse: Pulse,
    hangs: bool,
}

type Pulse = Option<(oneshot::Receiver<()>, Instant)>;

/// Whether systemd was told that the daemon is ready: before that a reload says nothing.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<AtomicBool>);

/// A reload that systemd was told of. Dropping it ends it.
pub struct Reloading(bool);

impl Ready {
    /// A reload begins.
    pub fn reload(&self) -> Reloading {
        let ready = self.0.load(Ordering::Relaxed);
        if ready && let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
        Reloading(ready)
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        if self.0 {
            tell(&[NotifyState::Ready]);
        }
    }
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!(%error, ?what, "cannot tell systemd");
    }
}

impl Supervisor {
    /// The daemon has begun.
    pub fn start() -> Self {
        let (now, told) = (Instant::now(), std::env::var_os("NOTIFY_SOCKET").is_some());
        Self {
            started: now,
            told,
            ready: Ready::default(),
            status: String::new(),
            watchdog: sd_notify::watchdog_enabled(),
            next: told.then_some(now),
            pulse: None,
            hangs: false,
        }
    }

    /// For those who reload.
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// Waits until [`Self::look`] is due.
    pub async fn due(&self) {
        match self.next {
            Some(next) => tokio::time::sleep_until(next.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Looks how everybody is, and tells systemd what is new.
    pub fn look(&mut self, progress: &Progress, checker: &Checker) {
        if !self.told {
            return;
        }
        let now = Instant::now();
        let failing = progress.failing();
        let done = failing.is_none() || now > self.started + PATIENCE;
        let mut ready = self.ready.0.load(Ordering::Relaxed);
        let mut news = Vec::new();
        if !ready && progress.settled() && done {
            self.ready.0.store(true, Ordering::Relaxed);
            ready = true;
            news.push(NotifyState::Ready);
        }
        let status = match failing {
            Some((error, 1)) => format!("not as wanted, will be tried again: {error}"),
            Some((error, count)) => {
                format!("{count} things not as wanted, will be tried again; one: {error}")
            }
            None if ready => "the kernel is as wanted".to_owned(),
            None => "reading the kernel and making it as wanted".to_owned(),
        };
        if status != self.status {
            self.status = status;
            news.push(NotifyState::Status(&self.status));
        }
        if self.next.is_some_and(|next| next <= now) {
            if let Some(limit) = self.watchdog {
                let (hanging, pulse) = hanging(progress, checker, self.pulse.take(), now, limit);
                self.pulse = pulse;
                match hanging {
                    None => news.push(NotifyState::Watchdog),
                    Some(who) if !self.hangs => {
                        tracing::error!(
                            "{who} has said nothing for {limit:?}: systemd's watchdog is to end this"
                        );
                    }
                    Some(_) => {}
                }
                self.hangs = hanging.is_some();
            }
            let often = self.watchdog.map(|limit| limit / 4);
            let often = if ready { often } else { Some(often.map_or(TICK, |often| often.min(TICK))) };
            self.next = often.map(|often| now + often);
        }
        if !news.is_empty() {
            tell(&news);
        }
    }

    /// The end was asked for, and takes so long at most.
    pub fn stop(&self, longest: Duration) {
        let micros = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
        let status = NotifyState::Status("stopping");
        tell(&[NotifyState::Stopping, status, NotifyState::ExtendTimeoutUsec(micros)]);
    }
}

/// Who does not work; and what the checker is asked now.
fn hanging(
    progress: &Progress,
    checker: &Checker,
    asked: Pulse,
    now: Instant,
    limit: Duration,
) -> (Option<&'static str>, Pulse) {
    let waiting = asked.and_then(|(mut answer, since)| answer.try_recv().is_err().then_some((answer, since)));
    let (answer, since) = waiting.unwrap_or_else(|| (checker.pulse(), now));
    let silent = now.duration_since(since) > limit;
    let hanging = progress.hanging(now, limit).or_else(|| silent.then_some("the checker"));
    (hanging, Some((answer, since)))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::health;

    #[tokio::test]
    async fn a_checker_that_answers_works_and_one_that_does_not_hangs() {
        let (verdicts, _received) = unbounded_channel();
        let checker = health::start(verdicts).unwrap();
        let (progress, limit, begun) = (Progress::default(), Duration::from_secs(60), Instant::now());
        let (hangs, pulse) = hanging(&progress, &checker, None, begun, limit);
        let (mut answer, since) = pulse.unwrap();
        assert_eq!((hangs, since), (None, begun));
        tokio::time::timeout(limit, &mut answer).await.expect("it answers").expect("it is there");

        let (_nobody, unanswered) = oneshot::channel();
        let asked = Some((unanswered, begun));
        let (hangs, pulse) = hanging(&progress, &checker, asked, begun + limit, limit);
        assert_eq!(hangs, None, "there is time");
        let later = begun + limit + Duration::from_millis(1);
        let (hangs, pulse) = hanging(&progress, &checker, pulse, later, limit);
        assert_eq!((hangs, pulse.unwrap().1), (Some("the checker"), begun), "it is asked once");
    }
}
