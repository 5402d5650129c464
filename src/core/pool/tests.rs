use super::*;
use crate::core::model;

const SECOND: Duration = Duration::from_secs(1);

fn server(last: u8) -> DestinationKey {
    DestinationKey(format!("10.0.1.{last}:53").parse().unwrap())
}

/// Servers 1 to `count`, each with one check of its own number.
fn pool(count: u8, weight: u32, policy: Policy) -> Pool {
    let member = |n: u8| Member::new(weight, false, BTreeMap::from([(TargetId(n.into()), Known::Unknown)]));
    Pool::new((1..=count).map(|n| (server(n), member(n))).collect(), policy, SECOND)
}

/// The first server has one more check: 50.
fn second_check(pool: &mut Pool) {
    let member = pool.members.get_mut(&server(1)).unwrap();
    member.checks = [member.checks[0].clone(), (TargetId(50), Known::Unknown)].into();
}

fn keep(when_all_down: WhenAllDown) -> Policy {
    Policy { when_all_down, ..Policy::default() }
}

fn says(target: u8, up: bool, factor: u32) -> Verdict {
    weighs(target, up, Factor::Percent(factor))
}

fn weighs(target: u8, up: bool, factor: Factor) -> Verdict {
    Verdict { target: TargetId(target.into()), up, factor, reason: "it said so".into() }
}

/// The first check's verdict about a server.
fn turn(pool: &mut Pool, seconds: u32, n: u8, up: bool) -> Option<Turn> {
    pool.verdict(SECOND * seconds, &server(n), &says(n, up, 100))
}

fn weights(pool: &Pool) -> Vec<Option<u32>> {
    pool.members.keys().map(|server| pool.due(server).unwrap().weight).collect()
}

fn set(servers: impl IntoIterator<Item = u8>) -> BTreeSet<DestinationKey> {
    servers.into_iter().map(server).collect()
}

#[test]
fn servers_that_fall_together_keep_their_weight_together() {
    let mut pool = pool(3, 1, keep(WhenAllDown::Keep));
    for n in 1..=3 {
        assert_eq!(turn(&mut pool, 1, n, true), None);
    }
    assert_eq!(turn(&mut pool, 10, 1, false), None);
    assert_eq!(weights(&pool), [Some(0), Some(1), Some(1)]);
    assert_eq!(turn(&mut pool, 20, 2, false), None);
    assert_eq!(turn(&mut pool, 21, 3, false), Some(Turn::AllDown(set([2, 3]))));
    assert_eq!(weights(&pool), [Some(0), Some(1), Some(1)], "the one that fell long before stays out");
    assert_eq!(turn(&mut pool, 30, 1, true), Some(Turn::Recovered));
    assert_eq!(weights(&pool), [Some(1), Some(0), Some(0)]);
}

#[test]
fn what_a_check_made_of_the_weight_is_kept_too() {
    let mut pool = pool(3, 20, keep(WhenAllDown::Keep));
    pool.verdict(SECOND, &server(1), &weighs(1, true, Factor::Weight { weight: 7 }));
    pool.verdict(SECOND, &server(2), &says(2, true, 50));
    assert_eq!(turn(&mut pool, 1, 3, false), None);
    (1..=2).for_each(|n| _ = turn(&mut pool, 2, n, false));
    assert_eq!(weights(&pool), [Some(7), Some(10), Some(0)]);
    assert_eq!(turn(&mut pool, 3, 3, true), Some(Turn::Recovered));
    assert_eq!(weights(&pool), [Some(0), Some(0), Some(20)]);
}

#[test]
fn refuse_takes_the_last_one_out() {
    let mut pool = pool(3, 1, keep(WhenAllDown::Refuse));
    (1..=3).for_each(|n| assert_eq!(turn(&mut pool, 1, n, true), None));
    let turns: Vec<_> = (1..=3).map(|n| turn(&mut pool, 2, n, false)).collect();
    assert_eq!(turns, [None, None, Some(Turn::AllDown(set([])))]);
    assert_eq!(weights(&pool), [Some(0); 3]);
}

#[test]
fn a_server_found_with_weight_counts_as_up_until_its_verdict() {
    let mut pool = pool(3, 1, keep(WhenAllDown::Keep));
    pool.found([(server(1), 7)]);
    assert_eq!(weights(&pool), [Some(7), None, None], "what is found stays until a verdict");
    assert_eq!(turn(&mut pool, 1, 2, false), None);
    assert_eq!(turn(&mut pool, 1, 3, false), None);
    assert_eq!(turn(&mut pool, 1, 1, false), Some(Turn::AllDown(set([1]))));
    assert_eq!(weights(&pool), [Some(1), Some(0), Some(0)]);
}

#[test]
fn servers_that_were_never_up_have_nothing_to_keep_and_it_is_said_once() {
    let mut pool = pool(3, 1, keep(WhenAllDown::Keep));
    let turns: Vec<_> = (1..=3).map(|n| turn(&mut pool, 1, n, false)).collect();
    assert_eq!(turns, [None, None, Some(Turn::AllDown(set([])))]);
    assert_eq!(weights(&pool), [Some(0); 3]);
}

#[test]
fn below_the_minimum_the_last_healthy_set_keeps_its_weight() {
    let policy = Policy { min_healthy: Some(Amount::Percent(50)), ..keep(WhenAllDown::Keep) };
    let mut pool = pool(4, 1, policy);
    (1..=4).for_each(|n| assert_eq!(turn(&mut pool, 1, n, true), None));
    assert_eq!(turn(&mut pool, 10, 1, false), None);
    assert_eq!(turn(&mut pool, 20, 2, false), None);
    assert_eq!(weights(&pool), [Some(0), Some(0), Some(1), Some(1)], "half of them is enough");
    assert_eq!(turn(&mut pool, 30, 3, false), Some(Turn::TooFew(1, set([3, 4]))));
    assert_eq!(weights(&pool), [Some(0), Some(0), Some(1), Some(1)], "the survivor is not loaded to death");
    assert_eq!(turn(&mut pool, 40, 4, false), Some(Turn::AllDown(set([3, 4]))));
    assert_eq!(weights(&pool), [Some(0), Some(0), Some(1), Some(1)]);
    assert_eq!(turn(&mut pool, 50, 1, true), Some(Turn::TooFew(1, set([3, 4]))));
    assert_eq!(weights(&pool), [Some(1), Some(0), Some(1), Some(1)]);
    assert_eq!(turn(&mut pool, 60, 2, true), Some(Turn::Recovered));
    assert_eq!(weights(&pool), [Some(1), Some(1), Some(0), Some(0)]);
}

#[test]
fn if_the_last_healthy_set_is_too_small_all_get_their_weight() {
    let policy = Policy { min_healthy: Some(Amount::Count(3)), ..keep(WhenAllDown::Refuse) };
    let mut pool = pool(4, 1, policy);
    (1..=2).for_each(|n| assert_eq!(turn(&mut pool, 1, n, true), None));
    assert_eq!(turn(&mut pool, 2, 3, false), None, "the fourth may be up");
    assert_eq!(turn(&mut pool, 2, 4, false), Some(Turn::TooFew(2, set(1..=4))));
    assert_eq!(weights(&pool), [Some(1); 4]);
    turn(&mut pool, 9, 1, false);
    assert_eq!(turn(&mut pool, 9, 2, false), Some(Turn::AllDown(set([]))));
    assert_eq!(weights(&pool), [Some(0); 4], "what to do without any server is asked for apart");
}

#[test]
fn the_fallback_has_weight_while_no_server_is_up() {
    let mut pool = pool(2, 3, keep(WhenAllDown::Fallback));
    pool.members.insert(server(9), Member::new(1, true, BTreeMap::new()));
    assert_eq!(weights(&pool), [None, None, Some(0)], "nothing is known yet");
    (1..=2).for_each(|n| assert_eq!(turn(&mut pool, 1, n, true), None));
    assert_eq!(turn(&mut pool, 5, 1, false), None);
    assert_eq!(weights(&pool), [Some(0), Some(3), Some(0)]);
    assert_eq!(turn(&mut pool, 6, 2, false), Some(Turn::AllDown(set([9]))));
    assert_eq!(weights(&pool), [Some(0), Some(0), Some(1)]);
    assert_eq!(turn(&mut pool, 7, 1, true), Some(Turn::Recovered));
    assert_eq!(weights(&pool), [Some(3), Some(0), Some(0)]);
}

#[test]
fn all_checks_of_a_server_must_pass() {
    let mut pool = pool(1, 1, keep(WhenAllDown::Refuse));
    second_check(&mut pool);
    assert_eq!(pool.verdict(SECOND, &server(1), &says(1, true, 100)), None);
    assert_eq!(weights(&pool), [None], "the other has not answered yet");
    pool.verdict(SECOND, &server(1), &says(50, true, 100));
    assert_eq!(weights(&pool), [Some(1)]);
    pool.verdict(SECOND, &server(1), &says(50, false, 100));
    assert_eq!(weights(&pool), [Some(0)]);
}

#[test]
fn a_server_that_returns_to_a_working_pool_starts_slowly() {
    let policy = Policy { slow_start: 10 * SECOND, ..keep(WhenAllDown::Keep) };
    let mut pool = pool(2, 100, policy);
    (1..=2).for_each(|n| assert_eq!(turn(&mut pool, 1, n, true), None));
    assert_eq!(weights(&pool), [Some(100); 2], "all begin together: there is nobody to spare them");
    turn(&mut pool, 10, 1, false);
    turn(&mut pool, 20, 1, true);
    assert_eq!(weights(&pool), [Some(10), Some(100)]);
    let mut seen = Vec::new();
    while let Some(next) = pool.next() {
        pool.tick(next - Duration::from_nanos(1));
        let before = weights(&pool)[0].unwrap();
        pool.tick(next);
        let after = weights(&pool)[0].unwrap();
        assert_eq!(after - before, 10, "at {next:?}");
        seen.push((next.as_secs(), after));
    }
    assert_eq!((seen[0], seen[8], seen.len()), ((21, 20), (29, 100), 9));
    turn(&mut pool, 40, 1, false);
    turn(&mut pool, 41, 2, false);
    turn(&mut pool, 50, 1, true);
    assert_eq!(weights(&pool), [Some(100), Some(0)], "alone it does all the work anyway");
}

#[test]
fn factors_of_checks_are_multiplied() {
    let mut pool = pool(2, 20, keep(WhenAllDown::Keep));
    second_check(&mut pool);
    turn(&mut pool, 1, 2, true);
    let rounded_once = [(33, 300, 19), (300, 33, 19), (7, 900, 12)];
    let plain = [(100, 100, 20), (50, 50, 5), (1, 1, 1), (0, 100, 0), (300, 100, 60)];
    for (first, second, weight) in plain.into_iter().chain(rounded_once) {
        pool.verdict(SECOND, &server(1), &says(1, true, first));
        pool.verdict(SECOND, &server(1), &says(50, true, second));
        assert_eq!(weights(&pool)[0], Some(weight), "{first} % and {second} %");
    }
}

#[test]
fn checks_may_give_weights_and_add_to_them() {
    use Factor::{Added, Percent, Weight};
    let mut pool = pool(2, 10, keep(WhenAllDown::Keep));
    second_check(&mut pool);
    turn(&mut pool, 1, 2, true);
    // keepalived 2.2.7 does the same with MISC_CHECK (misc_dynamic) and FILE_CHECK.
    let cases = [
        (Weight { weight: 5 }, Percent(100), 5),
        (Weight { weight: 0 }, Percent(100), 0),
        (Weight { weight: 5 }, Added { added: 8 }, 13),
        (Added { added: 400 }, Added { added: 600 }, 1010),
        (Added { added: -8 }, Added { added: 9 }, 11),
        (Added { added: -10 }, Percent(100), 0),
        (Added { added: i32::MIN }, Added { added: -1 }, 0),
        (Added { added: i32::MAX }, Added { added: 1 }, i32::MAX as u32),
        // And what it does not have.
        (Weight { weight: 5 }, Weight { weight: 3 }, 3),
        (Added { added: -9 }, Percent(50), 1),
        (Weight { weight: 30 }, Percent(50), 15),
        (Added { added: 30 }, Percent(0), 0),
    ];
    for (first, second, weight) in cases {
        pool.verdict(SECOND, &server(1), &weighs(1, true, first));
        pool.verdict(SECOND, &server(1), &weighs(50, true, second));
        assert_eq!(weights(&pool)[0], Some(weight), "{first:?} and {second:?}");
        assert_eq!(pool.is_up(&server(1)), weight > 0, "{first:?} and {second:?}");
    }
    pool.verdict(SECOND, &server(1), &weighs(1, true, Weight { weight: 30 }));
    pool.verdict(SECOND, &server(1), &weighs(50, true, Added { added: 2 }));
    pool.operate(SECOND, &server(1), Some(7));
    assert_eq!(weights(&pool)[0], Some(9), "an operator's weight stands instead of the check's");
    pool.operate(SECOND, &server(1), None);
    assert_eq!(weights(&pool)[0], Some(32));
    pool.members.get_mut(&server(1)).unwrap().weight = 0;
    assert_eq!(
        (weights(&pool)[0], pool.is_up(&server(1))),
        (Some(0), false),
        "what the config keeps out stays out"
    );
}

#[test]
fn a_quorum_is_told_once_when_it_settles_and_once_for_each_change() {
    let of = model::Quorum { weight: 3, hysteresis: 1, ..model::Quorum::default() };
    let (mut pool, mut quorum) = (pool(4, 1, keep(WhenAllDown::Keep)), Quorum::default());
    let mut after = |n, up| {
        turn(&mut pool, 1, n, up);
        quorum.turn(&of, &pool)
    };
    assert_eq!([after(1, true), after(2, true), after(3, false)], [None; 3], "the fourth may be up");
    assert_eq!(after(4, false), Some(false));
    assert_eq!(after(3, true), None, "three of them are not yet three and one");
    assert_eq!(after(4, true), Some(true));
    assert_eq!([after(3, false), after(4, false)], [None; 2], "two is three less one");
    assert_eq!(after(1, false), Some(false));
}
