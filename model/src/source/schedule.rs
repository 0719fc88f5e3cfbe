//! The times of a cron expression in a time zone. Documents and the source that keeps to them read it here,
//! and nowhere else.

use std::fmt;
use std::sync::LazyLock;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use millrace_event::Timestamp;

use super::schedule_words;

/// The times of a cron expression in a time zone. Cheap to clone enough for a source; two are equal when
/// their texts are.
///
/// # Guarantees
/// - The times are whole seconds, and depend on nothing but the two texts and the zone's rules: from wherever
///   one asks, the same times come.
/// - The rules of time zones are those that Millrace was built with, whatever the machine has.
///
/// # Where clocks are changed
/// An expression with one second, one minute and one hour (`30 2 * * *`) names a time of day, and has it once
/// a day: in a gap it comes at the end of the gap, and of a repeated hour it takes the first. Any other
/// (`*/15 * * * *`, `0 2,3 * * *`) names what the clock shows: it leaves the gap out and comes in both of the
/// repeated hours.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
}

/// Why a text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It is longer than any that makes sense.
    #[error("a schedule has at most {MAX_TEXT} characters")]
    TooLong,
    /// It has too few or too many fields.
    #[error(
        "a schedule has five fields (minute, hour, day of month, month, day of week), or six with the second first; \
         this has {0}"
    )]
    Fields(usize),
    /// It begins with `@` and is none of the descriptors.
    #[error("there are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly")]
    Descriptor,
    /// `@every`.
    #[error(
        "`@every` has no fixed times, so what was missed could not be told; write them, for example `*/5 * * * *`"
    )]
    Every,
    /// The time zone stands in the schedule.
    #[error("the time zone does not stand in the schedule: write it as `timezone`")]
    ZoneInside,
    /// A field that does not make sense.
    #[error("the {field} does not make sense: {reason}")]
    Field {
        /// Which one.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// There is no such time: the 30th of February.
    #[error("no day is like that: this schedule would never come")]
    Never,
    /// The zone is not known.
    #[error("there is no time zone of that name; write one of the IANA database, for example Europe/Berlin")]
    Zone,
}

/// The most characters of an expression.
const MAX_TEXT: usize = 256;
/// The most characters of a zone's name; the longest that there is has 32.
const MAX_ZONE: usize = 64;
/// The fields in order.
const FIELDS: [&str; 6] = ["second", "minute", "hour", "day of month", "month", "day of week"];
/// In so many years every day of the year has met every day of the week, leap years too.
const YEARS: &str = "2024-2051";

/// The time zones that this was built with: the same on every machine, also on one that has none.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

// === impl Schedule ===

impl Schedule {
    /// Reads an expression of five or six fields or a descriptor, and the name of a zone.
    ///
    /// # Errors
    /// Says what is wrong with either.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone = Self::zone(zone)?;
        let expression = expression.trim();
        if expression.len() > MAX_TEXT {
            return Err(ScheduleError::TooLong);
        }
        let fields = fields(expression)?;
        let cron = read(&fields)?;
        if !comes(&whole_days(&fields)) {
            return Err(ScheduleError::Never);
        }
        let text = expression.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { text, cron, zone })
    }

    /// Whether there is a zone of that name.
    ///
    /// # Errors
    /// When there is not.
    pub fn check_zone(zone: &str) -> Result<(), ScheduleError> {
        Self::zone(zone).map(drop)
    }

    /// The names of all zones, for suggestions.
    pub fn zones() -> Vec<String> {
        ZONES.available().map(|name| name.to_string()).collect()
    }

    fn zone(name: &str) -> Result<TimeZone, ScheduleError> {
        if name.len() > MAX_ZONE {
            return Err(ScheduleError::Zone);
        }
        ZONES.get(name).map_err(|_| ScheduleError::Zone)
    }

    /// The first time after `after`; `None` when there is none in the years that the calendar knows.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let whole = after.0.div_euclid(1000);
        let from = jiff::Timestamp::from_second(whole).ok()?;
        let next = self
            .cron
            .find_next_occurrence(&from.to_zoned(self.zone.clone()), false)
            .ok()?;
        let next = Timestamp(next.timestamp().as_second().checked_mul(1000)?);
        (next > after).then_some(next)
    }

    /// The expression, with single spaces.
    pub fn expression(&self) -> &str {
        &self.text
    }

    /// The name of the zone.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone_name() == other.zone_name()
    }
}

impl Eq for Schedule {}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

impl fmt::Display for Schedule {
    /// `*/5 * * * * (Europe/Berlin)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.zone_name())
    }
}

/// The six fields of an expression.
fn fields(expression: &str) -> Result<Vec<&str>, ScheduleError> {
    let lower = expression.to_ascii_lowercase();
    if lower.starts_with("tz=") || lower.starts_with("cron_tz=") {
        return Err(ScheduleError::ZoneInside);
    }
    if lower.starts_with("@every") {
        return Err(ScheduleError::Every);
    }
    let expression = match lower.as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other if other.starts_with('@') => return Err(ScheduleError::Descriptor),
        _ => expression,
    };
    let mut fields: Vec<&str> = expression.split_whitespace().collect();
    if fields.len() == FIELDS.len() - 1 {
        fields.insert(0, "0");
    }
    if fields.len() == FIELDS.len() {
        Ok(fields)
    } else {
        Err(ScheduleError::Fields(fields.len()))
    }
}

/// Reads the fields one by one, so that an error names the one that is wrong.
fn read(fields: &[&str]) -> Result<Cron, ScheduleError> {
    let whole = whole_days(fields);
    for (index, field) in fields.iter().enumerate() {
        let fault = |reason: &str| ScheduleError::Field {
            field: FIELDS.get(index).copied().unwrap_or("schedule"),
            reason: reason.to_owned(),
        };
        let items = field.strip_prefix('+').filter(|_| index == 5).unwrap_or(field);
        if let Some(reason) = schedule_words::wrong(index, items) {
            return Err(fault(&reason));
        }
        // The parser takes lists with nothing in them, for which it then looks in vain.
        if items.split(',').any(|item| !is_item(item)) {
            return Err(fault(&format!(
                "`{field}` is no list of values, ranges (1-5) and steps (*/5)"
            )));
        }
        if index == 5 && items.eq_ignore_ascii_case("l") {
            return Err(fault(
                "`L` alone names no day: the last Friday of a month is 5L or 5#L",
            ));
        }
        let mut alone = ["*"; FIELDS.len()];
        if let Some(slot) = alone.get_mut(index) {
            *slot = whole.get(index).copied().unwrap_or(field);
        }
        if let Err(error) = parser(Year::Disallowed).parse(&alone.join(" ")) {
            return Err(fault(&format!("`{field}`: {}", sentence(&error))));
        }
    }
    parser(Year::Disallowed)
        .parse(&whole.join(" "))
        .map_err(|error| ScheduleError::Field {
            field: "schedule",
            reason: sentence(&error),
        })
}

/// The fields, with a `*` in the place of what restricts a day no more than that: crontab(5) and robfig's
/// parser say that the other of the two days then decides, and croner knows only the `*` itself.
fn whole_days<'a>(fields: &[&'a str]) -> Vec<&'a str> {
    let is_whole = |index: usize, field: &str| {
        let bare = field.strip_prefix('+').filter(|_| index == 5).unwrap_or(field);
        let step = match bare.strip_prefix(['*', '?']) {
            Some("") => Some("1"),
            Some(rest) => rest.strip_prefix('/'),
            None => None,
        };
        matches!(index, 3 | 5) && step.is_some_and(|step| step.trim_start_matches('0') == "1")
    };
    let fields = fields.iter().enumerate();
    fields
        .map(|(index, field)| if is_whole(index, field) { "*" } else { *field })
        .collect()
}

/// Something, at most one range and one step, and nothing open at an end.
fn is_item(item: &str) -> bool {
    let is_open = item.starts_with(['-', '/', '#']) || item.ends_with(['-', '/', '#']);
    let counts = ['-', '/', '#'].map(|sign| item.matches(sign).count());
    !item.is_empty() && item.is_ascii() && !is_open && counts.iter().all(|count| *count <= 1)
}

/// Whether any day is such. Looked for in few years: the search through all of them takes long.
fn comes(fields: &[&str]) -> bool {
    let within = format!("{} {YEARS}", fields.join(" "));
    let begin = jiff::civil::datetime(2024, 1, 1, 0, 0, 0, 0);
    parser(Year::Required)
        .parse(&within)
        .is_ok_and(|cron| cron.find_next_occurrence(&begin, true).is_ok())
}

fn parser(year: Year) -> CronParser {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(year)
        // As Knative's PingSource: `0/10` counts from 0.
        .sloppy_ranges(true)
        .build()
}

/// What the parser says, without what names its own parts.
fn sentence(error: &croner::errors::CronError) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(": ").map_or(text.as_str(), |(_, rest)| rest);
    text.trim_end_matches('.').to_lowercase()
}
