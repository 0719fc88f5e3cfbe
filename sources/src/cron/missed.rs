//! Which ticks were missed: the newest few of a span, found without walking through all of it.

use millrace_event::Timestamp;
use millrace_model::source::Schedule;

/// The instant in `(after, until]` behind which the newest `count` times of the span lie (or all of them).
///
/// The work is bounded whatever the span: some forty looks at `count` times each.
pub(super) fn all_but(schedule: &Schedule, after: Timestamp, until: Timestamp, count: usize) -> Timestamp {
    if has_at_most(schedule, after, until, count) {
        return after;
    }
    // Behind `few` there are at most `count`, behind `many` there are more.
    let (mut many, mut few) = (after, until);
    while few.0 - many.0 > 1 {
        let middle = Timestamp(many.0 + (few.0 - many.0) / 2);
        if has_at_most(schedule, middle, until, count) {
            few = middle;
        } else {
            many = middle;
        }
    }
    few
}

fn has_at_most(schedule: &Schedule, after: Timestamp, until: Timestamp, count: usize) -> bool {
    let times = std::iter::successors(schedule.next_after(after), |time| schedule.next_after(*time));
    times.take_while(|time| *time <= until).take(count + 1).count() <= count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_times_of_a_span_are_found_however_long_it_is() {
        const YEAR: i64 = 365 * 86_400_000;
        let now = Timestamp(1_790_000_000_000);
        let cases = [
            ("* * * * * *", YEAR, 1_000, 1_000),
            ("* * * * * *", YEAR, 1, 1),
            ("* * * * * *", YEAR, 0, 0),
            ("* * 3 1 * *", YEAR, 10, 10),
            ("0 0 * * *", YEAR, 1_000, 365),
            ("0 0 1 1 *", YEAR, 1, 1),
            ("0 0 * * *", 1_000, 5, 0),
        ];
        for (expression, span, count, expected) in cases {
            let schedule = Schedule::parse(expression, "Europe/Berlin").unwrap();
            let from = all_but(&schedule, Timestamp(now.0 - span), now, count);
            let times = std::iter::successors(schedule.next_after(from), |time| schedule.next_after(*time));
            let found = times.take_while(|time| *time <= now).count();
            assert_eq!(found, expected, "{expression}, {count}");
            assert!(Timestamp(now.0 - span) <= from && from <= now);
        }
    }
}
