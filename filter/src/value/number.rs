//! Numbers, compared by what is written and never rounded for it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// A JSON number.
#[derive(Clone, Copy, Debug)]
pub enum Number<'a> {
    /// A whole number of 64 bits.
    Whole(i64),
    /// A double that was computed, as the number of a path is.
    Double(f64),
    /// Every other number of a text.
    Written {
        /// As it stands there.
        text: &'a str,
        /// The nearest double; `None` for a number [beyond](Number::is_beyond) 64 bits.
        double: Option<f64>,
    },
}

/// Longer numbers are equal only to those that are written alike: comparing must stay cheap whatever an event brings.
const MAX_COMPARED: usize = 4_096;

/// What a number's text says: the digits without zeros around them, and where the point stands before the first of them.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    point: i64,
}

// === impl Number ===

impl<'a> Number<'a> {
    /// The number that a text of JSON's grammar says.
    pub(super) fn of(text: &'a str) -> Self {
        let fraction = text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
        if fraction {
            let double = text.parse::<f64>().ok();
            return Self::Written {
                text,
                double: double.filter(|double| double.is_finite() && (*double != 0.0 || is_zero(text))),
            };
        }
        match text.parse::<i64>() {
            // `-0` is shown as it is written.
            Ok(whole) if text != "-0" => Self::Whole(whole),
            _ => Self::Written {
                text,
                double: text
                    .parse::<u64>()
                    .map(|whole| whole as f64)
                    .ok()
                    .or((text == "-0").then_some(0.0)),
            },
        }
    }

    /// Whether no 64-bit integer and no double stands for it: a whole number of more than 64 bits, or one with a point or
    /// an exponent that is too large for a double, or too small.
    /// Such numbers are compared by what is written.
    pub fn is_beyond(&self) -> bool {
        matches!(self, Self::Written { double: None, .. })
    }

    /// As a double, unless it is [beyond](Number::is_beyond) 64 bits.
    pub fn double(&self) -> Option<f64> {
        match *self {
            Self::Whole(whole) => Some(whole as f64),
            Self::Double(double) => Some(double),
            Self::Written { double, .. } => double,
        }
    }

    /// The text: as it is written where it was read.
    pub fn text(&self) -> Cow<'a, str> {
        match *self {
            Self::Whole(whole) => Cow::Owned(whole.to_string()),
            Self::Double(double) => Cow::Owned(double.to_string()),
            Self::Written { text, .. } => Cow::Borrowed(text),
        }
    }
}

impl Number<'_> {
    /// Bytes that comparing it may look at.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::Whole(_) | Self::Double(_) => 0,
            Self::Written { text, .. } => text.len(),
        }
    }

    /// Which of two numbers is less, by what is written; `None` for two that are too long to be told apart.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        if let (Self::Whole(one), Self::Whole(other)) = (self, other) {
            return Some(one.cmp(other));
        }
        // Rounding never turns the order round, so only numbers of one double need a closer look.
        let doubles = self.double().zip(other.double());
        let coarse = doubles.and_then(|(one, other)| one.partial_cmp(&other));
        match coarse {
            Some(Ordering::Less | Ordering::Greater) => coarse,
            Some(Ordering::Equal) | None if self == other => Some(Ordering::Equal),
            Some(Ordering::Equal) | None => {
                let (one, other) = (self.text(), other.text());
                if one.len().max(other.len()) > MAX_COMPARED {
                    return None;
                }
                Some(Decimal::of(&one)?.order(&Decimal::of(&other)?))
            }
        }
    }

    /// Whether this says the same number as a text of JSON's grammar.
    pub(crate) fn says(&self, text: &str) -> bool {
        match (self, text.parse::<i64>()) {
            (Self::Whole(whole), Ok(said)) => *whole == said,
            _ => is_same(&self.text(), text),
        }
    }
}

/// Equal when they say the same number: `3`, `3.0` and `30e-1` do.
impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a == b,
            _ => is_same(&self.text(), &other.text()),
        }
    }
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Whether two texts say the same number.
fn is_same(a: &str, b: &str) -> bool {
    if a == b || a.len().max(b.len()) > MAX_COMPARED {
        return a == b;
    }
    Decimal::of(a).is_some_and(|a| Decimal::of(b) == Some(a))
}

/// Whether a number's text says zero.
fn is_zero(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

// === impl Decimal ===

impl Decimal {
    /// `None` for what is no number (an infinite double), or has an exponent that nobody can count to.
    fn of(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        if !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                digits: String::new(),
                point: 0,
            });
        }
        let zeros = all.len() - digits.len();
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()?;
        Some(Self {
            negative,
            digits: digits.trim_end_matches('0').to_owned(),
            point: point.checked_add(exponent.parse().ok()?)?,
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        let sign = |of: &Self| match (of.negative, of.digits.is_empty()) {
            (_, true) => 0,
            (true, false) => -1,
            (false, false) => 1,
        };
        let size = (self.point, &self.digits).cmp(&(other.point, &other.digits));
        match sign(self).cmp(&sign(other)) {
            Ordering::Equal if self.negative => size.reverse(),
            Ordering::Equal => size,
            different => different,
        }
    }
}
