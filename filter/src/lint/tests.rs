//! What is warned of, and what is not.

use super::*;
use crate::Filter;

fn pair(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

fn exact(name: &str, value: &str) -> Filter {
    Filter::Exact(pair(name, value))
}

fn cesql(text: &str) -> Filter {
    Filter::Cesql(text.to_owned())
}

fn warnings(filters: &[Filter]) -> Vec<(String, String)> {
    let compiled = Compiled::new(filters).expect("a valid filter");
    let warnings = compiled.warnings().into_iter();
    warnings.map(|warning| (warning.path, warning.message)).collect()
}

#[test]
fn paths_that_can_need_too_much_work_are_warned_of_at_the_costliest() {
    let path = |text: &str| Filter::JsonPath(text.to_owned());
    for ordinary in [
        vec![path("$..name")],
        vec![path("$..[?@.b == 1]")],
        vec![path("$.items[*].name"), path("$.commits[?@.author == 'eve']")][..1].to_vec(),
        (0..900).map(|n| path(&format!("$.a.b{n}"))).collect(),
    ] {
        assert_eq!(warnings(&ordinary), [], "{ordinary:?}");
    }
    for (filters, at) in [
        (vec![path("$..a..b")], "filters[0].jsonpath"),
        (vec![path("$..*..*")], "filters[0].jsonpath"),
        (vec![path("$..[?@.a == 1 && @.b == 2]")], "filters[0].jsonpath"),
        (
            vec![
                path("$..name"),
                Filter::Not(Box::new(path("$..[?count(@..x) > 1]"))),
            ],
            "filters[1].not.jsonpath",
        ),
        (
            (0..999).map(|n| path(&format!("$..[?@.b == {n}]"))).collect(),
            "filters[998].jsonpath",
        ),
    ] {
        let given = warnings(&filters);
        assert_eq!(given.len(), 1, "{given:?}");
        assert_eq!(given[0].0, at);
        assert!(
            given[0].1.contains("large events may not match"),
            "{}",
            given[0].1
        );
    }
}

#[test]
fn filters_that_no_event_can_pass_are_warned_of() {
    let prefix = |name: &str, value: &str| Filter::Prefix(pair(name, value));
    let suffix = |name: &str, value: &str| Filter::Suffix(pair(name, value));
    let any = |list: &[Filter]| Filter::Any(list.to_vec());
    let not = |inner| Filter::Not(Box::new(inner));
    let table: Vec<(Vec<Filter>, &str, &str)> = vec![
        (
            vec![exact("type", "a"), exact("type", "b")],
            "filters",
            "be \"a\" and be \"b\"",
        ),
        (
            vec![exact("type", "ab"), prefix("type", "b")],
            "filters",
            "begin with \"b\"",
        ),
        (
            vec![prefix("type", "a"), prefix("type", "b")],
            "filters",
            "begin with \"a\" and begin with \"b\"",
        ),
        (
            vec![suffix("type", "a"), exact("type", "b")],
            "filters",
            "end with \"a\"",
        ),
        (
            vec![any(&[exact("type", "a"), exact("type", "b")]), exact("type", "c")],
            "filters",
            "be \"c\" and be \"a\" or \"b\"",
        ),
        (
            vec![exact("type", "a"), cesql("type = 'b'")],
            "filters",
            "type cannot",
        ),
        (
            vec![cesql("type = 'a' AND type LIKE 'b%'")],
            "filters[0].cesql",
            "type cannot",
        ),
        (
            vec![exact("knativebrokerttl", "1")],
            "filters[0].exact.knativebrokerttl",
            "belongs to the broker",
        ),
        (
            vec![cesql("knativebrokerttl > 1")],
            "filters[0].cesql",
            "belongs to the broker",
        ),
        (vec![cesql("FALSE")], "filters[0].cesql", "never true"),
        (
            vec![cesql("type = 'a' AND 1 > 2")],
            "filters[0].cesql",
            "never true",
        ),
        (
            vec![cesql("1 > 2 OR 'a' = 'b'")],
            "filters[0].cesql",
            "never true",
        ),
        (vec![cesql("1 / 0 = 0")], "filters[0].cesql", "never true"),
        (
            vec![cesql("LENGTH(type) = 'x'")],
            "filters[0].cesql",
            "compared with \"x\" is an Integer",
        ),
        (
            vec![any(&[cesql("FALSE"), exact("knativebrokerttl", "1")])],
            "",
            "never matches",
        ),
        (vec![not(cesql("TRUE"))], "filters[0].not", "every event passes"),
        (
            vec![not(cesql("EXISTS id OR vip"))],
            "filters[0].not",
            "every event passes",
        ),
        (
            vec![not(any(&[exact("type", "a"), not(cesql("FALSE"))]))],
            "filters[0].not",
            "every event",
        ),
    ];
    for (filters, path, message) in table {
        let found = warnings(&filters);
        assert_eq!(found.len(), 1, "{filters:?}: {found:?}");
        assert!(found[0].0.starts_with(path), "{found:?}");
        assert!(found[0].1.contains(message), "{found:?}");
    }
}

#[test]
fn expressions_that_read_otherwise_than_they_look_are_warned_of() {
    let table = [
        ("vip AND x = 1 OR y = 1", vec!["AND, OR and XOR bind alike"]),
        ("NOT vip = TRUE", vec!["NOT binds tighter than a comparison"]),
        (
            "NOT id = 'x'",
            vec![
                "never matches: what is compared with \"x\" is a Boolean",
                "NOT binds tighter",
            ],
        ),
        ("NOT vip LIKE 'f%'", vec!["NOT binds tighter than LIKE"]),
        ("vip AND (NOT vip IN (TRUE))", vec!["NOT binds tighter than LIKE"]),
    ];
    for (text, expected) in table {
        let found = warnings(&[cesql(text)]);
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.1.contains(expected), "{text}: {found:?}");
        }
    }
}

#[test]
fn filters_that_some_event_passes_are_left_alone() {
    let any = |list: &[Filter]| Filter::Any(list.to_vec());
    let not = |inner| Filter::Not(Box::new(inner));
    let prefix = |value: &str| Filter::Prefix(pair("type", value));
    let table: Vec<Vec<Filter>> = vec![
        vec![],
        vec![exact("type", "a"), exact("source", "b")],
        vec![exact("type", "ab"), prefix("a")],
        vec![prefix("a"), prefix("ab")],
        vec![prefix("a"), Filter::Suffix(pair("type", "b"))],
        vec![any(&[exact("type", "a"), exact("type", "b")])],
        vec![any(&[exact("type", "a"), exact("type", "b")]), exact("type", "b")],
        vec![any(&[exact("type", "a"), cesql("FALSE")])],
        vec![exact("type", "a"), not(exact("type", "b"))],
        vec![not(exact("knativebrokerttl", "1"))],
        vec![not(cesql("EXISTS subject"))],
        vec![cesql("type = 'a' OR type = 'b'")],
        vec![cesql("type = 'a' XOR FALSE")],
        vec![cesql("FALSE XOR vip")],
        vec![cesql("(vip AND x = 1) OR y = 1")],
        vec![cesql("(NOT vip) = TRUE")],
        vec![cesql("NOT (id = 'x')")],
        vec![cesql("vip = 'true'")],
        vec![cesql("EXISTS vip = 'true'")],
        vec![cesql("TRUE OR knativebrokerttl = 1")],
        vec![cesql("id IN (id, knativebrokerttl)")],
        vec![cesql("'5' = type AND type = 5")],
    ];
    for filters in table {
        assert_eq!(warnings(&filters), [], "{filters:?}");
    }
}
