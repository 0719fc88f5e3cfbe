//! ISO 8601 durations as Knative's documents have them (`PT0.2S`, `PT1M30S`, `P1D`), down to milliseconds.
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

/// Reads an ISO 8601 duration of weeks, days, hours, minutes and seconds. Only the last part may have a fraction.
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

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[P+-]?\\PC{0,20}") {
            let _ = parse(&text);
        }

        #[test]
        fn milliseconds_come_back(millis in 0_u64..1_000_000_000) {
            let text = format!("PT{}.{:03}S", millis / 1000, millis % 1000);
            prop_assert_eq!(parse(&text), Ok(Duration::from_millis(millis)));
        }
    }
}
