//! Paths: what is admitted, what they find, and what they may cost.

use millrace_event::{DataForm, Event, SpecVersion};
use proptest::prelude::*;

use super::*;
use crate::explain::Verdict;
use crate::{Compiled, Decision, Filter, Scalar};

/// An event with this data under this media type.
fn event(media: &str, data: &str) -> Event {
    let mut builder = Event::builder(SpecVersion::V10)
        .attribute("id", "1")
        .attribute("source", "/s")
        .attribute("type", "t");
    if !media.is_empty() {
        builder = builder.attribute("datacontenttype", media);
    }
    if !data.is_empty() {
        builder = builder.data(DataForm::Bytes, data.as_bytes());
    }
    builder.build().expect("a valid event")
}

fn explained(filter: Filter, event: &Event) -> (Verdict, String) {
    let compiled = Compiled::new(&[filter]).expect("a valid filter");
    let explanation = compiled.explain(event);
    assert_eq!(explanation.matched, compiled.matches(event));
    let clause = explanation.decided_by.expect("a clause decided");
    assert_eq!(clause.held(), explanation.matched);
    (clause.verdict, clause.because)
}

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

#[test]
fn what_is_no_path_or_could_cost_anything_is_refused_in_words() {
    let long = format!("$.{}", "a".repeat(MAX_PATH_BYTES));
    let brackets = format!("$[?{}@.a{}]", "(".repeat(200), ")".repeat(200));
    let functions = format!("$[?{}@.a{}]", "length(".repeat(100), ")".repeat(100));
    let lists = format!("${}", "[0,0]".repeat(13));
    let table = [
        ("", "begins with `$`"),
        ("a.b", "begins with `$`"),
        ("$.", "at column"),
        ("$.a b", "in quotes"),
        ("$.a  b", "in quotes"),
        ("$[?@.a == ]", "at column"),
        (&*long, "longer than"),
        (&*brackets, "nested"),
        (&*functions, "nested"),
        (&*lists, "over and over"),
        ("$..a..b..c", "over and over"),
        ("$[?match(@.a, 'x.*')]", "`match()` is not supported"),
        ("$.a[?@.b && (search(@.c, 'x'))]", "`search()` is not supported"),
        ("$[?in(@.a, 'x')]", "there is no function `in()`"),
        ("$[?$..a == 1]", "JSONPath"),
        ("$[?$..a]", "may only name one place"),
        (
            "$[?@.a == 18446744073709551616]",
            "at column 11: a whole number in a path",
        ),
        ("$[?-9007199254740992 < @.a]", "in the map form"),
        ("$[?1e400 > @.a]", "64 bits"),
    ];
    for (path, expected) in table {
        let message = JsonPath::new(path).expect_err(path).message;
        assert!(message.contains(expected), "{path}: {message}");
        assert!(!message.contains('\n') && message.len() < 500, "{message}");
    }
    for path in [
        "$",
        "$.a['b'][3]",
        "$..a..b",
        "$[?count(@..x) > 1]",
        "$[?@.a == $.b.c]",
        "$['a b']",
        "$[?@.a == 'x y' && @.b]",
        "$[?@.a == 9007199254740991 || @.a == -9007199254740991]",
    ] {
        assert!(JsonPath::new(path).is_ok(), "{path}");
    }
}

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
        let shown = format!("{:.20} {filter:?}", item);
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
    for (path, expected) in table {
        let path = JsonPath::new(path).expect("a path");
        assert_eq!(path.first_text_of(json).as_deref(), expected, "{}", path.as_str());
    }
    assert_eq!(JsonPath::new("$.a").expect("a path").first_text_of(b"{"), None);
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
            let value = crate::value::read(data.as_bytes()).expect("valid JSON");
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
