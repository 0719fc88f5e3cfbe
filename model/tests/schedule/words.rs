//! How fields and descriptors are read, and what is refused in which words.

use millrace_event::Timestamp;
use millrace_model::source::{Schedule, ScheduleError};
use proptest::prelude::*;

use crate::times;

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
        (
            "*,5 * * * *",
            "`*,5`: `*` already means every value: write * or 5",
        ),
        (
            "0 0 1,* * *",
            "the day of month does not make sense: `1,*`: `*` already means every value: write * or 1",
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
fn the_days_come_that_an_expression_names() {
    const MONDAYS: &[&str] = &["2026-01-05", "2026-01-12", "2026-01-19"];
    const FIRST_OF_MONTHS: &[&str] = &["2026-01-01", "2026-02-01", "2026-03-01"];
    const EACH: &[&str] = &["2026-01-01", "2026-01-02", "2026-01-03"];
    const LAST_FRIDAYS: &[&str] = &["2026-01-30", "2026-02-27"];
    for (expression, expected) in [
        // A day that is every day leaves the choice to the other.
        ("0 0 */1 * 1", MONDAYS),
        ("0 0 */01 * MON", MONDAYS),
        ("0 0 * * 1", MONDAYS),
        ("0 0 ? * 1", MONDAYS),
        ("0 0 0 */1 * 1", MONDAYS),
        ("0 0 */1 * +1", MONDAYS),
        ("0 0 1 * */1", FIRST_OF_MONTHS),
        ("0 0 1 * *", FIRST_OF_MONTHS),
        ("0 0 1 * ?", FIRST_OF_MONTHS),
        ("0 0 1 * +*", FIRST_OF_MONTHS),
        ("0 0 1 * +*/1", FIRST_OF_MONTHS),
        ("0 0 */1 * */1", EACH),
        ("0 0 * * *", EACH),
        ("0 0 ? * ?", EACH),
        // What leaves days out restricts: either will do.
        ("0 0 */2 * 5", EACH),
        ("0 0 1 * 5", &["2026-01-01", "2026-01-02", "2026-01-09"]),
        // Those that the guide names.
        ("0 0 * * 5L", LAST_FRIDAYS),
        ("0 0 * * 5#L", LAST_FRIDAYS),
        ("0 0 LW * *", &["2026-01-30", "2026-02-27", "2026-03-31"]),
        (
            "0 0 * * MON-FRI#2",
            &[
                "2026-01-08",
                "2026-01-09",
                "2026-01-12",
                "2026-01-13",
                "2026-01-14",
            ],
        ),
    ] {
        assert_eq!(days(expression, expected.len()), expected, "{expression}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_strange(text in "[0-9*,/@#LW?+ -]{0,24}", zone in "\\PC{0,12}") {
        let _ = Schedule::parse(&text, "UTC");
        let _ = Schedule::parse("@daily", &zone);
    }
}
