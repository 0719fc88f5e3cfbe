//! No text is too large, too odd or too broken for the loader.

use std::time::Instant;

use millrace_crds::{Code, Loaded, load_text};
use proptest::prelude::*;

use crate::{SHOP, mesh, shown};

#[test]
fn a_file_of_nothing_but_faults_does_not_flood() {
    let text =
        "{apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: B}}\n---\n".repeat(5_000);
    let loaded = load_text(&text);
    assert_eq!(loaded.problems.len(), 1_001);
    assert_eq!(
        loaded.problems.last().map(|last| last.code),
        Some(Code::TooManyProblems)
    );
}

#[test]
fn faults_of_others_do_not_hide_those_of_ours() {
    let broker = "apiVersion: eventing.knative.dev/v1, kind: Broker, metadata: {name: b}";
    let pods = |many: usize| "- {apiVersion: v1, kind: Pod, a: !x b}\n".repeat(many);
    let list = |many: usize, last: &str| {
        format!(
            "apiVersion: v1\nkind: List\nitems:\n{}- {{{broker}{last}}}\n",
            pods(many)
        )
    };
    // What of the others is counted goes as far as the bound, and then somebody has to look.
    for (text, code) in [
        (list(999, ""), None),
        (list(999, ", kind: Broker"), Some(Code::DuplicateKey)),
        (list(1_000, ", kind: Broker"), Some(Code::TooManyProblems)),
        (list(5_000, ", kind: Broker"), Some(Code::TooManyProblems)),
        (
            format!(
                "{{{broker}}}\n---\napiVersion: v1\nkind: Pod\nspec:\n{}",
                pods(5_000)
            ),
            None,
        ),
        (
            format!("apiVersion: v1\nkind: Pod\nspec:\n{}kind: Broker\n", pods(5_000)),
            Some(Code::TooManyProblems),
        ),
    ] {
        let Loaded { mesh, problems, .. } = load_text(&text);
        let last = problems.last().map(|last| last.code);
        assert_eq!(
            (last, mesh.is_some()),
            (code, code.is_none()),
            "{:?}",
            shown(&problems).last()
        );
    }
}

#[test]
fn more_documents_than_the_bound_are_refused() {
    let text = "{apiVersion: v1, kind: ConfigMap}\n---\n".repeat(100_001);
    let loaded = load_text(&text);
    assert_eq!(
        loaded.problems.iter().map(|p| p.code).collect::<Vec<_>>(),
        [Code::TooManyDocuments]
    );
}

#[test]
fn ten_thousand_triggers_load() {
    let mut text = SHOP.to_owned();
    for i in 0..10_000 {
        text.push_str(&format!(
            "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: t{i}\n  namespace: shop\nspec:\n  broker: default\n  filters:\n  - exact:\n      type: t{i}\n  subscriber:\n    uri: http://127.0.0.1:9001/{i}\n"
        ));
    }
    let start = Instant::now();
    let mesh = mesh(&text);
    assert_eq!(mesh.triggers.len(), 10_001);
    println!("10 001 triggers, {} KiB: {:?}", text.len() >> 10, start.elapsed());
}

fn lines() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "apiVersion: eventing.knative.dev/v1",
        "kind: Trigger",
        "kind: Broker",
        "metadata:",
        "  name: t",
        "spec:",
        "  broker: b",
        "  filters:",
        "  - exact:",
        "      type: a",
        "  - not: {any: [*x]}",
        "  subscriber: &x {uri: http://a/}",
        "---",
        "- ",
        "? ",
        "{",
        "}",
        "[",
        "\t",
        "|",
        "  >-",
        "*x",
        "&x",
        "!!str 5",
        "delivery: {retry: 1e99, timeout: PT9S}",
        "\u{feff}",
        "%YAML 1.2",
        "...",
        "'",
        "\"",
        "<<: *x",
        "é: \u{0}",
    ]);
    prop::collection::vec(words, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,300}") {
        let _ = load_text(&text);
    }

    #[test]
    fn no_heap_of_yaml_makes_the_loader_panic(text in lines()) {
        let loaded = load_text(&text);
        prop_assert_eq!(loaded.mesh.is_some(), loaded.problems.is_empty());
    }

    #[test]
    fn no_damage_to_a_valid_text_makes_the_loader_panic(at in 0..SHOP.len(), with in "\\PC{0,4}", cut in 0_usize..30) {
        let mut text = SHOP.to_owned();
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &with);
        let loaded = load_text(&text);
        prop_assert_eq!(loaded.mesh.is_some(), loaded.problems.is_empty());
    }
}
