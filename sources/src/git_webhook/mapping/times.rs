//! Times as forges write them, as RFC 3339 has them.

use jiff::Timestamp as Instant;
use millrace_event::Timestamp;

/// The text in the form of RFC 3339, where it is in one of the forms that forges use: `2013-12-03 17:23:34
/// UTC`, `2013-12-03 17:23:34 +0200`, `2017-09-19T09:58:11+1000`, or seconds since 1970. Any other comes back
/// as it is.
pub(super) fn rfc3339(text: &str) -> String {
    if (1..=12).contains(&text.len())
        && let Ok(seconds) = text.parse::<i64>()
        && let Ok(time) = Instant::from_second(seconds)
    {
        return time.to_string();
    }
    match text.split_at_checked(19) {
        Some((clock, zone)) if clock.as_bytes().get(10).is_some_and(|&c| c == b' ' || c == b'T') => {
            format!("{}{}", clock.replacen(' ', "T", 1), offset(zone))
        }
        _ => text.to_owned(),
    }
}

/// An offset with its colon, and without a space before it; a fraction of a second may come first.
fn offset(zone: &str) -> String {
    let digits = zone
        .find(|c: char| c != '.' && !c.is_ascii_digit())
        .unwrap_or(zone.len());
    let (fraction, zone) = zone.split_at(digits);
    let zone = zone.trim_start_matches(' ');
    match zone.as_bytes() {
        b"UTC" | b"GMT" => format!("{fraction}Z"),
        [b'+' | b'-', rest @ ..] if rest.len() == 4 && rest.iter().all(u8::is_ascii_digit) => {
            format!("{fraction}{}:{}", &zone[..3], &zone[3..])
        }
        _ => format!("{fraction}{zone}"),
    }
}

/// A time as text.
pub(super) fn told(time: Timestamp) -> String {
    let time = Instant::from_millisecond(time.0).unwrap_or(Instant::UNIX_EPOCH);
    time.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_forges_become_those_of_rfc_3339() {
        for (text, expected) in [
            ("2013-12-03 17:23:34 UTC", "2013-12-03T17:23:34Z"),
            ("2013-12-03 17:23:34 +0200", "2013-12-03T17:23:34+02:00"),
            ("2017-09-19T09:58:11+1000", "2017-09-19T09:58:11+10:00"),
            ("2017-09-19T09:58:11.123-0330", "2017-09-19T09:58:11.123-03:30"),
            ("2019-05-15T15:20:18Z", "2019-05-15T15:20:18Z"),
            ("2019-05-15T15:20:18.5+00:00", "2019-05-15T15:20:18.5+00:00"),
            ("1557933565", "2019-05-15T15:19:25Z"),
            ("yesterday", "yesterday"),
            ("", ""),
            ("ü2013-12-03 17:23:34", "ü2013-12-03 17:23:34"),
            ("2013-12-03 17:23:34ü", "2013-12-03T17:23:34ü"),
        ] {
            assert_eq!(rfc3339(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_time_is_told_to_the_millisecond() {
        assert_eq!(told(Timestamp(1_557_933_565_120)), "2019-05-15T15:19:25.12Z");
    }
}
