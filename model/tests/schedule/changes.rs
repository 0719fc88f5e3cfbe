//! Times where clocks are changed, in zones that differ.

use millrace_event::Timestamp;
use millrace_model::source::Schedule;
use proptest::prelude::*;

use crate::times;

#[test]
fn a_time_of_day_comes_once_a_day_also_where_the_clock_is_changed() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        // New York springs forward from 02:00 to 03:00 on 2026-03-08: what would be at 02:30 comes at 03:00.
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-07T00:00:00Z",
            &[
                "03-07T02:30:00-05:00",
                "03-08T03:00:00-04:00",
                "03-09T02:30:00-04:00",
            ],
        ),
        // And falls back from 02:00 to 01:00 on 2026-11-01: 01:30 comes at the first of two.
        (
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T12:00:00Z",
            &["11-01T01:30:00-04:00", "11-02T01:30:00-05:00"],
        ),
        // Berlin: 2026-03-29 02:00 to 03:00, 2026-10-25 03:00 to 02:00.
        (
            "15 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            &["03-29T03:00:00+02:00", "03-30T02:15:00+02:00"],
        ),
        (
            "15 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            &["10-25T02:15:00+02:00", "10-26T02:15:00+01:00"],
        ),
        // Lord Howe changes by half an hour: 2026-10-04 02:00 to 02:30, 2026-04-05 02:00 to 01:30.
        (
            "10 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00:00Z",
            &["10-04T02:30:00+11:00", "10-05T02:10:00+11:00"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00:00Z",
            &["04-05T01:45:00+11:00", "04-06T01:45:00+10:30"],
        ),
        // Tokyo changes nothing.
        (
            "30 2 * * *",
            "Asia/Tokyo",
            "2026-03-28T00:00:00Z",
            &["03-29T02:30:00+09:00", "03-30T02:30:00+09:00"],
        ),
    ];
    for (expression, zone, after, expected) in cases {
        assert_eq!(
            times(expression, zone, after, expected.len()),
            *expected,
            "{expression} in {zone}"
        );
    }
}

#[test]
fn what_comes_by_the_clock_leaves_a_gap_out_and_comes_in_both_of_the_repeated_hours() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "0 * * * *",
            "America/New_York",
            "2026-03-08T05:30:00Z",
            &[
                "03-08T01:00:00-05:00",
                "03-08T03:00:00-04:00",
                "03-08T04:00:00-04:00",
            ],
        ),
        (
            "0 * * * *",
            "America/New_York",
            "2026-11-01T04:30:00Z",
            &[
                "11-01T01:00:00-04:00",
                "11-01T01:00:00-05:00",
                "11-01T02:00:00-05:00",
            ],
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:20:00Z",
            &[
                "03-29T01:30:00+01:00",
                "03-29T03:00:00+02:00",
                "03-29T03:30:00+02:00",
            ],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T23:00:00Z",
            &[
                "10-25T02:00:00+02:00",
                "10-25T02:30:00+02:00",
                "10-25T02:00:00+01:00",
                "10-25T02:30:00+01:00",
                "10-26T02:00:00+01:00",
            ],
        ),
        // Two hours are no single time of day: the one in the gap is left out.
        (
            "30 2,14 * * *",
            "Europe/Berlin",
            "2026-03-28T20:00:00Z",
            &["03-29T14:30:00+02:00", "03-30T02:30:00+02:00"],
        ),
        (
            "*/20 * * * *",
            "Australia/Lord_Howe",
            "2026-10-03T15:20:00Z",
            &["10-04T02:40:00+11:00", "10-04T03:00:00+11:00"],
        ),
        (
            "*/20 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:20:00Z",
            &[
                "04-05T01:40:00+11:00",
                "04-05T01:40:00+10:30",
                "04-05T02:00:00+10:30",
            ],
        ),
        (
            "0 */6 * * *",
            "Asia/Tokyo",
            "2026-03-29T00:00:00Z",
            &[
                "03-29T12:00:00+09:00",
                "03-29T18:00:00+09:00",
                "03-30T00:00:00+09:00",
            ],
        ),
    ];
    for (expression, zone, after, expected) in cases {
        assert_eq!(
            times(expression, zone, after, expected.len()),
            *expected,
            "{expression} in {zone}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// From wherever one asks, the same times come: otherwise a restart would skip one or make one up.
    #[test]
    fn the_times_do_not_depend_on_where_one_asks(
        expression in prop::sample::select(vec![
            "* * * * *", "*/20 * * * *", "30 2 * * *", "30 1 * * *", "0 2 * * *", "0 2,3 * * *", "*/7 */20 1-3 * * *",
        ]),
        (zone, change) in prop::sample::select(vec![
            ("America/New_York", 1_772_953_200_i64), ("America/New_York", 1_793_512_800),
            ("Europe/Berlin", 1_774_746_000), ("Europe/Berlin", 1_792_890_000),
            ("Australia/Lord_Howe", 1_775_314_800), ("Australia/Lord_Howe", 1_791_041_400),
            ("Asia/Tokyo", 1_774_746_000),
        ]),
        offset in -10_000_i64..10_000,
        part in 0_i64..1000,
    ) {
        let schedule = Schedule::parse(expression, zone).unwrap();
        let from = Timestamp((change + offset) * 1000);
        let next = schedule.next_after(from).unwrap();
        prop_assert!(next > from);
        let between = Timestamp(from.0 + (next.0 - 1 - from.0) * part / 1000);
        prop_assert_eq!(schedule.next_after(between), Some(next));
    }
}
