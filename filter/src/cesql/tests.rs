//! Where the specification's test kit is thin: precedence, mixed AND, OR and XOR, refusals, bounds, and
//! expressions as filters.

use std::borrow::Cow;

use millrace_event::{Kind, SpecVersion, Value as Attribute};
use proptest::prelude::*;

use super::*;
use crate::explain::Verdict;
use crate::{Compiled, Decision, Filter, Subject};

fn event() -> Event {
    let attribute = |kind, text| Attribute { kind, text };
    Event::builder(SpecVersion::V10)
        .attribute("id", "7")
        .attribute("source", "/shop/1")
        .attribute("type", "order.paid")
        .attribute("time", "2026-01-02T03:04:05.10+02:00")
        .attribute("city", "Zürich")
        .value("count", attribute(Kind::Integer, "42"))
        .value("vip", attribute(Kind::Boolean, "true"))
        .attribute("said", "true")
        .attribute("knativebrokerttl", "255")
        .build()
        .expect("a valid event")
}

/// The value and the error, in short.
fn shown(text: &str) -> String {
    let expression = Expression::new(text).unwrap_or_else(|error| panic!("{text}: {}", error.message));
    let event = event();
    let outcome = expression.evaluate(&event);
    let value = match outcome.value {
        Value::Text(text) => format!("'{text}'"),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
    };
    match outcome.error {
        None => value,
        Some(kind) => format!("{value} {kind:?}"),
    }
}

fn refused(text: &str) -> String {
    match Expression::filter(text) {
        Ok(_) => panic!("{text} was admitted"),
        Err(error) => error.message,
    }
}

#[test]
fn operators_bind_as_the_grammar_says() {
    let table = [
        ("2 + 3 * 4", "14"),
        ("2 * 3 + 4", "10"),
        ("10 - 2 - 3", "5"),
        ("100 / 5 / 2", "10"),
        ("7 % 4 * 2", "6"),
        ("-2 * 3", "-6"),
        ("- -2", "2"),
        ("4-1", "3"),
        ("4 -1", "3"),
        ("+5 + +6", "11"),
        ("-count", "-42"),
        ("1 + 1 = 2", "true"),
        ("1 < 2 = TRUE", "true"),
        ("3 > 2 = (2 > 1)", "true"),
        // NOT takes only what follows it: the trap.
        ("NOT id = 'x'", "false Cast"),
        ("NOT vip = FALSE", "true"),
        ("NOT (id = 'x')", "true"),
        ("NOT vip AND TRUE", "false"),
        ("NOT NOT vip", "true"),
        ("NOT EXISTS nothing", "true"),
        ("NOT said LIKE 'fal%'", "true"),
        // LIKE and IN take only what is directly before them.
        ("2 + '3' LIKE '3'", "3"),
        ("count IN (42) = TRUE", "true"),
        ("id LIKE '7' LIKE 'tr%'", "true"),
        // One level, and everything behind belongs to the operator before it.
        ("true OR false AND false", "true"),
        ("(true OR false) AND false", "false"),
        ("false AND true OR true", "false"),
        ("(false AND true) OR true", "true"),
        ("true XOR true OR true", "false"),
        ("true XOR false AND false", "true"),
        ("false XOR true XOR true", "false"),
        ("true XOR true XOR true", "true"),
        ("true AND false XOR true", "true"),
        ("false OR true XOR true AND true", "false"),
    ];
    for (text, expected) in table {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn values_are_cast_compared_and_missed_as_the_specification_says() {
    let table = [
        ("time = '2026-01-02T03:04:05.10+02:00'", "true"),
        ("time = '2026-01-02T01:04:05.1Z'", "false"),
        ("time < '2027-01-01T00:00:00Z'", "false Cast"),
        ("count = '42'", "true"),
        ("'042' = count", "true"),
        ("count = 42", "true"),
        ("said", "'true'"),
        ("said = TRUE", "true"),
        ("vip", "true"),
        ("ID = '7'", "true"),
        ("missing != 'x'", "false MissingAttribute"),
        ("missing NOT LIKE 'x'", "false MissingAttribute"),
        ("missing NOT IN ('x')", "false MissingAttribute"),
        ("TRUE OR missing = 1", "true"),
        ("missing = 1 OR TRUE", "false MissingAttribute"),
        ("FALSE AND missing = 1", "false"),
        ("'a' IN ('a', missing)", "true"),
        ("'b' IN ('a', missing)", "false MissingAttribute"),
        ("1 IN ('x', 1)", "false Cast"),
        ("EXISTS knativebrokerttl", "false"),
        ("knativebrokerttl = 255", "false MissingAttribute"),
        ("city LIKE 'Z_rich'", "true"),
        ("LENGTH(city)", "6"),
        ("LEFT(city, 2)", "'Zü'"),
        ("RIGHT(city, 5)", "'ürich'"),
        ("UPPER(city)", "'ZÜRICH'"),
        ("SUBSTRING(city, 2, 1)", "'ü'"),
        ("SUBSTRING(city, 2, -1)", "'' FunctionEvaluation"),
        ("LEFT(CONCAT(id, id), 1)", "'7'"),
        ("TRIM(CONCAT(' ', id, ' '))", "'7'"),
        ("length(TRIM('  '))", "0"),
        (r#"'it\'s' = "it's""#, "true"),
        (r"'a\\b' LIKE 'a\\\\b'", "false"),
        (r"'\\' = LEFT('\\', 1)", "true"),
        ("2147483647 + 1", "0 Math"),
        ("-2147483648 / -1", "0 Math"),
        ("-2147483648 % -1", "0"),
        ("- -2147483648", "0 Math"),
        ("1 / 0 = 0", "false Math"),
        ("INT(said)", "0 Cast"),
        ("CONCAT_WS('-', id, count, vip)", "'7-42-true'"),
    ];
    for (text, expected) in table {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn what_does_not_parse_or_is_no_boolean_is_refused_with_its_column() {
    let nested = format!("{}TRUE{}", "(".repeat(2_000), ")".repeat(2_000));
    let long = format!("type = '{}'", "x".repeat(MAX_EXPRESSION_BYTES));
    let table = [
        ("", "column 1: a value is expected here, not the end"),
        ("type =", "column 7: a value is expected here, not the end"),
        (
            "type = 'a",
            "column 8: the text that begins here has no closing '",
        ),
        ("type == 'a'", "column 7: a value is expected"),
        (
            "type = 'it''s'",
            "column 12: the expression is complete before a text",
        ),
        ("type 'a'", "column 6: the expression is complete"),
        ("(type = 'a'", "column 12: the closing bracket"),
        ("type = 'a')", "column 11: the expression is complete before `)`"),
        (
            "type LIKE source",
            "column 11: LIKE needs a pattern in quotes here, not `source`",
        ),
        ("type IN 'a'", "column 9: the set behind IN"),
        ("type IN ()", "column 10: a value is expected"),
        ("EXISTS 'a'", "column 8: EXISTS needs the name"),
        ("EXISTS (type)", "column 8: EXISTS needs the name"),
        ("NOT", "column 4: a value is expected"),
        (
            "type NOT 'a'",
            "column 6: the expression is complete before `NOT`",
        ),
        ("a_b = 1", "column 1: this is no name"),
        ("data = 1", "column 1: `data` is not an attribute"),
        ("é = 1", "column 1: `é` has no meaning"),
        ("'é' = $", "column 7: `$` has no meaning"),
        ("2147483648 = 1", "out of the range"),
        ("FOO(1)", "column 1: there is no function FOO"),
        (
            "TRUE AND LENGTH()",
            "column 10: there is no function LENGTH of 0 arguments; it takes 1",
        ),
        ("SUBSTRING('a')", "it takes 2 or 3"),
        ("ABC(", "column 5: a value is expected"),
        (&*nested, "deep"),
        (&*long, "longer than"),
        ("1", "an Integer whatever the event"),
        ("1 + 1", "an Integer whatever"),
        ("'true'", "a String whatever"),
        ("type", "a String whatever"),
        ("LENGTH(type)", "an Integer whatever"),
    ];
    for (text, expected) in table {
        let message = refused(text);
        assert!(
            message.contains(expected),
            "{}: {message}",
            &text[..text.len().min(40)]
        );
    }
}

#[test]
fn nesting_length_and_work_are_bounded() {
    for deep in [
        format!("{}TRUE", "NOT ".repeat(1_000)),
        format!("1{} = 1", " + 1".repeat(900)),
        format!("-{}1 = 1", "- ".repeat(1_000)),
        format!("{}type{}", "LOWER(".repeat(500), ")".repeat(500)),
        format!("TRUE{}", " = TRUE".repeat(500)),
    ] {
        assert!(refused(&deep).contains("deep"), "{}", &deep[..30]);
    }
    // A long chain is not deep.
    let chain = format!("{}vip", "vip AND ".repeat(500));
    assert_eq!(shown(&chain), "true");

    let large = "a".repeat(60_000);
    let event = event()
        .edit()
        .attribute("large", &large)
        .build()
        .expect("a valid event");
    let hostile = [
        format!("LENGTH(CONCAT(large{})) = 1", ", large".repeat(500)),
        format!("large LIKE '{}'", "%_a_a_a_a_b".repeat(200)),
    ];
    for text in hostile {
        let compiled = Compiled::new(&[Filter::Cesql(text)]).expect("a valid filter");
        assert!(!compiled.matches(&event));
        let clause = compiled.explain(&event).decided_by.expect("a clause decided");
        assert_eq!(clause.verdict, Verdict::TooMuchWork);
        assert!(
            clause.because.contains("error: too much work"),
            "{}",
            clause.because
        );
    }
}

#[test]
fn a_filter_passes_on_true_alone_and_says_what_it_saw() {
    let table = [
        (
            "type = 'order.paid'",
            Verdict::Held,
            "type = 'order.paid' is true (type is \"order.paid\")",
        ),
        (
            "type = 'x'",
            Verdict::Different,
            "type = 'x' is false (type is \"order.paid\")",
        ),
        (
            "vip AND type = 'x'",
            Verdict::Different,
            "vip is true (vip is \"true\"); type = 'x' is false (type is \"order.paid\")",
        ),
        (
            "EXISTS region",
            Verdict::Different,
            "EXISTS region is false (the event has no attribute region)",
        ),
        (
            "region = 'eu'",
            Verdict::Absent,
            "the event has no attribute region",
        ),
        (
            "region != 'eu'",
            Verdict::Absent,
            "the event has no attribute region",
        ),
        (
            "said",
            Verdict::WrongType,
            "type error: said is \"true\" and not a Boolean",
        ),
        (
            "count",
            Verdict::WrongType,
            "type error: count is 42 and not a Boolean",
        ),
        (
            "vip AND type > 5",
            Verdict::WrongType,
            "type error: in type > 5, \"order.paid\" is not an Integer",
        ),
        (
            "1 / (count - 42) = 0",
            Verdict::Error,
            "1 / (count - 42) has no value: a division by zero, or a number out of range",
        ),
        (
            "LEFT(type, -1) = 'x'",
            Verdict::Error,
            "LEFT(type, -1) has no value for these arguments",
        ),
    ];
    for (text, verdict, because) in table {
        let compiled = Compiled::new(&[Filter::Cesql(text.to_owned())]).expect("a valid filter");
        let explanation = compiled.explain(&event());
        assert_eq!(explanation.matched, verdict == Verdict::Held, "{text}");
        let event = event();
        let subject = Subject::new(&event);
        let decision = compiled.decide(&subject, &Allowance::unlimited());
        assert_eq!(decision == Decision::Match, explanation.matched, "{text}");
        let failed = matches!(verdict, Verdict::Absent | Verdict::WrongType | Verdict::Error)
            && !because.contains("not a Boolean");
        assert_eq!(subject.errors(), u32::from(failed), "{text}");
        let clause = explanation.decided_by.expect("a clause decided");
        let expected = ("filters[0].cesql", verdict, because);
        assert_eq!(
            (clause.path.as_str(), clause.verdict, clause.because.as_str()),
            expected
        );
    }
    // What is no match because of an error is one under a `not` of the filter, and none under a NOT of the
    // language.
    let not = |inner| Filter::Not(Box::new(inner));
    let outer = Compiled::new(&[not(Filter::Cesql("missing = 'x'".to_owned()))]).expect("valid");
    let inner = Compiled::new(&[Filter::Cesql("NOT (missing = 'x')".to_owned())]).expect("valid");
    assert_eq!((outer.matches(&event()), inner.matches(&event())), (true, false));
}

#[test]
fn a_text_of_an_expression_borrows_where_it_can() {
    let expression = Expression::new("TRIM(LEFT(type, 5))").expect("valid");
    let event = event();
    let outcome = expression.evaluate(&event);
    assert!(matches!(outcome.value, Value::Text(Cow::Borrowed("order"))));
}

/// Words of the language in any order, and a little that is none.
fn soup() -> impl Strategy<Value = String> {
    let words = [
        "type",
        "n",
        "vip",
        "missing",
        "'a'",
        "\"é\\\"\"",
        "1",
        "-2147483648",
        "TRUE",
        "and",
        "OR",
        "xor",
        "NOT",
        "LIKE",
        "'%a_'",
        "IN",
        "EXISTS",
        "(",
        ")",
        "(",
        ")",
        ",",
        "=",
        "!=",
        "<",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "LEFT(",
        "CONCAT(",
        "ABS(",
        "'",
        "\\",
        "é",
        "_",
        "99999999999",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 1..16)
        .prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_refused_or_evaluated_and_explained_as_decided(text in prop_oneof![soup(), any::<String>()]) {
        if let Ok(expression) = Expression::new(&text) {
            let _ = expression.evaluate(&event());
        }
        if let Ok(compiled) = Compiled::new(&[Filter::Cesql(text)]) {
            let matched = compiled.matches(&event());
            prop_assert_eq!(matched, compiled.explain(&event()).matched);
            let never = compiled.warnings().iter().any(|warning| warning.message.starts_with("this never matches"));
            prop_assert!(!(matched && never), "warned of what matches");
        }
    }
}
