//! Whether a text is a timestamp of RFC 3339. It is only checked, never parsed and printed again: the text is
//! kept.

/// Whether `text` is a `date-time` of RFC 3339 §5.6. A leap second is taken wherever a minute has one by the
/// grammar.
pub(crate) fn is_timestamp(text: &str) -> bool {
    let Some((date, rest)) = text.as_bytes().split_at_checked(10) else {
        return false;
    };
    let Some((clock, rest)) = rest.split_at_checked(9) else {
        return false;
    };
    is_date(date) && is_clock(clock) && fraction(rest).is_some_and(is_offset)
}

/// `YYYY-MM-DD`, a day that exists.
fn is_date(date: &[u8]) -> bool {
    let [y @ .., b'-', m1, m2, b'-', d1, d2] = date else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (number(y), number(&[*m1, *m2]), number(&[*d1, *d2])) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// `THH:MM:SS`.
fn is_clock(clock: &[u8]) -> bool {
    let [b'T' | b't', h1, h2, b':', m1, m2, b':', s1, s2] = clock else {
        return false;
    };
    within(&[*h1, *h2], 23) && within(&[*m1, *m2], 59) && within(&[*s1, *s2], 60)
}

/// What follows the fraction of a second, if there is none or a good one.
fn fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(digits) = rest.strip_prefix(b".") else {
        return Some(rest);
    };
    let end = digits.iter().position(|b| !b.is_ascii_digit())?;
    (end > 0).then(|| &digits[end..])
}

/// `Z`, or `+HH:MM`, or `-HH:MM`.
fn is_offset(offset: &[u8]) -> bool {
    match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => within(&[*h1, *h2], 23) && within(&[*m1, *m2], 59),
        _ => false,
    }
}

fn within(digits: &[u8], most: u32) -> bool {
    number(digits).is_some_and(|number| number <= most)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, b| {
        b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_the_grammar_and_the_calendar() {
        for text in [
            "2018-04-05T17:31:00Z",
            "1985-04-12T23:20:50.52Z",
            "1996-12-19T16:39:57-08:00",
            "1990-12-31T23:59:60Z",
            "1937-01-01T12:00:27.87+00:20",
            "2024-02-29t00:00:00z",
            "2000-02-29T00:00:00.000000000000000001Z",
            "0000-01-01T00:00:00-00:00",
        ] {
            assert!(is_timestamp(text), "{text}");
        }
        for text in [
            "",
            "2018-04-05",
            "2018-04-05T17:31:00",
            "2018-04-05T17:31Z",
            "2018-04-05 17:31:00Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00+0200",
            "2018-04-05T17:31:00+02",
            "2018-04-05T17:31:00ZZ",
            "2018-13-05T17:31:00Z",
            "2018-00-05T17:31:00Z",
            "2018-04-31T17:31:00Z",
            "2018-04-00T17:31:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2018-04-05T24:00:00Z",
            "2018-04-05T17:60:00Z",
            "2018-04-05T17:31:61Z",
            "2018-04-05T17:31:00+24:00",
            "12018-04-05T17:31:00Z",
            "20é8-04-05T17:31:00Z",
            "2018-04-05T17:31:00.5",
            "Thu, 05 Apr 2018 17:31:00 GMT",
            "1522949460",
        ] {
            assert!(!is_timestamp(text), "{text}");
        }
    }
}
