//! What a schedule's times are: where clocks are changed, in zones that differ, and what is refused in which
//! words.

use millrace_event::Timestamp;
use millrace_model::source::{Schedule, ScheduleError};
use proptest::prelude::*;

/// The times after an instant, as a clock in the zone shows them, with its offset.
fn times(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(expression, zone).expect(expression);
    let after: jiff::Timestamp = after.parse().expect(after);
    let mut now = Timestamp(after.as_millisecond());
    let database = jiff::tz::TimeZoneDatabase::bundled();
    let shown = |time: Timestamp| {
        let time = jiff::Timestamp::from_millisecond(time.0).expect("a time");
        let zoned = time.to_zoned(database.get(zone).expect("a zone"));
        zoned.strftime("%m-%dT%H:%M:%S%:z").to_string()
    };
    (0..count)
        .map_while(|_| {
            now = schedule.next_after(now)?;
            Some(shown(now))
        })
        .collect()
}

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

#[test]
fn fields_and_descriptors_are_read_as_cron_and_knative_read_them() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "*/10 * * * * *",
            "2026-06-01T00:00:00.500Z",
            &["06-01T00:00:10+00:00", "06-01T00:00:20+00:00"],
        ),
        ("@hourly", "2026-06-01T00:00:00Z", &["06-01T01:00:00+00:00"]),
        ("@midnight", "2026-06-01T00:00:00Z", &["06-02T00:00:00+00:00"]),
        ("@Weekly", "2026-06-01T00:00:00Z", &["06-07T00:00:00+00:00"]),
        ("@monthly", "2026-06-01T00:00:00Z", &["07-01T00:00:00+00:00"]),
        ("@yearly", "2026-06-01T00:00:00Z", &["01-01T00:00:00+00:00"]),
        (
            "0/20 * * * *",
            "2026-06-01T00:00:00Z",
            &[
                "06-01T00:20:00+00:00",
                "06-01T00:40:00+00:00",
                "06-01T01:00:00+00:00",
            ],
        ),
        (
            "0 9 * * MON-FRI",
            "2026-06-05T10:00:00Z",
            &["06-08T09:00:00+00:00"],
        ),
        ("0 0 * * 7", "2026-06-01T00:00:00Z", &["06-07T00:00:00+00:00"]),
        ("0 0 L feb *", "2027-06-01T00:00:00Z", &["02-29T00:00:00+00:00"]),
        // Either of the two days, when both are given.
        (
            "0 0 13 * fri",
            "2026-06-01T00:00:00Z",
            &[
                "06-05T00:00:00+00:00",
                "06-12T00:00:00+00:00",
                "06-13T00:00:00+00:00",
            ],
        ),
        ("0 0 ? * ?", "2026-06-01T00:00:00Z", &["06-02T00:00:00+00:00"]),
    ];
    for (expression, after, expected) in cases {
        assert_eq!(
            times(expression, "UTC", after, expected.len()),
            *expected,
            "{expression}"
        );
    }
}

#[test]
fn what_is_no_schedule_is_refused_in_words() {
    let cases = [
        ("", "this has 0"),
        ("* * * *", "this has 4"),
        ("* * * * * * 2030", "this has 7"),
        ("@every 5m", "write them, for example"),
        ("@reboot", "@daily"),
        ("@daily @daily", "@daily"),
        ("TZ=Europe/Berlin 0 0 * * *", "write it as `timezone`"),
        ("CRON_TZ=UTC 0 0 * * *", "write it as `timezone`"),
        (
            "61 * * * *",
            "the minute does not make sense: `61`: there are 0 to 59",
        ),
        ("99 * * * * *", "the second does not make sense"),
        ("0 24 * * *", "the hour does not make sense"),
        ("0 0 32 * *", "the day of month does not make sense"),
        ("0 0 * 13 *", "the month does not make sense"),
        ("0 0 * * 8", "the day of week does not make sense"),
        (
            "0 0 * * L",
            "the day of week does not make sense: `L` alone names no day: the last Friday of a month is 5L or 5#L",
        ),
        (
            "*/0 * * * *",
            "the minute does not make sense: `*/0` steps by 0: write a step from 1 on",
        ),
        (
            "5-1 * * * *",
            "the minute does not make sense: `5-1` runs backwards: write 5-59,0-1",
        ),
        ("0 22-2 * * *", "`22-2` runs backwards: write 22-23,0-2"),
        ("0 23-0 * * *", "`23-0` runs backwards: write 23,0"),
        ("0 0 * * FRI-MON", "`FRI-MON` runs backwards: write 5-6,0-1"),
        ("0 0 * NOV-FEB *", "`NOV-FEB` runs backwards: write 11-12,1-2"),
        (
            "0 22-2/2 * * *",
            "`22-2/2` runs backwards: write two ranges without a step",
        ),
        ("0 0 * * Monday", "`Monday` is spelled out: write MON"),
        (
            "0 0 * * monday-FRIDAY",
            "`monday-FRIDAY` is spelled out: write MON-FRI",
        ),
        ("0 0 * * Mondays", "write MON"),
        ("0 0 * * Tues,Thur", "`Tues` is spelled out: write TUE"),
        ("0 0 1 January *", "`January` is spelled out: write JAN"),
        ("0 0 * Sept *", "`Sept` is spelled out: write SEP"),
        ("*,5 * * * *", "`*,5`: `*` is every value already: write * or 5"),
        (
            "0 0 1,* * *",
            "the day of month does not make sense: `1,*`: `*` is every value already: write * or 1",
        ),
        (
            "1,,2 * * * *",
            "`1,,2` has nothing between two commas or at an end: write 1,2",
        ),
        ("1, * * * *", "write 1"),
        (
            ",,, * * * *",
            "the minute does not make sense: `,,,` is a list with nothing in it",
        ),
        (
            "0 0 0 * *",
            "the day of month does not make sense: `0`: there are 1 to 31",
        ),
        ("0 0 * * +", "the day of week does not make sense"),
        (
            "/10 * * * *",
            "the minute does not make sense: `/10` has no beginning: write */10",
        ),
        ("a b c d e", "the minute does not make sense"),
        ("\u{130} * * * *", "the minute does not make sense"),
        ("0 0 30 2 *", "would never come"),
        ("0 0 31 2,4,6,9,11 *", "would never come"),
    ];
    for (expression, expected) in cases {
        let error = Schedule::parse(expression, "UTC")
            .expect_err(expression)
            .to_string();
        assert!(error.contains(expected), "{expression:?}: {error}");
    }
    assert_eq!(
        Schedule::parse(&"0,".repeat(1000), "UTC"),
        Err(ScheduleError::TooLong)
    );
}

#[test]
fn zones_are_known_on_every_machine_and_others_are_refused() {
    for zone in [
        "UTC",
        "Europe/Berlin",
        "europe/berlin",
        "America/Argentina/ComodRivadavia",
        "Etc/GMT+5",
    ] {
        assert_eq!(Schedule::check_zone(zone), Ok(()), "{zone}");
    }
    for zone in ["", "Local", "Mars/Base", "../../etc/passwd", &"x".repeat(100_000)] {
        assert_eq!(Schedule::parse("@daily", zone), Err(ScheduleError::Zone));
    }
    assert!(Schedule::zones().len() > 300);
}

#[test]
fn a_rare_day_is_found_and_the_calendars_end_is_no_fault() {
    assert_eq!(
        times("0 0 29 2 +MON", "UTC", "2026-01-01T00:00:00Z", 1),
        ["02-29T00:00:00+00:00"]
    );
    let schedule = Schedule::parse("* * * * *", "UTC").unwrap();
    assert_eq!(schedule.next_after(Timestamp(i64::MAX)), None);
    assert_eq!(schedule.next_after(Timestamp(i64::MIN)), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_strange(text in "[0-9*,/@#LW?+ -]{0,24}", zone in "\\PC{0,12}") {
        let _ = Schedule::parse(&text, "UTC");
        let _ = Schedule::parse("@daily", &zone);
    }

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

/// The next times of an expression in UTC, as days of 2026.
fn days(expression: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(expression, "UTC").unwrap_or_else(|error| panic!("{expression}: {error}"));
    // The 1st of January 2026 is a Thursday.
    let mut at = Timestamp(1_767_225_600_000 - 1);
    let mut days = Vec::new();
    for _ in 0..count {
        at = schedule.next_after(at).expect("it comes again");
        let shown = jiff::Timestamp::from_millisecond(at.0)
            .expect("a time")
            .to_string();
        days.push(shown[..10].to_owned());
    }
    days
}

#[test]
fn a_day_that_is_every_day_leaves_the_choice_to_the_other() {
    let mondays = ["2026-01-05", "2026-01-12", "2026-01-19"];
    for expression in [
        "0 0 */1 * 1",
        "0 0 */01 * MON",
        "0 0 * * 1",
        "0 0 ? * 1",
        "0 0 0 */1 * 1",
        "0 0 */1 * +1",
    ] {
        assert_eq!(days(expression, 3), mondays, "{expression}");
    }
    let first = ["2026-01-01", "2026-02-01", "2026-03-01"];
    for expression in [
        "0 0 1 * */1",
        "0 0 1 * *",
        "0 0 1 * ?",
        "0 0 1 * +*",
        "0 0 1 * +*/1",
    ] {
        assert_eq!(days(expression, 3), first, "{expression}");
    }
    let each = ["2026-01-01", "2026-01-02", "2026-01-03"];
    for expression in ["0 0 */1 * */1", "0 0 * * *", "0 0 ? * ?"] {
        assert_eq!(days(expression, 3), each, "{expression}");
    }
    // What leaves days out restricts: either will do.
    assert_eq!(days("0 0 */2 * 5", 3), ["2026-01-01", "2026-01-02", "2026-01-03"]);
    assert_eq!(days("0 0 1 * 5", 3), ["2026-01-01", "2026-01-02", "2026-01-09"]);
}

#[test]
fn the_days_that_the_guide_names_come_when_it_says() {
    assert_eq!(days("0 0 * * 5L", 2), ["2026-01-30", "2026-02-27"]);
    assert_eq!(days("0 0 * * 5#L", 2), ["2026-01-30", "2026-02-27"]);
    assert_eq!(days("0 0 LW * *", 3), ["2026-01-30", "2026-02-27", "2026-03-31"]);
    assert_eq!(
        days("0 0 * * MON-FRI#2", 5),
        [
            "2026-01-08",
            "2026-01-09",
            "2026-01-12",
            "2026-01-13",
            "2026-01-14"
        ]
    );
}
