//! When a path holds, which values it compares, and what it says of them.

use super::*;

#[test]
fn a_path_holds_when_it_selects_something_and_says_what_it_saw() {
    let data = r#"{"pull_request": {"merged": true, "n": 3, "none": null}, "tags": ["a", "b", "c", "d"]}"#;
    let table = [
        (
            "$.pull_request",
            Verdict::Held,
            "$.pull_request selects an object of 3",
        ),
        (
            "$.pull_request.merged",
            Verdict::Held,
            "$.pull_request.merged selects true",
        ),
        (
            "$.pull_request.none",
            Verdict::Held,
            "$.pull_request.none selects null",
        ),
        ("$.issue", Verdict::Absent, "$.issue selects nothing"),
        (
            "$[?@.merged == true].n",
            Verdict::Held,
            "$[?@.merged == true].n selects 3",
        ),
        (
            "$[?@.merged == false]",
            Verdict::Absent,
            "$[?@.merged == false] selects nothing",
        ),
        (
            "$.tags[*]",
            Verdict::Held,
            "$.tags[*] selects \"a\", \"b\", \"c\", and 1 more",
        ),
        (
            "$.tags[?length(@) > 1]",
            Verdict::Absent,
            "$.tags[?length(@) > 1] selects nothing",
        ),
        ("$..n", Verdict::Held, "$..n selects 3"),
    ];
    for (path, verdict, because) in table {
        let found = explained(
            Filter::JsonPath(path.to_owned()),
            &event("application/json", data),
        );
        assert_eq!(found, (verdict, because.to_owned()), "{path}");
    }
}

#[test]
fn the_map_form_compares_typed_values() {
    let data = r#"{"action": "opened", "n": 3, "f": 0.5, "big": 9007199254740993, "yes": true, "no": null, "l": [1, "3"]}"#;
    let text = |text: &str| Scalar::Text(text.to_owned());
    let number = |text: &str| Scalar::Number(text.to_owned());
    let table = [
        ("$.action", text("opened"), Verdict::Held),
        ("$.action", text("closed"), Verdict::Different),
        ("$.n", number("3"), Verdict::Held),
        ("$.n", number("3.0"), Verdict::Held),
        ("$.n", number("30e-1"), Verdict::Held),
        ("$.n", text("3"), Verdict::WrongType),
        ("$.f", number("0.5"), Verdict::Held),
        ("$.big", number("9007199254740993"), Verdict::Held),
        ("$.big", number("9007199254740992"), Verdict::Different),
        ("$.yes", Scalar::Boolean(true), Verdict::Held),
        ("$.yes", Scalar::Boolean(false), Verdict::Different),
        ("$.yes", text("true"), Verdict::WrongType),
        ("$.no", Scalar::Null, Verdict::Held),
        ("$.missing", Scalar::Null, Verdict::Absent),
        ("$.l[*]", number("1"), Verdict::Held),
        ("$.l[*]", text("3"), Verdict::Held),
        ("$.l", number("1"), Verdict::WrongType),
    ];
    for (path, value, verdict) in table {
        let filter = Filter::JsonPathEquals(vec![(path.to_owned(), value.clone())]);
        let found = explained(filter, &event("application/json", data));
        assert_eq!(found.0, verdict, "{path} {value:?}: {}", found.1);
    }
    let both = Filter::JsonPathEquals(vec![
        ("$.action".to_owned(), text("opened")),
        ("$.n".to_owned(), number("4")),
    ]);
    let expected = (Verdict::Different, "$.n is 3, not 4".to_owned());
    assert_eq!(explained(both, &event("application/json", data)), expected);
}

/// One odd member hides no other one, and is shown as it was written.
#[test]
fn what_serde_json_refuses_is_looked_into_all_the_same() {
    let data = r#"{"action": "opened", "n": 1e400, "half": "a\ud800", "s": "\ud83d\ude00", "big": 123456789012345678901234567890, "small": 1e-400}"#;
    let (text, number) = (
        |text: &str| Scalar::Text(text.to_owned()),
        |text: &str| Scalar::Number(text.to_owned()),
    );
    let table = [
        (
            "$.action",
            text("opened"),
            Verdict::Held,
            "$.action is \"opened\"",
        ),
        ("$.s", text("😀"), Verdict::Held, "$.s is \"😀\""),
        ("$.n", number("1e400"), Verdict::Held, "$.n is 1e400"),
        ("$.n", number("10.0E+399"), Verdict::Held, "$.n is 1e400"),
        (
            "$.n",
            number("1e401"),
            Verdict::Different,
            "$.n is 1e400, not 1e401",
        ),
        (
            "$.big",
            number("123456789012345678901234567890"),
            Verdict::Held,
            "$.big is 123456789012345678901234567890",
        ),
        (
            "$.big",
            number("123456789012345678901234567891"),
            Verdict::Different,
            "$.big is 123456789012345678901234567890, not 123456789012345678901234567891",
        ),
        (
            "$.small",
            number("0"),
            Verdict::Different,
            "$.small is 1e-400, not 0",
        ),
        (
            "$.half",
            text("a\u{fffd}"),
            Verdict::Different,
            "$.half is \"a\\\\ud800\", which has half of a surrogate pair, not \"a\u{fffd}\"",
        ),
    ];
    for (path, value, verdict, because) in table {
        let filter = Filter::JsonPathEquals(vec![(path.to_owned(), value)]);
        let found = explained(filter, &event("application/json", data));
        assert_eq!(found, (verdict, because.to_owned()), "{path}");
    }
}

/// Numbers of any size are compared as they are written.
#[test]
fn a_path_compares_numbers_of_any_size_exactly() {
    let data = r#"[{"n": 1e400, "m": 18446744073709551616, "o": 18446744073709551617, "p": 184467440737095516160e-1,
        "q": 1000000000000000000000000000000, "r": -1e400, "s": 1e-400, "l": [1e400, 3]}]"#;
    let table = [
        ("$[?@.m == @.p]", true),
        ("$[?@.m == @.o]", false),
        ("$[?@.m != @.o]", true),
        ("$[?@.m < @.o]", true),
        ("$[?@.o < @.m]", false),
        ("$[?@.m <= @.p]", true),
        ("$[?@.q == 1e30]", true),
        ("$[?@.n == 1e308]", false),
        ("$[?@.n > 5]", true),
        ("$[?@.n <= 5]", false),
        ("$[?@.r < -5]", true),
        ("$[?@.r < @.n]", true),
        ("$[?@.s > 0]", true),
        ("$[?@.s < 1]", true),
        ("$[?!(@.n > 5)]", false),
        ("$[?count(@.l[?@ > 5]) == 1]", true),
        ("$[?@['>!'] == 1]", false),
    ];
    for (path, expected) in table {
        let (verdict, because) = explained(
            Filter::JsonPath(path.to_owned()),
            &event("application/json", data),
        );
        let wanted = if expected { Verdict::Held } else { Verdict::Absent };
        assert_eq!(verdict, wanted, "{path}: {because}");
    }
}

#[test]
fn only_data_that_is_json_is_looked_into() {
    let table = [
        ("application/json", r#"{"a": 1}"#, Verdict::Held, "selects 1"),
        (
            "Application/Vnd.X+JSON; charset=utf-8",
            r#"{"a": 1}"#,
            Verdict::Held,
            "selects 1",
        ),
        (
            "text/plain",
            r#"{"a": 1}"#,
            Verdict::WrongType,
            "not JSON: datacontenttype is \"text/plain\"",
        ),
        (
            "",
            r#"{"a": 1}"#,
            Verdict::WrongType,
            "no attribute datacontenttype",
        ),
        ("application/json", "", Verdict::Absent, "no data"),
        (
            "application/json",
            "{",
            Verdict::Error,
            "no valid JSON: no name of a member at byte 1",
        ),
        (
            "application/json",
            r#"{"a": 1} x"#,
            Verdict::Error,
            "no valid JSON",
        ),
    ];
    for (media, data, verdict, because) in table {
        let found = explained(Filter::JsonPath("$.a".to_owned()), &event(media, data));
        assert_eq!(found.0, verdict, "{media} {data}");
        assert!(found.1.contains(because), "{}", found.1);
    }
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let found = explained(
        Filter::JsonPath("$..a".to_owned()),
        &event("application/json", &deep),
    );
    assert_eq!(found.0, Verdict::Error);
    // A value of a JSON event is JSON whatever the media type says.
    let value = event("", "").edit().data(DataForm::Json, br#"{"a": 1}"#).build();
    let found = explained(Filter::JsonPath("$.a".to_owned()), &value.expect("a valid event"));
    assert_eq!(found.0, Verdict::Held);
}
