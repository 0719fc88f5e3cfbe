//! How values are laid out, and how they are found again.

use super::*;

fn parse(text: &str) -> Json {
    Json::parse(text.as_bytes()).expect("valid JSON")
}

#[test]
fn what_was_read_is_shown_again() {
    for text in [
        "null",
        "-1.50",
        "1e400",
        "18446744073709551615",
        r#""a\n\"é""#,
        r#""\ud800""#,
        "[]",
        "{}",
        r#"[1,[2,{"a":null}],"x",true]"#,
        r#"{"a":2,"b":{"a":[1]}}"#,
    ] {
        assert_eq!(parse(text).value(ROOT).to_string(), text);
    }
}

#[test]
fn members_are_found_in_their_object_and_anywhere_below_however_often_one_asks() {
    let json = parse(r#"{"a": {"b": 1, "c": {"b": 2}}, "b": [{"b": 3}]}"#);
    let a = json.member(ROOT, "a").expect("there is one");
    assert_eq!(json.member(a, "x"), None);
    assert_eq!(json.member(ROOT, "c"), None, "not further below");
    assert_eq!(json.within(a).count(), 4);
    for _ in 0..2 * INDEXED_FROM {
        let texts = |from: Id, name: &str| {
            let found = json.named_within(from, name);
            found.map(|id| json.value(id).to_string()).collect::<Vec<_>>()
        };
        assert_eq!(texts(ROOT, "b"), ["1", "2", r#"[{"b":3}]"#, "3"]);
        assert_eq!(texts(a, "b"), ["1", "2"]);
        assert_eq!(texts(a, "a"), Vec::<String>::new());
        assert_eq!(texts(a, "x"), Vec::<String>::new());
    }
}

#[test]
fn values_are_equal_by_what_they_are() {
    let equal = |one: &str, other: &str| {
        let json = parse(&format!("[{one}, {other}]"));
        let [one, other] = json.children(ROOT) else {
            panic!("two items")
        };
        json.equal(*one, *other, &|_| Ok::<(), ()>(())) == Ok(true)
    };
    for (one, other, expected) in [
        ("1", "1.0", true),
        ("9007199254740993", "9007199254740992", false),
        (r#"{"a": 1, "b": [2]}"#, r#"{"b": [2.0], "a": 1}"#, true),
        (r#"{"a": 1}"#, r#"{"b": 1}"#, false),
        ("[1, 2]", "[2, 1]", false),
        ("null", "false", false),
        (r#""a""#, r#""a""#, true),
        (r#""\ud800""#, r#""\ud800""#, true),
    ] {
        assert_eq!(equal(one, other), expected, "{one} {other}");
    }
}
