//! Which values a path selects: those of RFC 9535, and as many as jsonpath-rust selects.

use proptest::prelude::*;

use super::*;
use crate::meter::Allowance;
use crate::value;

#[test]
fn the_first_selected_value_is_given_as_a_text() {
    let json = br#"{"a": "x", "n": 1.5, "o": {"b": [1]}, "none": null, "big": 123456789012345678901234567890, "p": 1.10}"#;
    let table = [
        ("$.a", Some("x")),
        ("$.n", Some("1.5")),
        ("$.big", Some("123456789012345678901234567890")),
        ("$.p", Some("1.10")),
        ("$.o", Some(r#"{"b":[1]}"#)),
        ("$.none", None),
        ("$.missing", None),
        ("$..b[0]", Some("1")),
    ];
    let document = Document::of(&value::read(json).expect("JSON"));
    for (path, expected) in table {
        let path = JsonPath::new(path).expect("a path");
        assert_eq!(
            document.first_text(&path).as_deref(),
            expected,
            "{}",
            path.as_str()
        );
    }
}

fn select(path: &JsonPath, data: &Json) -> Vec<Id> {
    let mut all = Vec::new();
    let complete = path.look(data, &Meter::new(&Allowance::unlimited()), |id| {
        all.push(id);
        true
    });
    assert!(complete, "{} is stopped", path.as_str());
    all
}

/// How many values a path selects, by RFC 9535.
#[test]
fn paths_select_what_the_rfc_says() {
    let table = [
        ("$", "null", 1),
        ("$[-1]", "[1, 2, 3]", 1),
        ("$[1:]", "[1, 2, 3]", 2),
        ("$[::-1]", "[1, 2, 3]", 3),
        ("$['a','b']", r#"{"a": 1, "b": 2}"#, 2),
        ("$..*", r#"{"a": [1, {"b": 2}]}"#, 4),
        ("$..[0]", "[[1], [2]]", 3),
        // A filter asks the children, not the value that it stands behind.
        ("$.a[?@.b == true]", r#"{"a": {"b": true}}"#, 0),
        ("$[?@.b == true]", r#"{"a": {"b": true}}"#, 1),
        ("$[?@.a]", r#"[{"a": false}, {"a": null}, {}]"#, 2),
        ("$[?!@.a]", r#"[{"a": false}, {"a": null}, {}]"#, 1),
        (
            "$[?@.x[?@.y]]",
            r#"[{"x": [{"y": 1}]}, {"x": [{"z": 1}]}, {"x": []}, {}]"#,
            1,
        ),
        ("$[?@..y]", r#"[{"x": [{"y": 1}]}, {"x": [{"z": 1}]}, {}]"#, 1),
        ("$[?@[*].b]", r#"[[{"b": 1}], [{"c": 2}], {"b": 1}]"#, 1),
        ("$[?@.a == @.b]", r#"[{}, {"a": 1}, {"a": 1, "b": 1}]"#, 2),
        ("$[?@.a != 1]", r#"[{}, {"a": 1}, {"a": "1"}]"#, 2),
        ("$[?@.a < 2]", r#"[{}, {"a": 1}, {"a": "1"}]"#, 1),
        ("$[?@.a == null]", r#"[{}, {"a": null}]"#, 1),
        ("$[?@.a == 1e2]", r#"[{"a": 100}, {"a": "100"}]"#, 1),
        ("$[?@.a == $[0].a]", r#"[{"a": 1}, {"a": 1}, {"a": 2}]"#, 2),
        (
            "$[?(@.a || @.b) && @.c]",
            r#"[{"a": 1, "c": 1}, {"b": 1}, {"c": 1}]"#,
            1,
        ),
        ("$[?count(@.*) > 1]", r#"[{"a": 1}, {"a": 1, "b": 2}, []]"#, 1),
        // The count of nothing is 0.
        ("$[?count(@.*) == 0]", r#"[{"a": 1}, {}, [], 7]"#, 3),
        ("$[?0 >= count(@.a)]", r#"[{"a": 1}, {}, {"b": 1}]"#, 2),
        ("$[?count(@.*) < 2]", r#"[{}, {"a": 1}, {"a": 1, "b": 2}]"#, 2),
        ("$[?count(@.*) != 1]", r#"[{}, {"a": 1}, {"a": 1, "b": 2}]"#, 2),
        ("$[?count(@.*) == count(@.a)]", r#"[{}, {"a": 1}, {"b": 1}]"#, 2),
        // A filter directly behind `@` asks the children too.
        (
            "$[?@[?@.b == 1]]",
            r#"[{"b": 1}, {"x": {"b": 1}}, [{"b": 1}], [{"b": 2}]]"#,
            2,
        ),
        ("$[?!@[?@ > 1]]", "[[1], [2], []]", 2),
        ("$[?@..[?@.b]]", r#"[{"b": 1}, [[{"b": 1}]], [1]]"#, 1),
        ("$[?count(@[?@ > 1]) == 0]", "[[1], [2, 3], 5]", 2),
        ("$[?length(@) == 2]", r#"["ab", [1, 2], {"a": 1, "b": 2}, 7]"#, 3),
        (
            "$[?value(@..c) == 1]",
            r#"[{"x": {"c": 1}}, {"c": 1, "x": {"c": 1}}]"#,
            1,
        ),
    ];
    for (path, data, expected) in table {
        let data = Json::parse(data.as_bytes()).expect("valid JSON");
        let compiled = JsonPath::new(path).expect(path);
        assert_eq!(select(&compiled, &data).len(), expected, "{path} on {data:?}");
    }
}

/// Pieces of paths in any order.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "$", ".a", "..", "..b", "[", "]", "[0]", "[-1]", "[*]", ".*", "[?", "@", "@.a", "(", ")", "==", "<",
        "&&", "||", "!", "1", "'a'", ",", "[1:2]", "[::-1]", "count(", "length(", "value(", "match(", "null",
        " ", "é", "\\",
    ];
    let soup = proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..10);
    let valid = proptest::sample::select(vec![
        "$.a",
        "$..b",
        "$[*]",
        "$['a','b']",
        "$[?@.a == 1]",
        "$[::-1]",
    ]);
    let more = proptest::sample::select(vec![
        "",
        ".a",
        "..*",
        "[*]",
        "[-1]",
        "[?@.b || !@..a]",
        "[?length(@) > 1]",
    ]);
    prop_oneof![
        soup.prop_map(|pieces| format!("${}", pieces.concat())),
        (valid, more.clone(), more).prop_map(|(path, a, b)| format!("{path}{a}{b}")),
    ]
}

/// Where jsonpath-rust deviates from the RFC: it takes the count of nothing for nothing, and applies a filter
/// directly behind `@` to the value itself instead of its children.
fn witness_is_wrong(path: &str) -> bool {
    let path = path.replace(char::is_whitespace, "");
    ["count(", "@[?", "@..[?"]
        .iter()
        .any(|wrong| path.contains(wrong))
}

proptest! {
    /// jsonpath-rust's own evaluation, which counts no steps, as a witness.
    #[test]
    fn paths_select_as_many_values_as_jsonpath_rust_says(path in soup()) {
        let data = r#"{"a": [1, {"b": "é", "a": [null, [1, 2], {}]}], "b": {"a": 1, "b": [[]]}, "é": -1.5e3}"#;
        if let Ok(compiled) = JsonPath::new(&path) && !witness_is_wrong(&path) {
            let value = value::read(data.as_bytes()).expect("valid JSON");
            let witness = jsonpath_rust::query::js_path_process(&compiled.query, &value).unwrap_or_default();
            let json = Json::parse(data.as_bytes()).expect("valid JSON");
            prop_assert_eq!(select(&compiled, &json).len(), witness.len(), "{}", path);
        }
    }

    #[test]
    fn any_path_is_refused_or_asked_and_explained_as_decided(path in soup()) {
        let data = r#"{"a": [1, {"b": "é", "a": [null, [1, 2], {}]}], "b": {"a": 1, "b": [[]]}, "é": -1.5e3}"#;
        let event = event("application/json", data);
        if let Ok(compiled) = Compiled::new(&[Filter::JsonPath(path)]) {
            prop_assert_eq!(compiled.matches(&event), compiled.explain(&event).matched);
        }
    }
}
