//! What each dialect decides, and the reasons it gives.

use millrace_event::{Kind, SpecVersion, Value};

use super::*;
use crate::explain::{MAX_LISTED, Verdict};

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn exact(name: &str, value: &str) -> Filter {
    Filter::Exact(pairs(&[(name, value)]))
}

fn not(inner: Filter) -> Filter {
    Filter::Not(Box::new(inner))
}

/// `type` order.paid, `source` /shop/1, a `time` with an offset, an integer, a boolean and an empty
/// extension.
fn event() -> Event {
    Event::builder(SpecVersion::V10)
        .attribute("id", "7")
        .attribute("source", "/shop/1")
        .attribute("type", "order.paid")
        .attribute("time", "2026-01-02T03:04:05.10+02:00")
        .value(
            "count",
            Value {
                kind: Kind::Integer,
                text: "42",
            },
        )
        .value(
            "vip",
            Value {
                kind: Kind::Boolean,
                text: "true",
            },
        )
        .attribute("hollow", "")
        .attribute("knativebrokerttl", "255")
        .build()
        .expect("a valid event")
}

#[test]
fn each_dialect_decides_as_the_specification_says() {
    let any = |list: &[Filter]| Filter::Any(list.to_vec());
    let all = |list: &[Filter]| Filter::All(list.to_vec());
    let prefix = |name: &str, value: &str| Filter::Prefix(pairs(&[(name, value)]));
    let suffix = |name: &str, value: &str| Filter::Suffix(pairs(&[(name, value)]));
    let attributes = |list: &[(&str, &str)]| Filter::Attributes(pairs(list));
    let yes = || exact("type", "order.paid");
    let no = || exact("type", "order.created");
    let cases: Vec<(Vec<Filter>, bool)> = vec![
        (vec![], true),
        (vec![yes()], true),
        (vec![no()], false),
        // Case matters, and the whole text.
        (vec![exact("type", "Order.paid")], false),
        (vec![exact("type", "order.pai")], false),
        (vec![exact("specversion", "1.0")], true),
        // The canonical text, and `time` as it came.
        (vec![exact("count", "42"), exact("vip", "true")], true),
        (vec![exact("time", "2026-01-02T03:04:05.10+02:00")], true),
        (vec![exact("time", "2026-01-02T01:04:05.1Z")], false),
        // All of a map, and all of the list.
        (
            vec![Filter::Exact(pairs(&[
                ("type", "order.paid"),
                ("source", "/shop/1"),
            ]))],
            true,
        ),
        (
            vec![Filter::Exact(pairs(&[
                ("type", "order.paid"),
                ("source", "/shop/2"),
            ]))],
            false,
        ),
        (vec![yes(), no()], false),
        (vec![prefix("type", "order.")], true),
        (vec![prefix("type", "order.paid.late")], false),
        (vec![suffix("type", ".paid")], true),
        (vec![suffix("type", "xorder.paid")], false),
        // What is missing never holds, so its contrary does.
        (vec![exact("region", "eu")], false),
        (vec![prefix("region", "e")], false),
        (vec![suffix("region", "u")], false),
        (vec![not(exact("region", "eu"))], true),
        (vec![not(not(exact("region", "eu")))], false),
        (vec![not(yes())], false),
        (vec![any(&[no(), yes()])], true),
        (vec![any(&[no(), exact("region", "eu")])], false),
        (vec![all(&[yes(), not(no())])], true),
        (vec![all(&[yes(), any(&[no(), prefix("source", "/x")])])], false),
        (vec![not(all(&[yes(), no()]))], true),
        // The older form: an empty value asks for presence.
        (vec![attributes(&[])], true),
        (vec![attributes(&[("type", ""), ("source", "/shop/1")])], true),
        (vec![attributes(&[("region", "")])], false),
        (vec![attributes(&[("hollow", "")])], false),
        (
            vec![attributes(&[("type", "order.created"), ("source", "")])],
            false,
        ),
        // The broker's own attribute is not the event's.
        (vec![exact("knativebrokerttl", "255")], false),
        (vec![attributes(&[("knativebrokerttl", "")])], false),
    ];
    for (filters, expected) in cases {
        let compiled = Compiled::new(&filters).expect("a valid filter");
        assert_eq!(compiled.matches(&event()), expected, "{filters:?}");
        assert_eq!(compiled.explain(&event()).matched, expected, "{filters:?}");
    }
}

#[test]
fn the_deciding_clause_is_named_with_what_it_saw() {
    let prefix = Filter::Prefix(pairs(&[("source", "/x/")]));
    let older = Filter::Attributes(pairs(&[("type", ""), ("hollow", "")]));
    let long = "a".repeat(4_000);
    let cases: Vec<(Vec<Filter>, &str, &str)> = vec![
        (
            vec![exact("type", "order.paid")],
            "filters[0].exact.type",
            "type is \"order.paid\"",
        ),
        (
            vec![exact("type", "x")],
            "filters[0].exact.type",
            "type is \"order.paid\", not \"x\"",
        ),
        (
            vec![exact("region", "eu")],
            "filters[0].exact.region",
            "the event has no attribute region",
        ),
        (
            vec![exact("type", "order.paid"), Filter::All(vec![prefix])],
            "filters[1].all[0].prefix.source",
            "source is \"/shop/1\", which does not begin with \"/x/\"",
        ),
        (
            vec![not(exact("type", "order.paid"))],
            "filters[0].not.exact.type",
            "excluded: type is \"order.paid\"",
        ),
        (
            vec![not(exact("region", "eu"))],
            "filters[0].not.exact.region",
            "the event has no attribute region",
        ),
        (vec![older], "filter.attributes.hollow", "hollow is empty"),
        (
            vec![Filter::Any(vec![exact("type", "a"), exact("type", "b")])],
            "filters[0].any",
            "type is \"order.paid\", not \"a\"; type is \"order.paid\", not \"b\"",
        ),
        (
            vec![exact("id", "7"), exact("type", "order.paid")],
            "filters",
            "id is \"7\"; type is \"order.paid\"",
        ),
    ];
    for (filters, path, because) in cases {
        let explanation = Compiled::new(&filters).expect("a valid filter").explain(&event());
        let clause = explanation.decided_by.expect("a clause decided");
        assert_eq!(
            (clause.path.as_str(), clause.because.as_str()),
            (path, because),
            "{filters:?}"
        );
    }
    let nothing = Compiled::new(&[]).expect("a valid filter").explain(&event());
    assert_eq!(
        nothing,
        Explanation {
            matched: true,
            decided_by: None,
            clauses: Vec::new(),
            omitted: 0,
        }
    );
    let clause = Compiled::new(&[exact("type", &long)])
        .expect("valid")
        .explain(&event())
        .decided_by;
    assert!(
        clause.expect("a clause decided").because.len() < 400,
        "a long value is shortened"
    );
}

#[test]
fn every_clause_that_was_asked_is_listed_in_its_order() {
    let filters = [
        exact("region", "eu"),
        not(exact("id", "7")),
        exact("type", "order.paid"),
    ];
    let explanation = Compiled::new(&filters).expect("a valid filter").explain(&event());
    let listed: Vec<_> = explanation
        .clauses
        .iter()
        .map(|clause| (clause.path.as_str(), clause.verdict))
        .collect();
    // The attribute that needs a search is asked last, and here no more.
    let expected = [
        ("filters[2].exact.type", Verdict::Held),
        ("filters[1].not.exact.id", Verdict::Held),
    ];
    assert_eq!(listed, expected);
    let decided = explanation.decided_by.expect("a clause decided");
    assert_eq!((decided.verdict, decided.held()), (Verdict::Different, false));

    let absent = Compiled::new(&[exact("region", "eu")])
        .expect("valid")
        .explain(&event());
    assert_eq!(absent.clauses, [absent.decided_by.expect("a clause decided")]);
    assert_eq!(absent.clauses[0].verdict, Verdict::Absent);

    let many = vec![exact("type", "order.paid"); MAX_LISTED + 5];
    let explanation = Compiled::new(&many).expect("valid").explain(&event());
    assert_eq!((explanation.clauses.len(), explanation.omitted), (MAX_LISTED, 5));
    let unmet = Compiled::new(&[Filter::Any(vec![not(exact("id", "7")), exact("region", "eu")])]);
    let decided = unmet.expect("valid").explain(&event()).decided_by;
    assert_eq!(decided.expect("a clause decided").verdict, Verdict::Different);
}

#[test]
fn many_triggers_of_attribute_and_extension_route_as_knative_does() {
    // Knative's ManyTriggers: each pair of wanted and given (type, source) and extension, "" meaning any.
    let types = ["", "type1", "type2"];
    let sources = ["", "/source1", "/source2"];
    let extensions = [None, Some(""), Some("val1"), Some("val2")];
    for (ty, source) in types
        .iter()
        .flat_map(|ty| sources.iter().map(move |source| (*ty, *source)))
    {
        for extension in extensions {
            let mut wanted = vec![("type", ty), ("source", source)];
            wanted.extend(extension.map(|value| ("extname1", value)));
            let compiled = Compiled::new(&[Filter::Attributes(pairs(&wanted))]).expect("a valid filter");
            for (has_type, has_source) in [
                ("type1", "/source1"),
                ("type1", "/source2"),
                ("type2", "/source1"),
            ] {
                for has_extension in [None, Some("val1"), Some("val2")] {
                    let mut given = Event::builder(SpecVersion::V10)
                        .attribute("id", "1")
                        .attribute("type", has_type);
                    given = given.attribute("source", has_source);
                    if let Some(value) = has_extension {
                        given = given.attribute("extname1", value);
                    }
                    let expected = (ty.is_empty() || ty == has_type)
                        && (source.is_empty() || source == has_source)
                        && extension.is_none_or(|wanted| {
                            has_extension.is_some_and(|has| wanted.is_empty() || wanted == has)
                        });
                    let event = given.build().expect("a valid event");
                    assert_eq!(compiled.matches(&event), expected, "{wanted:?} against {event:?}");
                }
            }
        }
    }
}
