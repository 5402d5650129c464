//! The machine against servers in virtual time.

mod hints;
mod random;

use std::collections::BTreeMap;

use super::*;
use crate::core::model::{Factor, Probe, Reply};
use crate::health::failure::Unreachable;

const REFUSED: Failure = Failure::Icmp(Unreachable::Port);
const NO_HOST: Failure = Failure::Icmp(Unreachable::Host);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn check(reply: Reply) -> Check {
    Check {
        probe: Probe::Udp { send: b"ping".to_vec(), reply },
        interval: ms(500),
        timeout: ms(400),
        retry_interval: ms(100),
        rise: 2,
        fall: 3,
        address: None,
        port: None,
        origin: Default::default(),
    }
}

/// What comes back for one probe, and how long after it was sent.
#[derive(Clone, Debug)]
enum Back {
    Nothing,
    Answer(Duration),
    Error(Duration, Failure),
}

/// What happened in a run.
#[derive(Debug, Default)]
struct Log {
    sent: Vec<Duration>,
    /// Those of `sent` that a hint asked for.
    hinted: Vec<Duration>,
    /// When the outcome of each probe was clear, and whether it was a success.
    outcomes: Vec<(Duration, bool)>,
    verdicts: Vec<(Duration, bool, String)>,
}

impl Log {
    fn verdict(&mut self, at: Duration, change: Option<Change>) {
        self.verdicts.extend(change.map(|change| (at, change.up, change.reason.into_owned())));
    }

    fn words(&self) -> Vec<(u64, bool, &str)> {
        self.verdicts.iter().map(|(at, up, why)| (at.as_millis() as u64, *up, why.as_str())).collect()
    }

    fn sent_ms(&self) -> Vec<u64> {
        self.sent.iter().map(|at| at.as_millis() as u64).collect()
    }

    /// The longest row of probes with this outcome, as far as it was clear at `at`.
    fn row(&self, success: bool, at: Duration) -> usize {
        self.outcomes
            .split(|(clear, outcome)| *clear > at || *outcome != success)
            .map(<[_]>::len)
            .max()
            .unwrap_or(0)
    }
}

/// Runs a machine that starts at 0 against a server that reacts to probe and time of sending.
fn run(
    check: &Check,
    assumed_up: bool,
    phase: Duration,
    until: Duration,
    server: impl FnMut(usize, Duration) -> Back,
) -> Log {
    run_with_hints(check, assumed_up, phase, until, &[], server)
}

/// The same with hints at these times, which are in order.
fn run_with_hints(
    check: &Check,
    assumed_up: bool,
    phase: Duration,
    until: Duration,
    mut hints: &[Duration],
    mut server: impl FnMut(usize, Duration) -> Back,
) -> Log {
    let mut machine = Machine::new(check.clone().into(), assumed_up, Duration::ZERO, phase);
    let any = silence_succeeds(&check.probe);
    let mut log = Log::default();
    // What comes back for a probe, and whether the machine can tell which probe that was.
    let mut coming: BTreeMap<(Duration, u64), (Back, bool)> = BTreeMap::new();
    loop {
        let arrival = coming.first_key_value().map(|((at, _), _)| *at);
        let now = machine.deadline().min(arrival.unwrap_or(Duration::MAX));
        let now = now.min(hints.first().copied().unwrap_or(Duration::MAX));
        if now > until {
            return log;
        }
        while let Some(entry) = coming.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, number), (back, known)) = entry.remove_entry();
            let change = match back {
                Back::Answer(_) if known => machine.answered(number),
                Back::Answer(_) => machine.answered_any(),
                Back::Error(_, why) if known => machine.failed(number, why),
                Back::Error(_, why) => machine.failed_any(why),
                Back::Nothing => None,
            };
            log.verdict(now, change);
        }
        while let Some((hint, rest)) = hints.split_first().filter(|(hint, _)| **hint <= now) {
            machine.hint(*hint);
            hints = rest;
        }
        while let Some(step) = machine.tick(now) {
            let alone = matches!(step, Step::SendAlone(_));
            match step {
                Step::Send(number) | Step::SendAlone(number) => {
                    log.hinted.extend(alone.then_some(now));
                    let back = server(log.sent.len(), now);
                    log.sent.push(now);
                    let (after, success) = match back {
                        Back::Nothing => (check.timeout, any),
                        Back::Answer(after) => (after, true),
                        Back::Error(after, _) => (after, false),
                    };
                    log.outcomes.push((now + after, success));
                    if !matches!(back, Back::Nothing) {
                        coming.insert((now + after, number), (back, alone || !any));
                    }
                }
                Step::Expired(change) => log.verdict(now, change),
            }
        }
    }
}

#[test]
fn a_silent_server_is_asked_again_and_is_down_after_three_timeouts() {
    let log = run(&check(Reply::Any), true, ms(500), ms(1700), |_, _| Back::Nothing);
    assert_eq!(log.words(), [(600, false, "no answer within 400ms, 3 in a row")]);
    assert_eq!(log.sent_ms(), [0, 100, 200, 500, 1000, 1500], "no confirming probes once it is down");
}

#[test]
fn answers_to_something_else_are_told_from_silence() {
    let mut machine = Machine::new(check(Reply::Any).into(), false, ms(0), ms(500));
    let why = |machine: &mut Machine, at| {
        let failed = |step| match step {
            Step::Expired(change) => change.map(|change| change.reason.into_owned()),
            _ => None,
        };
        std::iter::from_fn(|| machine.tick(at)).find_map(failed)
    };
    machine.strayed();
    assert_eq!(why(&mut machine, ms(0)), None, "sent");
    machine.strayed();
    let said = why(&mut machine, ms(400)).expect("the first verdict");
    assert_eq!(said, "no answer within 400ms (what came was no answer to this probe)");
    machine.strayed();
    assert!(!machine.strayed || !machine.probes.is_empty(), "nobody waits");
}

#[test]
fn a_refusing_server_is_down_after_three_refusals() {
    let log = run(&check(Reply::Any), true, ms(500), ms(450), |_, _| Back::Error(ms(0), REFUSED));
    assert_eq!(log.words(), [(200, false, "refused (ICMP port unreachable), 3 in a row")]);
    assert_eq!(log.sent_ms(), [0, 100, 200]);
}

#[test]
fn a_server_never_seen_is_down_at_once_and_up_at_its_first_answer() {
    let log = run(&check(Reply::Any), false, ms(500), ms(3000), |_, at| match at {
        at if at < ms(1200) => Back::Nothing,
        _ => Back::Answer(ms(7)),
    });
    assert_eq!(log.words(), [(400, false, "no answer within 400ms"), (1507, true, "first answer")]);
}

#[test]
fn a_server_that_was_up_comes_back_after_two_answers() {
    let log = run(&check(Reply::Any), false, ms(500), ms(3000), |_, at| match at {
        at if at >= ms(400) && at < ms(1200) => Back::Error(ms(1), REFUSED),
        _ => Back::Answer(ms(7)),
    });
    let down = (701, false, "refused (ICMP port unreachable), 3 in a row");
    assert_eq!(log.words(), [(7, true, "first answer"), down, (2007, true, "answered, 2 in a row")]);
}

#[test]
fn a_server_taken_for_up_says_so_at_its_first_answer() {
    let log = run(&check(Reply::Any), true, ms(500), ms(3000), |_, _| Back::Answer(ms(7)));
    assert_eq!(log.words(), [(7, true, "first answer")]);
}

#[test]
fn the_second_probe_sets_the_phase_and_the_interval_is_exact_from_then() {
    let log = run(&check(Reply::Any), false, ms(130), ms(2200), |_, _| Back::Answer(ms(7)));
    assert_eq!(log.sent_ms(), [0, 130, 630, 1130, 1630, 2130]);
}

#[test]
fn failures_between_answers_are_no_verdict() {
    let log = run(&check(Reply::Any), false, ms(500), ms(60_000), |number, _| match number % 3 {
        0 => Back::Answer(ms(1)),
        _ => Back::Error(ms(1), Failure::WrongAnswer("no".to_owned())),
    });
    assert_eq!(log.words(), [(1, true, "first answer")]);
}

#[test]
fn a_slow_server_is_asked_twice_an_interval_and_no_more() {
    let log = run(&check(Reply::Any), true, ms(500), ms(1999), |_, _| Back::Answer(ms(150)));
    assert_eq!(log.sent_ms(), [0, 100, 500, 600, 1000, 1100, 1500, 1600]);
}

#[test]
fn an_early_probe_says_nothing_about_later_ones() {
    let check = Check { fall: 2, ..check(Reply::Any) };
    let mut machine = Machine::new(check.clone().into(), true, ms(0), ms(500));
    assert_eq!(machine.tick(ms(0)), Some(Step::Send(0)));
    assert_eq!(machine.tick(ms(100)), Some(Step::Send(1)));
    assert_eq!(machine.failed(1, REFUSED), None);
    assert!(machine.answered(0).is_some_and(|change| change.up), "the first verdict");
    assert_eq!(machine.tick(ms(500)), Some(Step::Send(2)));
    let reason = "refused (ICMP port unreachable), 2 in a row".into();
    assert_eq!(machine.failed(2, REFUSED), Some(Change { up: false, factor: Factor::FULL, reason }));
}

#[test]
fn a_failure_before_the_fall_is_no_success_after_it() {
    let check = Check { fall: 2, timeout: ms(2000), ..check(Reply::Any) };
    let mut machine = Machine::new(check.clone().into(), true, ms(0), ms(500));
    for (number, at) in [0, 100, 500, 600].into_iter().enumerate() {
        assert_eq!(machine.tick(ms(at)), Some(Step::Send(number as u64)));
    }
    // 3 is refused before 0 and 1 are; 2 still waits between them.
    assert_eq!(machine.failed(3, REFUSED), None);
    assert_eq!(machine.failed(0, REFUSED), None);
    assert!(machine.failed(1, REFUSED).is_some_and(|change| !change.up));
    assert_eq!(machine.tick(ms(1000)), Some(Step::Send(4)));
    assert_eq!(machine.answered(4), None, "one of two");
}

#[test]
fn a_late_answer_does_not_count() {
    let log = run(&check(Reply::Any), true, ms(500), ms(5000), |_, _| Back::Answer(ms(401)));
    assert_eq!(log.words(), [(600, false, "no answer within 400ms, 3 in a row")]);
}

#[test]
fn a_probe_that_we_could_not_send_is_no_failure() {
    let mut machine = Machine::new(check(Reply::Any).into(), true, ms(0), ms(500));
    for now in (0..60_000).map(ms) {
        while let Some(step) = machine.tick(now) {
            let Step::Send(number) = step else { panic!("{step:?} at {now:?}") };
            machine.unsent(number);
        }
    }
}

#[test]
fn after_a_long_sleep_there_is_no_burst() {
    let mut machine = Machine::new(check(Reply::Any).into(), false, ms(0), ms(500));
    assert_eq!(machine.tick(ms(0)), Some(Step::Send(0)));
    assert!(machine.answered(0).is_some());
    assert_eq!(machine.tick(ms(3_600_000)), Some(Step::Send(1)));
    assert!(machine.answered(1).is_none());
    assert_eq!(machine.tick(ms(3_600_000)), None);
    assert_eq!(machine.deadline(), ms(3_600_500));
}

#[test]
fn a_long_sleep_does_not_make_targets_march_in_step() {
    let mut machines: Vec<_> =
        (0..5).map(|share| Machine::new(check(Reply::Any).into(), false, ms(100 * share), ms(500))).collect();
    let mut due = Vec::new();
    for machine in &mut machines {
        for now in [ms(500), ms(7777)] {
            let Some(Step::Send(number)) = machine.tick(now) else { panic!("nothing to send at {now:?}") };
            machine.answered(number);
        }
        due.push(machine.deadline().as_millis() % 500);
    }
    assert_eq!(due, [0, 100, 200, 300, 400]);
}

#[test]
fn a_factor_is_told_when_it_changes_and_the_latest_answer_has_it() {
    let mut machine = Machine::new(check(Reply::Any).into(), false, ms(0), ms(500));
    let mut answer = |at, percent| {
        let Some(Step::Send(number)) = machine.tick(ms(at)) else { panic!("nothing to send at {at}") };
        let change = machine.weighed(number, Factor::Percent(percent))?;
        let Factor::Percent(percent) = change.factor else { panic!("{change:?}") };
        Some((change.up, percent, change.reason.into_owned()))
    };
    assert_eq!(answer(0, 50), Some((true, 50, "first answer with a weight of 50 %".to_owned())));
    assert_eq!(answer(500, 50), None);
    assert_eq!(answer(1000, 20), Some((true, 20, "answered with a weight of 20 %".to_owned())));
    assert_eq!(answer(1500, 100), Some((true, 100, "answered".to_owned())));
    assert_eq!(answer(2000, 100), None);

    let check = Check { timeout: ms(2000), ..check(Reply::Any) };
    let mut machine = Machine::new(check.clone().into(), false, ms(0), ms(500));
    let sent: Vec<_> = [0, 500].into_iter().map(|at| machine.tick(ms(at))).collect();
    assert_eq!(sent, [Some(Step::Send(0)), Some(Step::Send(1))]);
    assert_eq!(
        machine.weighed(1, Factor::Percent(30)).map(|change| change.factor),
        Some(Factor::Percent(30))
    );
    assert_eq!(machine.weighed(0, Factor::Percent(70)), None, "an older answer");
}

#[test]
fn silence_is_a_success_where_none_answers() {
    let log = run(&check(Reply::Optional), false, ms(500), ms(60_000), |_, _| Back::Nothing);
    assert_eq!(log.words(), [(400, true, "silent as expected")]);
    assert_eq!(log.sent.len(), 121, "no confirming probes");
    let log = run(&check(Reply::Optional), false, ms(500), ms(60_000), |_, _| Back::Answer(ms(3)));
    assert_eq!(log.words(), [(3, true, "first answer")]);
}

/// A dead neighbour as the kernel tells it: all that was sent in the last 3 s fails together.
fn unreachable(at: Duration) -> Back {
    let period = 3000 - at.as_millis() as u64 % 3000;
    Back::Error(ms(period), NO_HOST)
}

#[test]
fn a_dead_host_that_never_answers_goes_down_once_and_comes_back_once() {
    for interval in [500, 5000] {
        let check = Check { interval: ms(interval), ..check(Reply::Optional) };
        let log = run(&check, true, ms(interval), ms(120_000), |_, at| match at {
            at if at >= ms(10_000) && at < ms(60_000) => unreachable(at),
            _ => Back::Nothing,
        });
        let [(first, true, "silent as expected"), (down, false, down_why), (up, true, up_why)] =
            log.words()[..]
        else {
            panic!("{:?}", log.words())
        };
        assert_eq!((first, down_why), (400, "host unreachable (ICMP), 3 in a row"));
        assert!((10_000..=10_000 + 2 * interval + 6000).contains(&down), "down at {down}");
        assert_eq!(up_why, "silent as expected, 2 in a row");
        assert!((64_000..=60_000 + 4 * interval + 4000).contains(&up), "up at {up}");
    }
}

#[test]
fn errors_count_for_a_server_that_never_answers_even_if_some_are_held_back() {
    // A kernel sends such errors at a limited rate.
    let log = run(&check(Reply::Optional), true, ms(500), ms(60_000), |number, _| match number % 2 {
        0 => Back::Error(ms(0), REFUSED),
        _ => Back::Nothing,
    });
    let [(down, false, "refused (ICMP port unreachable), 3 in a row")] = log.words()[..] else {
        panic!("{:?}", log.words())
    };
    assert!(down <= 2000, "down at {down}");
}

#[test]
fn a_server_that_stays_down_for_another_reason_says_so_once() {
    let log = run(&check(Reply::Any), true, ms(0), ms(12_000), |number, at| match at.as_secs() {
        0..3 => Back::Nothing,
        3..6 => Back::Error(ms(1), REFUSED),
        // Now so, now so.
        _ if number % 2 == 0 => Back::Error(ms(1), NO_HOST),
        _ => Back::Nothing,
    });
    let said: Vec<(bool, &str)> = log.verdicts.iter().map(|(_, up, reason)| (*up, reason.as_str())).collect();
    let [silent, refused] = ["no answer within 400ms", "refused (ICMP port unreachable)"];
    let reasons = [silent, refused].map(|reason| format!("{reason}, 3 in a row"));
    assert_eq!(said, reasons.each_ref().map(|reason| (false, reason.as_str())));
}
