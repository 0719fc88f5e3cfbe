//! The promise of the index: it decides as asking every filter decides.

mod random;

use millrace_event::{DataForm, SpecVersion};
use proptest::collection::vec;
use proptest::prelude::*;

use self::random::{any_event, filter};
use super::*;
use crate::{Filter, Scalar};

fn event(attributes: &[(&str, &str)]) -> Event {
    let mut builder = Event::builder(SpecVersion::V10).attribute("id", "1");
    for (name, value) in attributes {
        builder = builder.attribute(name, value);
    }
    builder.build().expect("a valid event")
}

/// An event of type `t` with this JSON.
fn with_json(data: &str) -> Event {
    let attributes = [
        ("type", "t"),
        ("source", "/"),
        ("datacontenttype", "application/json"),
    ];
    let event = event(&attributes).edit();
    let event = event.data(DataForm::Bytes, data.as_bytes());
    event.build().expect("a valid event")
}

fn compiled(filters: &[Filter]) -> Arc<Compiled> {
    Arc::new(Compiled::new(filters).expect("a valid filter"))
}

fn matching(index: &Index, event: &Event) -> Vec<u32> {
    let mut keys = Vec::new();
    index.matching(event, &mut keys);
    keys.sort_unstable();
    keys
}

fn pair(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

#[test]
fn ten_thousand_filters_leave_few_to_ask() {
    let mut index = Index::default();
    for key in 0..10_000 {
        let ty = Filter::Exact(pair("type", &format!("type.{}", key % 1_000)));
        let source = Filter::Prefix(pair("source", &format!("/shop/{key}/")));
        index.insert(key, compiled(&[source, ty]));
    }
    let event = event(&[("type", "type.42"), ("source", "/shop/1042/orders")]);
    assert_eq!(matching(&index, &event), [1_042]);
    // All are proved by the index: none is asked as a whole.
    assert!(index.root.open.is_empty());
    assert_eq!(index.root.splits.len(), 1);
    assert!(
        index.root.splits[0]
            .by_value
            .values()
            .all(|bucket| bucket.open.is_empty())
    );
}

#[test]
fn what_is_removed_leaves_nothing_behind() {
    let mut index = Index::default();
    for round in 0..3 {
        for key in 0..100 {
            let any = Filter::Any(
                (0..3)
                    .map(|n| Filter::Exact(pair("type", &format!("t{}", key + n))))
                    .collect(),
            );
            index.insert(
                key,
                compiled(&[any, Filter::Suffix(pair("source", &format!("{key}")))]),
            );
        }
        assert_eq!(
            matching(&index, &event(&[("type", "t7"), ("source", "/6")])),
            [6],
            "round {round}"
        );
        (0..100).for_each(|key| index.remove(key));
        assert!(index.is_empty() && index.root.is_empty(), "round {round}");
    }
    index.remove(5);
}

#[test]
fn what_an_expression_asks_of_every_event_prunes_as_a_dialect_does() {
    let cesql = |text: String| compiled(&[Filter::Cesql(text)]);
    let mut index = Index::default();
    for key in 0..100 {
        index.insert(
            key,
            cesql(format!("type = 't{key}' AND source LIKE '/shop/{key}/%'")),
        );
        index.insert(
            100 + key,
            cesql(format!(
                "type IN ('t{key}', 'u{key}') AND LENGTH(id) = 1 OR id = 'x'"
            )),
        );
        index.insert(
            200 + key,
            compiled(&[
                Filter::Cesql("LENGTH(id) = 1 XOR FALSE".to_owned()),
                Filter::Exact(pair("type", &format!("t{key}"))),
            ]),
        );
    }
    let event = event(&[("type", "t7"), ("source", "/shop/7/x")]);
    assert_eq!(matching(&index, &event), [7, 107, 207]);
    // None of the three hundred is asked but the two whose type is right; the first is proved by the
    // look-ups.
    assert!(index.root.open.is_empty());
    let split = |how| {
        index
            .root
            .splits
            .iter()
            .find(|split| split.how == how && split.by_value.contains_key("t7".as_bytes()))
    };
    let bucket = &split(How::Exact).expect("split by type").by_value["t7".as_bytes()];
    let asked: Vec<u32> = bucket.open.iter().map(|(key, _)| *key).collect();
    assert!(asked.iter().all(|key| [7, 107, 207].contains(key)), "{asked:?}");
}

#[test]
fn data_is_parsed_only_when_a_filter_is_left_that_asks_for_it() {
    let mut index = Index::default();
    for key in 0..50 {
        let path = Filter::JsonPath("$.a".to_owned());
        index.insert(
            key,
            compiled(&[path, Filter::Exact(pair("type", &format!("t{key}")))]),
        );
    }
    let data = |ty: &str| {
        event(&[
            ("type", ty),
            ("source", "/"),
            ("datacontenttype", "application/json"),
        ])
        .edit()
        .data(DataForm::Bytes, br#"{"a": 1}"#)
        .build()
        .expect("a valid event")
    };
    for (ty, expected, parsed) in [("other", vec![], false), ("t7", vec![7], true)] {
        let event = data(ty);
        let subject = Subject::new(&event);
        let mut found = Matching::default();
        index.matching_within(&subject, &Allowance::unlimited(), &mut found);
        assert_eq!((found.matched, subject.was_parsed()), (expected, parsed), "{ty}");
    }
}

#[test]
fn what_the_allowance_does_not_suffice_for_is_left_for_later_and_decided_then() {
    let mut index = Index::default();
    let path = |text: &str| Filter::JsonPath(text.to_owned());
    index.insert(0, compiled(&[Filter::Exact(pair("type", "t"))]));
    index.insert(1, compiled(&[path("$..name")]));
    index.insert(2, compiled(&[path("$..other")]));
    index.insert(3, compiled(&[path("$..*..absent")]));
    index.insert(
        4,
        compiled(&[Filter::Exact(pair("type", "other")), path("$..name")]),
    );
    let data = format!(
        r#"{{"name": 1, "list": [{}0]}}"#,
        "[[[[[[[[0]]]]]]]],".repeat(50_000)
    );
    let event = with_json(&data);
    let subject = Subject::new(&event);
    let mut found = Matching::default();
    index.matching_within(&subject, &Allowance::brief(), &mut found);
    assert_eq!(found.matched, [0], "what compares attributes costs nothing");
    assert!(!subject.was_parsed(), "not where others wait");
    let mut later: Vec<_> = found.later.iter().map(|(key, _)| *key).collect();
    later.sort_unstable();
    assert_eq!(later, [1, 2, 3], "4 is out by its type");
    while !found.go_on(&subject, 1) {}
    found.matched.sort_unstable();
    assert_eq!((found.matched, found.exhausted), (vec![0, 1], vec![3]));
}

#[test]
fn an_event_that_was_begun_goes_on_with_another_allowance_where_it_ended() {
    let mut index = Index::default();
    let path = |text: &str| compiled(&[Filter::JsonPath(text.to_owned())]);
    index.insert(0, compiled(&[Filter::Exact(pair("type", "t"))]));
    for key in 1..=7 {
        index.insert(key, path("$..name"));
    }
    // Not even another allowance suffices for this one.
    index.insert(8, path("$..*..absent"));
    let data = format!(r#"{{"name": 1, "list": [{}0]}}"#, "[[[0]]],".repeat(4_000));
    let event = with_json(&data);
    let (subject, mut found) = (Subject::new(&event), Matching::default());
    index.matching_within(&subject, &Allowance::brief(), &mut found);
    let first = found.matched.clone();
    assert!(first.len() > 1 && first.len() < 8, "{first:?}");
    let subject = subject.into_owned();
    assert!(subject.was_parsed(), "what was parsed goes along");
    let mut passes = 0;
    while found.matched.len() < 8 {
        found.go_on_within(&subject, &Allowance::brief());
        passes += 1;
        assert!(passes < 8, "each pass decides more");
    }
    assert!(found.matched.starts_with(&first), "none is asked again");
    let later: Vec<_> = found.later.iter().map(|(key, _)| *key).collect();
    assert_eq!(later, [8]);
    found.matched.sort_unstable();
    assert_eq!(found.matched, Vec::from_iter(0..8));
}

#[test]
fn what_the_index_answers_is_never_too_much_work() {
    // An index answers all of these, and a filter asked alone must decide the same however long the texts
    // are.
    let long = "x".repeat(60_000);
    let event = event(&[("type", "t"), ("source", &long), ("subject", &long)]);
    let like = |pattern: &str| Filter::Cesql(format!("source LIKE '{pattern}'"));
    let filters = [
        vec![like("x%"), Filter::Cesql("subject LIKE '%x'".to_owned())],
        vec![like("%xx"), Filter::Cesql("type IN ('a', 't')".to_owned())],
        vec![Filter::Any(vec![Filter::Prefix(pair("source", "xx")); 400])],
    ];
    for filters in filters {
        let filter = compiled(&filters);
        let allowance = Allowance::brief();
        let decision = filter.decide(&Subject::new(&event), &allowance);
        assert_eq!(decision, Decision::Match, "{filters:?}");
        assert!(allowance.spent() < 5_000, "{filters:?}: {}", allowance.spent());
    }
}

proptest! {
    /// The promise of the index: it decides as asking every filter decides, through every insertion,
    /// replacement and removal.
    #[test]
    fn the_index_decides_as_a_plain_loop_does(
        changes in vec((0..40_u32, proptest::option::weighted(0.8, vec(filter(), 0..3))), 1..80),
        events in vec(any_event(), 1..12),
    ) {
        let mut index = Index::default();
        let mut plain: HashMap<u32, Arc<Compiled>> = HashMap::new();
        for (key, filters) in changes {
            match filters {
                Some(filters) => {
                    let filter = compiled(&filters);
                    plain.insert(key, filter.clone());
                    index.insert(key, filter);
                }
                None => {
                    plain.remove(&key);
                    index.remove(key);
                }
            }
        }
        prop_assert_eq!(index.len(), plain.len());
        for event in &events {
            let mut expected: Vec<u32> =
                plain.iter().filter(|(_, filter)| filter.matches(event)).map(|(key, _)| *key).collect();
            expected.sort_unstable();
            prop_assert_eq!(matching(&index, event), expected);
            for filter in plain.values() {
                prop_assert_eq!(filter.explain(event).matched, filter.matches(event));
            }
        }
        plain.keys().for_each(|key| index.remove(*key));
        prop_assert!(index.root.is_empty());
    }
}
