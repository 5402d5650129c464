//! Hints make a target be probed at once, and never do more than that.

use proptest::prelude::*;

use super::*;

#[test]
fn a_refusal_after_a_hint_is_down_at_once() {
    for reply in [Reply::Any, Reply::Optional] {
        let dies = ms(1234);
        let log = run_with_hints(&check(reply), true, ms(500), ms(1400), &[dies], |_, at| match at {
            at if at < dies => Back::Answer(ms(1)),
            _ => Back::Error(ms(2), REFUSED),
        });
        assert_eq!(log.hinted, [dies]);
        let down = (1236, false, "refused (ICMP port unreachable), as client traffic was");
        assert_eq!(log.words()[1..], [down]);
    }
}

#[test]
fn another_failure_after_a_hint_is_one_failure() {
    for why in [NO_HOST, Failure::WrongAnswer("no".to_owned())] {
        let log =
            run_with_hints(
                &check(Reply::Any),
                true,
                ms(500),
                ms(900),
                &[ms(600)],
                |number, _| match number {
                    2 => Back::Error(ms(1), why.clone()),
                    _ => Back::Answer(ms(1)),
                },
            );
        assert_eq!(log.hinted, [ms(600), ms(700)], "until one succeeds");
        assert_eq!(log.words(), [(1, true, "first answer")]);
    }
}

#[test]
fn a_refusal_that_is_suppressed_is_asked_for_again() {
    // Most probes of a dead server are met by silence where its ICMP is limited.
    let log =
        run_with_hints(&check(Reply::Any), true, ms(500), ms(900), &[ms(600)], |number, _| match number {
            0 | 1 => Back::Answer(ms(1)),
            2 => Back::Nothing,
            _ => Back::Error(ms(1), REFUSED),
        });
    assert_eq!(log.hinted, [ms(600), ms(700)]);
    assert_eq!(log.words()[1..], [(701, false, "refused (ICMP port unreachable), as client traffic was")]);
}

#[test]
fn an_answer_to_what_was_asked_before_the_hint_clears_nothing() {
    let mut machine = Machine::new(check(Reply::Any).into(), true, ms(0), ms(500));
    assert_eq!(machine.tick(ms(0)), Some(Step::Send(0)));
    machine.hint(ms(1));
    assert_eq!(machine.tick(ms(1)), Some(Step::SendAlone(1)));
    machine.hint(ms(2));
    assert!(machine.answered(1).is_some());
    assert_eq!((machine.tick(ms(100)), machine.deadline()), (None, ms(101)));
    assert_eq!(machine.tick(ms(101)), Some(Step::SendAlone(2)));
    assert_eq!(machine.answered(2), None);
    assert_eq!(machine.deadline(), ms(500), "as if nothing had been");
}

#[test]
fn a_server_that_is_down_or_unknown_is_probed_as_before() {
    let hints: Vec<_> = (0..50).map(|n| ms(n * 20)).collect();
    let log = run_with_hints(&check(Reply::Any), false, ms(500), ms(1000), &hints, |_, _| {
        Back::Error(ms(1), REFUSED)
    });
    assert_eq!((log.hinted.len(), log.sent_ms()), (0, vec![0, 500, 1000]));
}

proptest! {
    #[test]
    fn a_flood_of_hints_is_one_probe_in_100_ms_and_no_verdict_on_a_server_that_answers(
        gaps in prop::collection::vec(0u64..300, 1..200), answer in 0u64..400, phase in 0u64..500,
        optional: bool,
    ) {
        let mut at = 0;
        let hints: Vec<_> = gaps.iter().map(|gap| { at += gap; ms(at) }).collect();
        let check = check(if optional { Reply::Optional } else { Reply::Any });
        let log = run_with_hints(&check, true, ms(phase), ms(at + 1000), &hints, |_, _| Back::Answer(ms(answer)));
        prop_assert_eq!(log.verdicts.iter().map(|(_, up, _)| *up).collect::<Vec<_>>(), [true]);
        prop_assert!(log.hinted.windows(2).all(|two| two[1] - two[0] >= HINTED_INTERVAL), "{:?}", log.hinted);
        // None is lost: each is followed by a probe within the interval, hinted or not.
        let followed = |hint: &Duration| log.sent.iter().any(|sent| (*hint..=*hint + HINTED_INTERVAL).contains(sent));
        prop_assert!(hints.iter().all(followed), "{:?} {:?}", hints, log.sent);
    }
}
