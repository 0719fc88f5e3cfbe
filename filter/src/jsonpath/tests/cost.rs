//! What paths cost, whoever else asks, and that they end.

use super::*;
use crate::Decision;
use crate::meter::{Allowance, MAX_STEPS};
use crate::value;

/// Data of about a mebibyte that is a list of this item.
fn mebibyte_of(item: &str) -> String {
    let items = vec![item; (1 << 20) / (item.len() + 1)];
    format!("[{}]", items.join(","))
}

#[test]
fn an_ordinary_path_looks_into_the_largest_event_whatever_its_shape() {
    let deep = format!("{}0{}", "[".repeat(120), "]".repeat(120));
    let shapes = [
        "0",
        "{}",
        "[]",
        r#"{"b":1}"#,
        r#"{"b":{"b":[]}}"#,
        r#""text""#,
        &deep,
    ];
    for item in shapes {
        let event = event("application/json", &mebibyte_of(item));
        let subject = Subject::new(&event);
        for path in [
            "$..name",
            "$..*",
            "$[*].name",
            "$[-1]",
            "$[?@.b == 7]",
            "$..[?@.b == 7]",
            "$..[?@.name]",
        ] {
            let filter = Compiled::new(&[Filter::JsonPath(path.to_owned())]).expect("a valid filter");
            let decision = filter.decide(&subject, &Allowance::unlimited());
            assert_ne!(decision, Decision::TooMuchWork, "{path} on a list of {item}");
        }
    }
}

#[test]
fn beyond_its_work_a_trigger_does_not_match_also_where_the_contrary_is_asked() {
    let list = mebibyte_of(r#"[[[[[[{"b":1}]]]]]]"#);
    let event = event("application/json", &list);
    let path = |path: &str| Filter::JsonPath(path.to_owned());
    let each = |n: usize| path(&format!("$..[?@.b == {n}]"));
    let any = |filters: Vec<Filter>| Filter::Any(filters);
    let not = |filter: Filter| Filter::Not(Box::new(filter));
    let absent = || any((2..100).map(each).collect());
    let cases = [
        vec![any((2..1_000).map(each).collect())],
        // The negation of an undecided clause is undecided too.
        vec![not(absent())],
        vec![any(vec![not(absent()), path("$..[?@.b == -1]")])],
        vec![path("$..*..absent")],
        vec![path("$..[?count(@..*) > 1000]")],
        vec![path("$..[?@..absent || @.a == $[0]]")],
    ];
    for filters in cases {
        let shown = format!("{:.200}", format!("{filters:?}"));
        let compiled = Compiled::new(&filters).expect(&shown);
        let decision = compiled.decide(&Subject::new(&event), &Allowance::unlimited());
        assert_eq!(decision, Decision::TooMuchWork, "{shown}");
        let explanation = compiled.explain(&event);
        assert!(!explanation.matched, "{shown}");
        let clause = explanation.decided_by.expect("a clause decided");
        assert_eq!(
            clause.verdict,
            Verdict::TooMuchWork,
            "{shown}: {}",
            clause.because
        );
        assert!(
            clause.because.contains("error: too much work"),
            "{}",
            clause.because
        );
    }
}

/// Steps for each item of a list.
fn steps_for_each(item: &str, filter: Filter) -> u64 {
    const ITEMS: usize = 1_000;
    let list = format!("[{}]", vec![item; ITEMS].join(","));
    let event = event("application/json", &list);
    let subject = Subject::new(&event);
    let compiled = Compiled::new(&[filter]).expect("a valid filter");
    // Parsing is not counted.
    compiled.decide(&subject, &Allowance::unlimited());
    let allowance = Allowance::unlimited();
    compiled.decide(&subject, &allowance);
    allowance.spent() / ITEMS as u64
}

#[test]
fn a_comparison_costs_more_when_more_has_to_be_looked_at() {
    let condition = |path: &str| Filter::JsonPath(path.to_owned());
    let is =
        |number: &str| Filter::JsonPathEquals(vec![("$[*]".to_owned(), Scalar::Number(number.to_owned()))]);
    let cheap = [
        ("1", condition("$[?@ > 7]")),
        ("1.5", condition("$[?@ > 7]")),
        ("1.5", condition("$[?@ > 7.5]")),
        ("1.5", condition("$[?@ == 'text']")),
        ("1.5", is("7.5")),
        ("1", is("7")),
        (r#""text""#, is("7")),
    ];
    for (item, filter) in cheap {
        let shown = format!("{item} {filter:?}");
        assert_eq!(steps_for_each(item, filter), 2, "{shown}");
    }
    let long = format!("7.5{}1", "0".repeat(1_000));
    let larger = format!("7{}", "0".repeat(1_000));
    let dear = [
        ("7.5", condition("$[?@ > 7.5]"), 8),
        ("7.0", condition("$[?@ != 7]"), 8),
        (&*long, condition("$[?@ == 7.5]"), 8 + 250),
        (&*long, is("7.5"), 8 + 250),
        (&*larger, is("7.5"), 8 + 250),
        (&*larger, condition("$[?@ < 7]"), 8 + 250),
    ];
    for (item, filter, least) in dear {
        let shown = format!("{item:.20} {filter:?}");
        assert!(steps_for_each(item, filter) >= 2 + least, "{shown}");
    }
}

#[test]
fn what_a_trigger_spends_depends_neither_on_others_nor_on_when_it_is_asked() {
    let data = event("application/json", &mebibyte_of(r#"{"b":{"c":[1,"x"]}}"#));
    let paths = [
        "$..b",
        "$..c[1]",
        "$..[?@.c]",
        "$[?@.b.c[0] == 1]",
        "$..b..c",
        "$.b",
    ];
    let compiled: Vec<_> = paths
        .iter()
        .map(|path| Compiled::new(&[Filter::JsonPath((*path).to_owned())]).expect("a valid filter"))
        .collect();
    let spent = |subject: &Subject<'_>, filter: &Compiled| {
        let allowance = Allowance::unlimited();
        let decision = filter.decide(subject, &allowance);
        (decision, allowance.spent())
    };
    let shared = Subject::new(&data);
    let parsing = Compiled::new(&[Filter::JsonPath("$.x".to_owned())]).expect("a valid filter");
    spent(&shared, &parsing);
    for filter in &compiled {
        let alone = Subject::new(&data);
        spent(&alone, &parsing);
        assert_eq!(spent(&alone, filter), spent(&shared, filter));
        // Without time it is left for later, and then the decision is the usual one.
        let brief = filter.decide(&alone, &Allowance::brief());
        let (whole, steps) = spent(&alone, filter);
        assert_eq!(brief, if steps > 1 << 16 { Decision::Later } else { whole });
    }
}

#[test]
fn long_names_and_wide_objects_cost_no_more_than_their_values() {
    let data = format!(r#"{{"{}": [{}0]}}"#, "k".repeat(400_000), "0,".repeat(200_000));
    let found = explained(
        Filter::JsonPath("$[*][*]".to_owned()),
        &event("application/json", &data),
    );
    assert_eq!(found.0, Verdict::Held);
    let members: Vec<_> = (0..60_000).map(|n| format!(r#""k{n}": {n}"#)).collect();
    let wide = event("application/json", &format!("{{{}}}", members.join(",")));
    let pairs = (0..900).map(|n| (format!("$.k{n}"), Scalar::Number(n.to_string())));
    assert_eq!(
        explained(Filter::JsonPathEquals(pairs.collect()), &wide).0,
        Verdict::Held
    );
}

#[test]
fn all_paths_into_a_document_share_the_steps_of_one_trigger() {
    let json = format!(r#"{{"near": "x", "list": [{}0]}}"#, "0,".repeat(500_000));
    let document = Document::of(&value::read(json.as_bytes()).expect("JSON"));
    let path = |text: &str| JsonPath::new(text).expect("a path");
    let (near, everywhere) = (path("$.near"), path("$..absent"));
    assert_eq!(document.first_text(&near).as_deref(), Some("x"));
    // Each of them comes by all of the 500 000 values.
    for _ in 0..37 {
        assert_eq!(document.first_text(&everywhere), None);
    }
    let spent = document.allowance.spent();
    assert!(spent > MAX_STEPS / 2 && spent <= MAX_STEPS, "{spent}");
    assert_eq!(
        Document::of(&value::read(b"7").expect("JSON"))
            .first_text(&path("$"))
            .as_deref(),
        Some("7")
    );
}
