//! What a run does when its clock is set by a little, by hours or by decades, and put right again.

use super::*;

const START: Timestamp = Timestamp(1_790_000_000_000);
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const YEAR: i64 = 365 * 24 * HOUR;

/// A look so long after the start, with the clock set by `set` since.
fn at(passed: i64, set: i64) -> Moment {
    Moment {
        wall: Timestamp(START.0 + passed + set),
        steady: Timestamp(START.0 + passed),
    }
}

/// A run that has sent a tick at `SENT`, the minute after the start.
const SENT: Timestamp = Timestamp(START.0 + MINUTE);

fn begun() -> Horizon {
    let mut horizon = Horizon::default();
    assert_eq!(horizon.look(at(0, 0), START), Look::Lapsed { done: None });
    assert_eq!(horizon.look(at(MINUTE, 0), START), Look::On);
    horizon.sent(SENT);
    horizon
}

#[test]
fn a_clock_that_is_set_by_a_little_is_waited_for_and_by_more_is_believed() {
    let reached = SENT;
    let lapsed = Look::Lapsed { done: None };
    let cases = [
        (0, Look::On),
        (-1_000, Look::On),
        (-30_000, Look::On),
        (-2 * MINUTE, Look::Behind(reached)),
        (-HOUR, Look::Behind(reached)),
        (-3 * HOUR, Look::Behind(reached)),
        (-3 * HOUR - MINUTE, Look::SetBack(reached)),
        (-56 * YEAR, Look::SetBack(reached)),
        (MINUTE, Look::On),
        (2 * MINUTE, lapsed),
        (2 * HOUR, lapsed),
        (70 * YEAR, lapsed),
    ];
    for (set, expected) in cases {
        assert_eq!(begun().look(at(MINUTE + 1_000, set), SENT), expected, "{set}");
    }
}

#[test]
fn set_right_again_it_goes_on_as_if_nothing_had_been() {
    let mut horizon = begun();
    for second in 0..75 {
        let look = horizon.look(at(MINUTE + second * 1_000, -2 * HOUR), SENT);
        assert_eq!(look, Look::Behind(SENT));
    }
    let now = at(MINUTE + 75_000, 0);
    assert_eq!(horizon.look(now, SENT), Look::On, "75 s are no lapse");
    assert_eq!(horizon.reached(now.wall), now.wall);
}

#[test]
fn what_was_sent_before_a_day_was_set_back_is_not_sent_again_when_it_is_right_again() {
    // Put right: a little before what it had reached, and hours before.
    for (early, expected) in [
        (-3 * MINUTE, Look::Lapsed { done: Some(SENT) }),
        (30_000, Look::Lapsed { done: Some(SENT) }),
        (2 * MINUTE, Look::Behind(SENT)),
        (2 * HOUR, Look::Behind(SENT)),
    ] {
        let mut horizon = begun();
        let day = -24 * HOUR;
        assert_eq!(horizon.look(at(MINUTE, day), SENT), Look::SetBack(SENT));
        let done = Timestamp(SENT.0 + day);
        assert_eq!(horizon.look(at(2 * MINUTE, day), done), Look::On, "it goes on");
        let look = horizon.look(at(MINUTE, -early), done);
        assert_eq!(look, expected, "{early}");
        let look = horizon.look(at(9 * MINUTE, 0), SENT);
        assert_eq!(look, Look::Lapsed { done: None }, "told once");
    }
}

#[test]
fn a_day_that_is_right_again_by_half_is_done_up_to_there_and_later_to_its_end() {
    let mut horizon = begun();
    assert_eq!(horizon.look(at(MINUTE, -24 * HOUR), SENT), Look::SetBack(SENT));
    let half = at(MINUTE, -12 * HOUR);
    let done = Timestamp(SENT.0 - 24 * HOUR);
    assert_eq!(
        horizon.look(half, done),
        Look::Lapsed {
            done: Some(half.wall)
        }
    );
    let look = horizon.look(at(2 * MINUTE, 0), half.wall);
    assert_eq!(look, Look::Lapsed { done: Some(SENT) });
}

#[test]
fn an_excursion_by_decades_hides_nothing_of_what_was_sent_before_it() {
    let mut horizon = begun();
    let far = at(MINUTE, 70 * YEAR);
    assert_eq!(horizon.look(far, SENT), Look::Lapsed { done: None });
    horizon.left_out(far.wall, far.wall);
    let done = Timestamp(far.wall.0 + 1_000);
    horizon.sent(done);
    let right = at(MINUTE + 1_000, 0);
    assert_eq!(horizon.look(right, done), Look::Undone(SENT));
    assert_eq!(horizon.look(right, SENT), Look::On);
    let day = at(MINUTE + 2_000, -24 * HOUR);
    assert_eq!(horizon.look(day, SENT), Look::SetBack(right.wall));
    let early = at(MINUTE - 30_000, 0);
    assert_eq!(horizon.look(early, day.wall), Look::Lapsed { done: Some(SENT) });
}

#[test]
fn a_leap_that_is_undone_is_waited_for_only_where_ticks_were_sent() {
    for leap in [3 * MINUTE, 2 * HOUR, 24 * HOUR, 70 * YEAR] {
        let mut horizon = begun();
        let far = at(MINUTE, leap);
        assert_eq!(horizon.look(far, SENT), Look::Lapsed { done: None });
        horizon.left_out(far.wall, far.wall);
        assert_eq!(horizon.look(at(2 * MINUTE, leap), far.wall), Look::On);
        let tick = Timestamp(far.wall.0 + MINUTE);
        horizon.sent(tick);
        let right = at(2 * MINUTE + 15_000, 0);
        assert_eq!(horizon.look(right, tick), Look::Undone(SENT), "{leap}");
        assert_eq!(horizon.look(right, SENT), Look::On, "75 s are no lapse");
        assert_eq!(horizon.skip(far.wall), None, "it was left out");
        assert_eq!(horizon.skip(tick), Some(tick), "it was sent");
        assert_eq!(horizon.skip(tick), None, "told once");
    }
}

#[test]
fn times_for_which_nothing_was_sent_are_not_waited_for() {
    let mut horizon = begun();
    assert_eq!(horizon.look(at(2 * MINUTE, 0), SENT), Look::On);
    let hour = at(HOUR, 0);
    assert_eq!(horizon.look(hour, SENT), Look::Lapsed { done: None });
    // Nothing was due and nothing was left out.
    let back = at(HOUR, -30 * MINUTE);
    assert_eq!(horizon.look(back, SENT), Look::On);
    assert_eq!(horizon.reached(back.wall), back.wall);
}

#[test]
fn however_often_the_clock_leaps_little_is_remembered() {
    let mut horizon = begun();
    let mut done = SENT;
    for leap in 1..100 {
        let far = at(MINUTE, leap * YEAR);
        assert_eq!(horizon.look(far, done), Look::Lapsed { done: None });
        horizon.left_out(far.wall, far.wall);
        done = Timestamp(far.wall.0 + 1_000);
        horizon.sent(done);
        assert!(horizon.others.len() <= REMEMBERED);
    }
    let right = at(MINUTE, 0);
    let Look::Undone(done) = horizon.look(right, done) else {
        panic!("the leaps are undone")
    };
    assert_eq!(horizon.look(right, done), Look::On);
}

#[test]
fn a_tick_of_the_year_2099_frees_itself_at_the_start() {
    let future = Timestamp(START.0 + 73 * YEAR);
    let mut horizon = Horizon::default();
    assert_eq!(horizon.look(at(0, 0), future), Look::SetBack(future));
    assert_eq!(horizon.look(at(1_000, 0), START), Look::On);
    let later = horizon.look(at(HOUR, 0), START);
    assert_eq!(
        later,
        Look::Lapsed { done: None },
        "nobody knows what was sent then"
    );
}

#[test]
fn a_clock_that_leaps_while_the_sink_takes_nothing_is_found_afterwards() {
    let mut horizon = begun();
    horizon.was_at_work(at(9 * HOUR, 0));
    assert_eq!(
        horizon.look(at(9 * HOUR, 0), START),
        Look::On,
        "nothing was missed"
    );
    horizon.was_at_work(at(10 * HOUR, YEAR));
    assert_eq!(
        horizon.look(at(10 * HOUR, YEAR), START),
        Look::Lapsed { done: None }
    );
}
