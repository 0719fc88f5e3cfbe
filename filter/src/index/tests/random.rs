//! Filters and events by chance, in which few values meet often.

use millrace_event::{DataForm, Kind, Value as Attribute};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NAMES: [&str; 7] = [
    "type",
    "source",
    "id",
    "subject",
    "region",
    "n",
    "knativebrokerttl",
];

/// Texts over two letters, so that equal, beginning and ending ones are common.
fn text() -> impl Strategy<Value = String> {
    "[ab]{1,4}"
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    let names = proptest::sample::subsequence(NAMES.to_vec(), 1..=2);
    (names, vec(text(), 2))
        .prop_map(|(names, values)| names.into_iter().map(str::to_owned).zip(values).collect())
}

pub(super) fn filter() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        pairs().prop_map(Filter::Exact),
        pairs().prop_map(Filter::Exact),
        pairs().prop_map(Filter::Prefix),
        pairs().prop_map(Filter::Suffix),
        (text(), vec(text(), 1..4)).prop_map(|(_, values)| {
            Filter::Any(
                values
                    .iter()
                    .map(|value| Filter::Exact(pair("type", value)))
                    .collect(),
            )
        }),
        vec(text(), 1..4).prop_map(|values| {
            Filter::Any(
                values
                    .iter()
                    .map(|value| Filter::Prefix(pair("source", value)))
                    .collect(),
            )
        }),
        vec(text(), 1..4).prop_map(|values| {
            Filter::Any(
                values
                    .iter()
                    .map(|value| Filter::Suffix(pair("source", value)))
                    .collect(),
            )
        }),
        proptest::sample::select(NAMES.to_vec()).prop_map(|name| Filter::Attributes(pair(name, ""))),
        expression().prop_map(Filter::Cesql),
        expression().prop_map(Filter::Cesql),
        proptest::sample::select(PATHS.to_vec()).prop_map(|path| Filter::JsonPath(path.to_owned())),
        (proptest::sample::select(PATHS.to_vec()), scalar())
            .prop_map(|(path, value)| Filter::JsonPathEquals(vec![(path.to_owned(), value)])),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..3).prop_map(Filter::All),
            vec(inner.clone(), 1..3).prop_map(Filter::Any),
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

const PATHS: [&str; 4] = ["$.a", "$.b[?@.c == 1]", "$..c", "$[0]"];

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        Just(Scalar::Boolean(true)),
        Just(Scalar::Number("1".to_owned())),
        text().prop_map(Scalar::Text),
    ]
}

/// Comparisons as an index can and cannot ask them, joined and turned round in every way.
fn expression() -> impl Strategy<Value = String> {
    let name = || proptest::sample::select(NAMES.to_vec());
    let leaf = prop_oneof![
        (name(), text()).prop_map(|(name, text)| format!("{name} = '{text}'")),
        (name(), text()).prop_map(|(name, text)| format!("'{text}' = {name}")),
        (name(), "[ab%_]{1,4}").prop_map(|(name, pattern)| format!("{name} LIKE '{pattern}'")),
        (name(), vec(text(), 1..3)).prop_map(|(name, set)| format!("{name} IN ('{}')", set.join("','"))),
        (name(), "[ab%_]{1,4}").prop_map(|(name, pattern)| format!("{name} NOT LIKE '{pattern}'")),
        name().prop_map(|name| format!("EXISTS {name}")),
        (name(), -1..3_i32).prop_map(|(name, number)| format!("{name} = {number}")),
        (name(), -1..3_i32).prop_map(|(name, number)| format!("'0{number}' = {name}")),
        name().prop_map(|name| format!("LENGTH({name}) > 2")),
        proptest::sample::select(vec![
            "n",
            "n = '1'",
            "'01' = n",
            "n IN ('01')",
            "n IN ('1')",
            "n LIKE '%1'"
        ])
        .prop_map(str::to_owned),
        Just("TRUE".to_owned()),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let operator = proptest::sample::select(vec!["AND", "AND", "AND", "OR", "XOR"]);
        prop_oneof![
            (
                inner.clone(),
                operator.clone(),
                inner.clone(),
                operator,
                inner.clone()
            )
                .prop_map(|(a, and, b, or, c)| format!("{a} {and} {b} {or} {c}")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    })
}

/// JSON, something else, or nothing.
fn data() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "",
        r#"{"a": "a", "b": [{"c": 1}, {"c": "ab"}]}"#,
        r#"{"a": null, "c": true}"#,
        r#"[1, 2]"#,
        "no JSON",
    ])
}

pub(super) fn any_event() -> impl Strategy<Value = Event> {
    (
        text(),
        text(),
        text(),
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::option::of(prop_oneof![
            Just((Kind::Boolean, "true")),
            Just((Kind::Integer, "1")),
            Just((Kind::String, "01"))
        ]),
        data(),
    )
        .prop_map(|(id, ty, source, subject, region, n, data)| {
            let mut all = vec![("id", id), ("type", ty), ("source", source)];
            all.extend(subject.map(|value| ("subject", value)));
            all.extend(region.map(|value| ("region", value)));
            all.push(("knativebrokerttl", "1".to_owned()));
            let all: Vec<_> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut builder = event(&all).edit();
            if let Some((kind, text)) = n {
                builder = builder.value("n", Attribute { kind, text });
            }
            if !data.is_empty() {
                builder = builder
                    .attribute("datacontenttype", "application/json")
                    .data(DataForm::Bytes, data.as_bytes());
            }
            builder.build().expect("a valid event")
        })
}
