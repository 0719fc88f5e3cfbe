//! Quantities of bytes as Kubernetes writes them (`1048576`, `64Mi`, `5G`) or as people do (`64MiB`, `5GB`).
//! Flags, annotations and the access file are read alike.

/// The units, largest power of two first.
const UNITS: &[(&str, u64)] = &[
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

/// The most bytes that are accepted; what an int64 holds.
const MAX: u64 = i64::MAX as u64;

/// Why a text is not a quantity of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It has another form.
    #[error("this is not a number of bytes; write for example 1048576, 64Mi or 1Gi")]
    Form,
    /// It is more than an int64 holds.
    #[error("this is more bytes than can be counted")]
    TooMuch,
}

/// Reads a whole number of bytes, with or without a unit (Ki, Mi, Gi, Ti, k, M, G, T). A `B` behind the unit
/// changes nothing.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse(text: &str) -> Result<u64, QuantityError> {
    let short = text
        .strip_suffix('B')
        .filter(|rest| rest.ends_with(|c: char| c.is_ascii_alphabetic()))
        .unwrap_or(text);
    let unit = UNITS
        .iter()
        .find_map(|(name, factor)| Some((short.strip_suffix(name)?, *factor)));
    let (digits, factor) = unit.unwrap_or((short, 1));
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(QuantityError::Form);
    }
    let number: u64 = digits.parse().map_err(|_| QuantityError::TooMuch)?;
    number
        .checked_mul(factor)
        .filter(|bytes| *bytes <= MAX)
        .ok_or(QuantityError::TooMuch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_whole_numbers_with_or_without_a_unit() {
        let cases = [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64Mi", 64 << 20),
            ("1Gi", 1 << 30),
            ("2k", 2000),
            ("3Ti", 3 << 40),
            ("1KiB", 1 << 10),
            ("64MiB", 64 << 20),
            ("5GB", 5_000_000_000),
            ("2kB", 2000),
            ("5G", 5_000_000_000),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "Mi", "-1", "+1", "1.5Gi", "1 Gi", "1gi", "1B", "B", "iB", "MiB", "1BB", "1MBB", "1KB",
            "1mib", "0x10", "1e3", "é",
        ] {
            assert_eq!(parse(text), Err(QuantityError::Form), "{text}");
        }
        for text in ["99999999999999999999", "9223372036854775808", "9999999Ti"] {
            assert_eq!(parse(text), Err(QuantityError::TooMuch), "{text}");
        }
    }
}
