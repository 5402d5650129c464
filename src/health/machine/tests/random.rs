//! What holds for the machine under any check and any server.

use proptest::prelude::*;

use super::*;

prop_compose! {
    fn checks()(
        interval in 1u64..1500, timeout in 1u64..1500, retry in 1u64..1500, rise in 1u32..5, fall in 1u32..5,
    ) -> Check {
        Check {
            interval: ms(interval), timeout: ms(timeout), retry_interval: ms(retry), rise, fall, ..check(Reply::Any)
        }
    }
}

/// An answer in time, after a share of the timeout.
fn in_time(check: &Check, share: u32) -> Back {
    Back::Answer(check.timeout * (share % 1000) / 1000)
}

proptest! {
    #[test]
    fn a_silent_server_is_down_in_time_and_not_before_its_failures(
        check in checks(), assumed_up: bool, phase in 0u64..1500, death in 0u64..5000,
        shares in prop::collection::vec(any::<u32>(), 1..50),
    ) {
        let death = ms(death);
        // An answer from before its death may still make it up, one timeout later at most.
        let end = death + check.timeout + check.worst_case();
        let log = run(&check, assumed_up, ms(phase), end, |number, at| {
            if at >= death { Back::Nothing } else { in_time(&check, shares[number % shares.len()]) }
        });
        let Some((at, false, _)) = log.verdicts.last() else {
            return Err(TestCaseError::fail(format!("never down: {:?}", log.verdicts)));
        };
        let up_at = log.verdicts.iter().rfind(|(_, up, _)| *up).map_or(Duration::ZERO, |(at, ..)| *at);
        let dead = if assumed_up { death } else { death.max(up_at) };
        prop_assert!(*at <= dead + check.worst_case(), "down {:?} after its death", *at - dead);
        if assumed_up || up_at > Duration::ZERO {
            let out = log.sent.iter().filter(|sent| **sent >= death && **sent + check.timeout <= *at).count();
            prop_assert!(out >= check.fall as usize, "down after {out} failures");
        }
    }

    #[test]
    fn a_server_that_answers_in_time_is_never_down(
        check in checks(), assumed_up: bool, phase in 0u64..1500, shares in prop::collection::vec(any::<u32>(), 1..50),
    ) {
        let log = run(&check, assumed_up, ms(phase), ms(5000), |number, _| {
            in_time(&check, shares[number % shares.len()])
        });
        prop_assert_eq!(log.verdicts.iter().map(|(_, up, _)| *up).collect::<Vec<_>>(), [true]);
    }

    #[test]
    fn verdicts_alternate_and_follow_from_outcomes_in_the_order_of_sending(
        check in checks(), assumed_up: bool, phase in 0u64..1500,
        fates in prop::collection::vec((0u8..4, any::<u32>()), 1..80),
    ) {
        let log = run(&check, assumed_up, ms(phase), ms(10_000), |number, _| {
            let (fate, share) = fates[number % fates.len()];
            let after = check.timeout * (share % 1000) / 1000;
            match fate {
                0 => Back::Nothing,
                1 => Back::Error(after, REFUSED),
                _ => Back::Answer(after),
            }
        });
        let mut before = None;
        let mut last = "";
        let mut was_up = assumed_up;
        for (at, up, reason) in &log.verdicts {
            // Twice the same is only said of one that is down for another reason.
            prop_assert!(before != Some(*up) || !up && reason != last, "at {:?}: {}, {}", at, last, reason);
            last = reason;
            let needed = match up {
                _ if before.is_none() && (*up || !assumed_up) => 1,
                true if !was_up => 1,
                true => check.rise,
                false => check.fall,
            };
            let row = log.row(*up, *at);
            prop_assert!(row >= needed as usize, "{reason} at {at:?} after {row} of {needed}");
            was_up |= up;
            before = Some(*up);
        }
    }
}
