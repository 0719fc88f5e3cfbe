//! What a schedule's times are, where clocks are changed and elsewhere, and what is refused in which words.

mod changes;
mod words;

use millrace_event::Timestamp;
use millrace_model::source::Schedule;

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
