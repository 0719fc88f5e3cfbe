//! Durations: ISO 8601 as Knative's documents have them (`PT0.2S`, `PT1M30S`, `P1D`), down to milliseconds;
//! and short ones (`200ms`, `1m30s`, `1d`) in flags, in annotations and in the documents of sources, which
//! are Millrace's own.
//!
//! A parser of our own: years and months have no length, signs make no sense here, and the error must say so.

use std::time::Duration;

/// The longest duration that is accepted: 366 days.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It has another form.
    #[error("this is not an ISO 8601 duration; write for example PT0.2S, PT1M30S or P1D")]
    Form,
    /// It is a short duration, in a field of Knative, which takes none.
    #[error("this field takes ISO 8601 only; write for example PT0.2S, PT1M30S or P1D")]
    IsShort,
    /// It is neither a short duration nor one of ISO 8601.
    #[error(
        "this is not a duration; write for example 500ms, 30s, 1h30m, 24h or 2d, or as ISO 8601 PT30S or P1D"
    )]
    ShortForm,
    /// It has years or months.
    #[error("years and months have no fixed length; write days, for example P30D")]
    Calendar,
    /// It is negative.
    #[error("a duration must not be negative")]
    Negative,
    /// It has parts of a millisecond.
    #[error("a duration can be given down to milliseconds, and not finer")]
    TooFine,
    /// It is longer than [`MAX_DURATION`].
    #[error("a duration may be at most 366 days")]
    TooLong,
}

/// Reads an ISO 8601 duration of weeks, days, hours, minutes and seconds. Only the last part may have a
/// fraction.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let body = text
        .strip_prefix('+')
        .unwrap_or(text)
        .strip_prefix('P')
        .ok_or(DurationError::Form)?;
    let (date, time) = match body.split_once('T') {
        Some((_, "")) => return Err(DurationError::Form),
        Some((date, time)) => (date, time),
        None => (body, ""),
    };
    if date.is_empty() && time.is_empty() {
        return Err(DurationError::Form);
    }
    let mut sum = Sum {
        millis: 0,
        fraction: false,
    };
    sum.parts(date, &[('W', 7 * 86_400_000), ('D', 86_400_000)], &['Y', 'M'])?;
    sum.parts(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1_000)], &[])?;
    let duration = Duration::from_millis(u64::try_from(sum.millis).map_err(|_| DurationError::TooLong)?);
    if duration > MAX_DURATION {
        Err(DurationError::TooLong)
    } else {
        Ok(duration)
    }
}

/// The units of short durations, in milliseconds. `ms` comes before `m` and `s`, which it begins and ends
/// with.
const UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a short duration (`500ms`, `30s`, `1h30m`, `2d`), or one of ISO 8601.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_short(text: &str) -> Result<Duration, DurationError> {
    if text.starts_with(['P', '-', '+']) {
        return parse(text).map_err(|error| match error {
            DurationError::Form => DurationError::ShortForm,
            other => other,
        });
    }
    let mut rest = text;
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, unit) = rest.split_at(end);
        let found = UNITS.iter().find(|(name, _)| unit.starts_with(name));
        let (Some((name, factor)), false) = (found, digits.is_empty()) else {
            return Err(DurationError::ShortForm);
        };
        let part = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*factor));
        millis = part
            .and_then(|part| millis.checked_add(part))
            .ok_or(DurationError::TooLong)?;
        rest = &unit[name.len()..];
    }
    let duration = Duration::from_millis(millis);
    match text {
        "" => Err(DurationError::ShortForm),
        _ if duration > MAX_DURATION => Err(DurationError::TooLong),
        _ => Ok(duration),
    }
}

/// What has been read so far.
struct Sum {
    millis: u128,
    fraction: bool,
}

// === impl Sum ===

impl Sum {
    /// Adds the parts of one half, each unit at most once and in order.
    fn parts(
        &mut self,
        mut text: &str,
        mut units: &[(char, u128)],
        calendar: &[char],
    ) -> Result<(), DurationError> {
        while !text.is_empty() {
            let end = text
                .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
                .ok_or(DurationError::Form)?;
            let (number, rest) = text.split_at(end);
            let unit = rest.chars().next().ok_or(DurationError::Form)?;
            if calendar.contains(&unit) {
                return Err(DurationError::Calendar);
            }
            let at = units
                .iter()
                .position(|(name, _)| *name == unit)
                .ok_or(DurationError::Form)?;
            self.add(number, units[at].1)?;
            units = &units[at + 1..];
            text = &rest[unit.len_utf8()..];
        }
        Ok(())
    }

    fn add(&mut self, number: &str, unit: u128) -> Result<(), DurationError> {
        let (whole, fraction) = match number.split_once(['.', ',']) {
            Some((_, "")) => return Err(DurationError::Form),
            Some((whole, fraction)) => (whole, fraction),
            None => (number, ""),
        };
        if self.fraction || whole.is_empty() || !fraction.chars().all(|c| c.is_ascii_digit()) {
            return Err(DurationError::Form);
        }
        self.fraction = number.len() != whole.len();
        let whole: u128 = whole.parse().map_err(|_| DurationError::TooLong)?;
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 12 {
            return Err(DurationError::TooFine);
        }
        let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        let part = if fraction.is_empty() {
            0
        } else {
            fraction.parse().map_err(|_| DurationError::Form)?
        } * unit;
        if !part.is_multiple_of(scale) {
            return Err(DurationError::TooFine);
        }
        let millis = whole
            .checked_mul(unit)
            .and_then(|whole| whole.checked_add(part / scale));
        self.millis = millis
            .and_then(|more| self.millis.checked_add(more))
            .ok_or(DurationError::TooLong)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_down_to_milliseconds() {
        let cases = [
            ("PT0.2S", 200),
            ("PT0.05S", 50),
            ("PT0.001S", 1),
            ("PT0S", 0),
            ("P0D", 0),
            ("PT1M30S", 90_000),
            ("P1D", 86_400_000),
            ("P1W", 604_800_000),
            ("P1DT2H3M4.5S", 86_400_000 + 7_200_000 + 180_000 + 4_500),
            ("PT0.5H", 1_800_000),
            ("PT1,5S", 1_500),
            ("+PT1S", 1_000),
            ("PT1.500000000000000S", 1_500),
            ("PT100S", 100_000),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_told_apart() {
        let cases = [
            ("", DurationError::Form),
            ("P", DurationError::Form),
            ("PT", DurationError::Form),
            ("P1DT", DurationError::Form),
            ("5s", DurationError::Form),
            ("1S", DurationError::Form),
            ("PT1", DurationError::Form),
            ("PTS", DurationError::Form),
            ("PT.5S", DurationError::Form),
            ("PT1.S", DurationError::Form),
            ("PT1.5M2S", DurationError::Form),
            ("PT1.2.3S", DurationError::Form),
            ("PT1S1S", DurationError::Form),
            ("PT1S1M", DurationError::Form),
            ("P1H", DurationError::Form),
            ("PT1D", DurationError::Form),
            ("pt1s", DurationError::Form),
            ("PT1é", DurationError::Form),
            (" PT1S", DurationError::Form),
            ("P1Y", DurationError::Calendar),
            ("P1M", DurationError::Calendar),
            ("-PT1S", DurationError::Negative),
            ("PT0.0005S", DurationError::TooFine),
            ("PT0.00000000000000000000001S", DurationError::TooFine),
            ("P367D", DurationError::TooLong),
            (
                "PT99999999999999999999999999999999999999999999S",
                DurationError::TooLong,
            ),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn short_durations_are_as_people_write_them_or_iso() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("1m5ms", 60_005),
            ("2d", 172_800_000),
            ("0s", 0),
            ("PT0.5S", 500),
            ("PT24H", 86_400_000),
        ] {
            assert_eq!(parse_short(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, error) in [
            ("", DurationError::ShortForm),
            ("30", DurationError::ShortForm),
            ("s", DurationError::ShortForm),
            ("1.5h", DurationError::ShortForm),
            ("1 h", DurationError::ShortForm),
            ("30sec", DurationError::ShortForm),
            ("PT", DurationError::ShortForm),
            ("5µs", DurationError::ShortForm),
            ("é", DurationError::ShortForm),
            ("-1s", DurationError::Negative),
            ("P1M", DurationError::Calendar),
            ("400d", DurationError::TooLong),
            ("99999999999999999999s", DurationError::TooLong),
        ] {
            assert_eq!(parse_short(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[P+-]?\\PC{0,20}") {
            let _ = parse(&text);
            let _ = parse_short(&text);
        }

        #[test]
        fn milliseconds_come_back(millis in 0_u64..1_000_000_000) {
            let text = format!("PT{}.{:03}S", millis / 1000, millis % 1000);
            prop_assert_eq!(parse(&text), Ok(Duration::from_millis(millis)));
        }
    }
}
