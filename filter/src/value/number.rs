//! Numbers, compared as they are written and never rounded for it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// A JSON number.
#[derive(Clone, Copy, Debug)]
pub enum Number<'a> {
    /// An integer of 64 bits.
    Whole(i64),
    /// A computed double, such as the number of a path.
    Double(f64),
    /// Every other number in a text.
    Written {
        /// The number as it is written.
        text: &'a str,
        /// The nearest double; `None` for a number [beyond](Number::is_beyond) 64 bits.
        double: Option<f64>,
    },
}

/// Longer numbers are equal only if they are written alike: comparing must stay cheap for any event.
const MAX_COMPARED: usize = 4_096;

/// What an exact comparison of two numbers costs, in bytes of text compared: both are taken apart.
const CLOSER_LOOK: usize = 128;
/// And for each of their bytes, in the same unit: each is looked at more than once, and one at a time.
const EACH_BYTE: usize = 4;

/// The longest text of a 64-bit number, as [`Short`] writes it.
const SHORT: usize = 32;

/// A number's digits without surrounding zeros, and the place of the point before the first of them.
#[derive(Debug)]
struct Decimal<'t> {
    negative: bool,
    /// The digits, in two parts since a point may stand between them. Both are empty for zero.
    digits: [&'t [u8]; 2],
    point: i64,
}

/// The text of a number that was not read from text, without an allocation.
struct Short {
    bytes: [u8; SHORT],
    length: usize,
}

// === impl Number ===

impl<'a> Number<'a> {
    /// The number of a text that follows JSON's grammar.
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

    /// Whether neither a 64-bit integer nor a double stands for it: an integer of more than 64 bits, or a
    /// number with a point or an exponent that is too large or too small for a double. Such numbers are
    /// compared as they are written.
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

    /// The text; as it was written if it was read from text.
    pub fn text(&self) -> Cow<'a, str> {
        match *self {
            Self::Whole(whole) => Cow::Owned(whole.to_string()),
            Self::Double(double) => Cow::Owned(double.to_string()),
            Self::Written { text, .. } => Cow::Borrowed(text),
        }
    }
}

impl Number<'_> {
    /// The cost of comparing the two beyond a step, in bytes of text compared.
    ///
    /// Zero if two 64-bit numbers decide it.
    pub(crate) fn cost(&self, other: &Self) -> usize {
        match self.coarse(other) {
            Some(_) => 0,
            None => CLOSER_LOOK + EACH_BYTE * (self.length() + other.length()),
        }
    }

    /// The order of two numbers, as they are written; `None` if they are too long to be compared.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        self.coarse(other).or_else(|| self.closer(other))
    }

    /// The order as far as 64 bits decide it.
    fn coarse(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => Some(one.cmp(other)),
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(other),
            // Rounding never reverses an order, so only numbers with the same double need an exact
            // comparison.
            _ => {
                let (one, other) = self.double().zip(other.double())?;
                one.partial_cmp(&other).filter(|order| order.is_ne())
            }
        }
    }

    /// The exact order.
    fn closer(&self, other: &Self) -> Option<Ordering> {
        if let (Self::Written { text: one, .. }, Self::Written { text: other, .. }) = (self, other)
            && one == other
        {
            return Some(Ordering::Equal);
        }
        if self.length().max(other.length()) > MAX_COMPARED {
            return None;
        }
        let (mut one_short, mut other_short) = (Short::new(), Short::new());
        let one = Decimal::of(self.written(&mut one_short)?)?;
        Some(one.order(&Decimal::of(other.written(&mut other_short)?)?))
    }

    /// Bytes of text that an exact comparison reads.
    fn length(&self) -> usize {
        match self {
            Self::Whole(_) | Self::Double(_) => 0,
            Self::Written { text, .. } => text.len(),
        }
    }

    /// The text, or one for the same number.
    fn written<'t>(&'t self, short: &'t mut Short) -> Option<&'t str> {
        let made = match self {
            Self::Whole(whole) => write!(short, "{whole}"),
            Self::Double(double) if !double.is_finite() => return None,
            Self::Double(double) => write!(short, "{double:e}"),
            Self::Written { text, .. } => return Some(text),
        };
        made.ok().and_then(|()| short.text())
    }
}

/// Equal when they stand for the same number: `3`, `3.0` and `30e-1` do.
impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.order(other) == Some(Ordering::Equal)
    }
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Whether a number's text means zero.
fn is_zero(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

// === impl Decimal ===

impl<'t> Decimal<'t> {
    /// `None` if the exponent is beyond the range of an integer.
    fn of(text: &'t str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let bytes = text.as_bytes();
        let place = |among: &[u8], is: fn(&u8) -> bool| among.iter().position(is);
        let (mantissa, exponent) = match place(bytes, |byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&bytes[..at], text.get(at + 1..)?),
            None => (bytes, "0"),
        };
        let (whole, fraction) = match place(mantissa, |byte| *byte == b'.') {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &[][..]),
        };
        let (mut head, mut tail) = (without_leading_zeros(whole), without_trailing_zeros(fraction));
        let mut point = i64::try_from(head.len()).ok()?;
        if head.is_empty() {
            let significant = without_leading_zeros(tail);
            point = i64::try_from(significant.len()).ok()? - i64::try_from(tail.len()).ok()?;
            tail = significant;
        }
        if tail.is_empty() {
            head = without_trailing_zeros(head);
        }
        let digits = [head, tail];
        if head.is_empty() && tail.is_empty() {
            return Some(Self {
                negative: false,
                digits,
                point: 0,
            });
        }
        Some(Self {
            negative,
            digits,
            point: point.checked_add(exponent.parse().ok()?)?,
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        let size = || {
            self.point
                .cmp(&other.point)
                .then_with(|| self.digits().cmp(other.digits()))
        };
        match self.sign().cmp(&other.sign()) {
            Ordering::Equal if self.negative => size().reverse(),
            Ordering::Equal => size(),
            different => different,
        }
    }

    fn sign(&self) -> i8 {
        match (self.negative, self.digits().next()) {
            (_, None) => 0,
            (true, Some(_)) => -1,
            (false, Some(_)) => 1,
        }
    }

    fn digits(&self) -> impl Iterator<Item = &'t u8> {
        let [head, tail] = self.digits;
        head.iter().chain(tail)
    }
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let first = digits.iter().position(|digit| *digit != b'0');
    &digits[first.unwrap_or(digits.len())..]
}

fn without_trailing_zeros(digits: &[u8]) -> &[u8] {
    let last = digits.iter().rposition(|digit| *digit != b'0');
    &digits[..last.map_or(0, |last| last + 1)]
}

// === impl Short ===

impl Short {
    fn new() -> Self {
        Self {
            bytes: [0; SHORT],
            length: 0,
        }
    }

    fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
