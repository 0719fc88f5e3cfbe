//! What is accepted, and that serde_json can skip exactly the same texts.

use std::cmp::Ordering;

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

/// Whether serde_json accepts the text as JSON without decoding its values.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[test]
fn every_json_text_is_read_and_shown_as_written() {
    for text in [
        "null",
        "true",
        "[]",
        "{}",
        "0",
        "-0",
        "-7",
        "1.10",
        "1e400",
        "-0.0",
        "1E-400",
        "123456789012345678901234567890",
        "9223372036854775808",
        r#""é \" \\ 😀""#,
        r#""\ud800""#,
        r#""\udc00\ud800x""#,
        r#"["a",{"b":[null,false]},1.0]"#,
    ] {
        assert!(is_json(text), "{text}");
        assert_eq!(
            read(text.as_bytes()).map(|value| value.to_string()).as_deref(),
            Ok(text)
        );
    }
    let spaced = " {\"b\" : [ 1 ,\t2 ] , \"a\":\r\n{} } ";
    let shown = read(spaced.as_bytes()).map(|value| value.to_string());
    assert_eq!(shown.as_deref(), Ok(r#"{"a":{},"b":[1,2]}"#));
}

#[test]
fn escapes_spell_what_serde_json_says() {
    for text in [
        r#""\u0041\n\/\b\f\r\t\"\\""#,
        r#""\uD83D\uDE00 \u00e9""#,
        r#""a\u0000b""#,
    ] {
        let expected: String = serde_json::from_str(text).unwrap();
        assert_eq!(
            read(text.as_bytes()).unwrap().as_str(),
            Some(&*expected),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    let table = [
        ("", "no value at byte 0"),
        ("nul", "no value at byte 0"),
        ("[1,]", "no value at byte 3"),
        ("[1 2]", "neither `,` nor `]` at byte 3"),
        ("{\"a\" 1}", "no `:` at byte 5"),
        ("{a: 1}", "no name of a member at byte 1"),
        ("{\"a\":1,}", "no name of a member at byte 7"),
        ("1 x", "something behind the value at byte 2"),
        ("01", "something behind the value at byte 1"),
        ("1.", "no digit at byte 2"),
        ("-", "no digit at byte 1"),
        ("1e+", "no digit at byte 3"),
        ("\"\\x\"", "no escape of JSON's at byte 1"),
        ("\"\\u12g4\"", "no escape of JSON's at byte 1"),
        ("\"a\nb\"", "a control character in a text at byte 2"),
        ("\"abc", "a text without an end at byte 4"),
    ];
    for (text, expected) in table {
        assert!(!is_json(text), "{text}");
        assert_eq!(read(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
    }
    assert_eq!(read(b"\"\xff\"").unwrap_err().to_string(), "not UTF-8 at byte 1");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
    let error = read(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "nested deeper than 128 levels at byte 128");
    assert!(read("[".repeat(1 << 20).as_bytes()).is_err());
}

#[test]
fn of_members_with_one_name_the_last_counts() {
    let value = read(br#"{"b":1,"a":2,"b":3,"\u0062":4,"\ud800":5}"#).unwrap();
    assert_eq!(value.to_string(), r#"{"\\ud800":5,"a":2,"b":4}"#);
    assert_eq!(value.get("b").map(ToString::to_string).as_deref(), Some("4"));
    assert_eq!(value.get("c"), None);
}

#[test]
fn numbers_are_equal_when_they_say_the_same() {
    let long = format!("1{}", "0".repeat(5_000));
    let longer = format!("{long}.0");
    let table = [
        ("3", "3.0", true),
        ("3", "30e-1", true),
        ("-0", "0.000e5", true),
        ("0.1", "0.10000000000000000001", false),
        ("9007199254740993", "9007199254740992", false),
        ("18446744073709551616", "18446744073709551617", false),
        ("1e400", "10E399", true),
        ("1e400", "-1e400", false),
        ("1e99999999999999999999", "1e99999999999999999998", false),
        ("1e9223372036854775807", "10e9223372036854775807", false),
        (&*long, &*long, true),
        (&*long, &*longer, false),
    ];
    for (a, b, expected) in table {
        let (read_a, read_b) = (read(a.as_bytes()).unwrap(), read(b.as_bytes()).unwrap());
        assert_eq!(read_a == read_b, expected, "{a} {b}");
        assert_eq!(read_b == read_a, expected, "{a} {b}");
    }
    for (text, beyond) in [
        ("9223372036854775807", false),
        ("18446744073709551615", false),
        ("18446744073709551616", true),
        ("-9223372036854775809", true),
        ("1.5", false),
        ("1e308", false),
        ("1e309", true),
        ("1e-400", true),
        ("0e400", false),
        ("0.30000000000000004", false),
    ] {
        let Ok(Value::Number(number)) = read(text.as_bytes()) else {
            panic!("{text} is a number")
        };
        assert_eq!(number.is_beyond(), beyond, "{text}");
    }
}

/// A random JSON number with close neighbours: few digits, zeros around them, small exponents.
fn number() -> impl Strategy<Value = String> {
    (
        "-?",
        "0|[1-9][0-3]{0,4}",
        "(\\.[0-3]{1,4})?",
        "([eE][+-]?0?[0-5])?",
    )
        .prop_map(|(sign, whole, fraction, exponent)| [sign, whole, fraction, exponent].concat())
}

/// The number in units of 10^-12.
fn in_small_units(text: &str) -> i128 {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = [whole, fraction].concat().parse().unwrap();
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let places = 12 + exponent.parse::<i32>().unwrap() - i32::try_from(fraction.len()).unwrap();
    sign * digits.abs() * 10_i128.pow(places.try_into().unwrap())
}

fn read_number(text: &str) -> Number<'_> {
    match read(text.as_bytes()) {
        Ok(Value::Number(number)) => number,
        other => panic!("{text} is {other:?}"),
    }
}

#[test]
fn a_number_of_a_path_is_compared_as_it_is_shown() {
    for (double, text, expected) in [
        (1.5, "1.50", Ordering::Equal),
        (0.1, "0.1000000000000000055511151231257827", Ordering::Less),
        (1e300, "1e300", Ordering::Equal),
        (f64::MAX, "1e309", Ordering::Less),
        (-2.5e-7, "-25e-8", Ordering::Equal),
        (9007199254740992.0, "9007199254740993", Ordering::Less),
        (-f64::MIN_POSITIVE, "0", Ordering::Less),
    ] {
        let (computed, written) = (Number::Double(double), read_number(text));
        assert_eq!(computed.order(&written), Some(expected), "{double} {text}");
        assert_eq!(
            written.order(&computed),
            Some(expected.reverse()),
            "{double} {text}"
        );
        assert_eq!(computed == written, expected.is_eq(), "{double} {text}");
    }
    assert_ne!(Number::Double(f64::INFINITY), read_number("1e400"));
}

/// Only numbers that 64 bits cannot order are compared exactly.
#[test]
fn what_a_comparison_costs_is_known_before() {
    let cost = |one: &str, other: &str| read_number(one).cost(&read_number(other));
    for (one, other) in [
        ("1", "1"),
        ("1", "2"),
        ("1.5", "7"),
        ("1.5", "1.25"),
        ("-0.5", "0.5e0"),
    ] {
        assert_eq!(cost(one, other), 0, "{one} {other}");
    }
    let beyond = "1".repeat(4_000);
    for (one, other) in [
        ("3", "3.0"),
        ("1.5", "1.50"),
        ("9007199254740993", "9007199254740992.0"),
        (&*beyond, "1"),
    ] {
        assert!(cost(one, other) > one.len(), "{one} {other}");
    }
}

/// Pieces of JSON in any order.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "{", "}", "[", "]", ",", ":", "\"a\"", "\"", "\\u00e9", "\\ud800", "\\udc00", "\\", "1", "-", "0",
        ".5", "e5", "E+", " ", "\n", "true", "null", "é", "\u{1}",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..12).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn numbers_are_ordered_by_what_they_say(one in number(), other in number()) {
        let (a, b) = (read_number(&one), read_number(&other));
        let expected = in_small_units(&one).cmp(&in_small_units(&other));
        prop_assert_eq!(a.order(&b), Some(expected), "{} {}", one, other);
        prop_assert_eq!(a == b, expected.is_eq(), "{} {}", one, other);
    }

    #[test]
    fn exactly_what_serde_json_skips_over_is_read(text in soup()) {
        prop_assert_eq!(read(text.as_bytes()).is_ok(), is_json(&text), "{}", text);
    }

    #[test]
    fn what_serde_json_reads_is_read_alike(text in soup()) {
        if let Ok(expected) = serde_json::from_str::<serde_json::Value>(&text) {
            let shown = read(text.as_bytes()).unwrap().to_string();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), expected);
        }
    }
}
