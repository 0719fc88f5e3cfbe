//! What a text becomes, and what it must not do.

use super::*;
use crate::problem::MAX_PROBLEMS;
use crate::tree::MAX_DEPTH;

fn first_fault(text: &str) -> Malformed {
    for document in Trees::new(text) {
        match document {
            Err(fault) => return fault,
            Ok(document) => {
                if let Some(fault) = document.faults.into_iter().next() {
                    return fault;
                }
            }
        }
    }
    panic!("no fault in {text:?}");
}

#[test]
fn every_part_knows_its_place() {
    let text = "# c\na:\n  b: [x, {c: y}]\n---\nd: 1\n";
    let documents: Vec<_> = Trees::new(text).map(|d| d.expect("valid").root).collect();
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[0].locate(".a.b[1].c"), Mark { line: 3, column: 14 });
    assert_eq!(documents[0].locate(".a.b[7].c"), Mark { line: 3, column: 6 });
    assert_eq!(documents[1].locate(".d"), Mark { line: 5, column: 4 });
}

#[test]
fn json_is_read_with_its_places_too() {
    let text = "{\n\t\"a\": \"x\\/y\",\n\t\"b\": [1, true, null, \"yes\"]}\n";
    let root = Trees::new(text).next().expect("one").expect("valid").root;
    assert_eq!(root.get("a").and_then(Node::text), Some("x/y"));
    assert_eq!(root.locate(".b[3]"), Mark { line: 3, column: 23 });
}

#[test]
fn what_a_text_must_not_do_is_refused_with_its_place() {
    let deep = format!("{}1", "a: {".repeat(MAX_DEPTH + 1));
    let deep_lists = format!("a:\n{}x", " -".repeat(MAX_DEPTH + 1));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        let use_it = vec![format!("*a{}", i - 1); 10].join(", ");
        laughs.push_str(&format!("a{i}: &a{i} [{use_it}]\n"));
    }
    let cases: &[(&str, Code, u32)] = &[
        ("a: 1\na: 2\n", Code::DuplicateKey, 2),
        ("a: {b: 1, \"b\": 2}\n", Code::DuplicateKey, 1),
        ("a: [1\nb: 2\n", Code::YamlSyntax, 2),
        ("a: b: c\n", Code::YamlSyntax, 1),
        ("a: *b\n", Code::YamlSyntax, 1),
        ("a: {{ .Values.x }}\n", Code::YamlTemplate, 1),
        ("{{- if .x }}\na: b\n", Code::YamlTemplate, 1),
        ("a: 1\n\u{feff}b: 1\n", Code::YamlSyntax, 2),
        ("{\u{feff}a: 1}\n", Code::YamlSyntax, 1),
        ("a: &b [*b]\n", Code::YamlUnsupported, 1),
        ("a: !thing x\n", Code::YamlUnsupported, 1),
        ("y:\n  <<: text\n", Code::YamlUnsupported, 2),
        ("y:\n  <<: [{a: b}, [c]]\n", Code::YamlUnsupported, 2),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n", Code::DuplicateKey, 4),
        ("? [a, b]\n: c\n", Code::YamlUnsupported, 1),
        (&deep, Code::YamlTooDeep, 1),
        (&deep_lists, Code::YamlTooDeep, 2),
        (&laughs, Code::YamlTooLarge, 6),
    ];
    for (text, code, line) in cases {
        let fault = first_fault(text);
        assert_eq!(
            (fault.code, fault.at.line),
            (*code, *line),
            "{text:.60}: {}",
            fault.message
        );
    }
}

#[test]
fn aliases_within_bounds_stand_for_their_anchor() {
    let root = Trees::new("a: &x {b: c}\nd: *x\n")
        .next()
        .expect("one")
        .expect("valid")
        .root;
    assert_eq!(
        root.get("d").and_then(|d| d.get("b")).and_then(Node::text),
        Some("c")
    );
}

#[test]
fn merge_keys_give_what_a_mapping_does_not_say_itself() {
    let text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 3}\nw: {\"<<\": 4}\n";
    let root = Trees::new(text).next().expect("one").expect("valid").root;
    let of = |name: &str| root.get("z").and_then(|z| z.get(name)).and_then(Node::text);
    assert_eq!(
        [of("a"), of("b"), of("c"), of("<<")],
        [Some("3"), Some("1"), Some("2"), None]
    );
    assert_eq!(
        root.get("w").and_then(|w| w.get("<<")).and_then(Node::text),
        Some("4"),
        "in quotes it is a key like any other"
    );
}

#[test]
fn an_empty_text_has_no_documents() {
    for text in ["", "\n", "# only a remark\n", "\u{feff}"] {
        assert_eq!(
            Trees::new(text)
                .filter(|d| !matches!(d, Ok(d) if d.root.is_null()))
                .count(),
            0,
            "{text:?}"
        );
    }
}

#[test]
fn the_first_fault_beyond_the_bound_is_noted() {
    for (many, cut) in [
        (MAX_PROBLEMS, None),
        (MAX_PROBLEMS + 2, Some(narrow(MAX_PROBLEMS + 1))),
    ] {
        let text = "- !x a\n".repeat(many);
        let document = Trees::new(&text).next().expect("one").expect("it is read on");
        assert_eq!(document.faults.len(), MAX_PROBLEMS);
        assert_eq!(document.cut.map(|at| at.line), cut, "{many}");
    }
}
