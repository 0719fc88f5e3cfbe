//! The table of cases: what the API server and the controller make of each object. The suite
//! `custom_resources` asks a real API server the same.

use serde_json::{Value, json};

use super::{Verdict, judge};
use crate::definition::definitions;
use crate::definition::schema::{Holds, Schema};
use crate::document::Document;
use crate::report::{Origin, Report};
use crate::tree;
use crate::{Input, load_for_cluster};

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../tests/data/cases.json")).expect("a list of cases")
}

fn api_version(kind: &str) -> String {
    let all = definitions();
    let found = all.iter().find(|definition| definition.kind == kind);
    found.unwrap_or_else(|| panic!("{kind}")).api_version()
}

/// The object of a case, or the one that it replaces.
fn object(case: &Value, spec: &str, annotations: &str) -> Value {
    let kind = case["kind"].as_str().expect("a kind");
    let mut object = json!({
        "apiVersion": api_version(kind), "kind": kind, "metadata": {"name": "case", "namespace": "shop"},
    });
    if let Some(spec) = case.get(spec) {
        object["spec"] = spec.clone();
    }
    if let Some(annotations) = case.get(annotations) {
        object["metadata"]["annotations"] = annotations.clone();
    }
    object
}

fn verdict(case: &Value) -> Verdict {
    let after = tree::tree(&object(case, "spec", "annotations")).expect("a tree");
    let before = case.get("before").map(|_| {
        let before = object(case, "before", "beforeAnnotations");
        tree::tree(&before).expect("a tree")
    });
    judge(&after, before.as_ref()).expect("a kind of ours")
}

#[test]
fn the_judge_says_what_the_table_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let Verdict { refusals, stored, .. } = verdict(&case);
        let said: Vec<String> = refusals
            .iter()
            .map(|refusal| format!("{}: {}", refusal.path, refusal.message))
            .collect();
        let is_right = match case["api"].as_str() {
            None => said.is_empty(),
            Some(text) => said.iter().any(|said| said.contains(text)),
        };
        if !is_right {
            wrong.push(format!(
                "{}: the API server: {} and not {said:?}",
                case["name"], case["api"]
            ));
        }
        let read = Document::read(&stored, "", Report::new(Origin::Cluster, None));
        let is_right = match case["controller"].as_str() {
            None => read.is_valid(),
            Some(code) => read.problems.iter().any(|problem| problem.code.as_str() == code),
        };
        if !is_right {
            let controller = &case["controller"];
            wrong.push(format!(
                "{}: the controller: {controller} and not {:?}",
                case["name"], read.problems
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn check_refuses_what_either_of_them_refuses() {
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case.get("before").is_none()) {
        let Verdict { dropped, .. } = verdict(case);
        let text = object(case, "spec", "annotations").to_string();
        let file = "mesh.yaml".to_owned();
        let loaded = load_for_cluster(&[Input {
            file,
            text,
            passed_over: None,
        }]);
        let is_refused = !case["api"].is_null() || !case["controller"].is_null() || !dropped.is_empty();
        if loaded.problems.is_empty() == is_refused {
            wrong.push(format!("{}: {:?}", case["name"], loaded.problems));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_is_large_and_its_cases_have_names() {
    let cases = cases();
    assert!(cases.len() >= 200, "{}", cases.len());
    let names: std::collections::BTreeSet<&str> =
        cases.iter().filter_map(|case| case["name"].as_str()).collect();
    assert_eq!(names.len(), cases.len());
    for kind in definitions().iter().map(|definition| definition.kind) {
        let of_kind = || cases.iter().filter(|case| case["kind"] == kind);
        assert!(of_kind().any(|case| case["api"].is_null()), "{kind}");
        assert!(of_kind().any(|case| case["api"].is_string()), "{kind}");
    }
}

/// Fields that only files have. `group` is a field of Knative's code that its schemas lack too.
const ONLY_IN_FILES: [&str; 4] = ["env", "file", "kubeconfig", "group"];

/// The names of the fields of each object below a schema, by the way that leads there.
fn objects(schema: &Schema, way: &mut Vec<&'static str>, out: &mut Vec<(Vec<&'static str>, Vec<String>)>) {
    match &schema.holds {
        Holds::List(below, ..) | Holds::Map(below, _) => {
            way.push(if matches!(schema.holds, Holds::List(..)) {
                "[]"
            } else {
                "{}"
            });
            objects(below, way, out);
            way.pop();
        }
        // An object without fields is one whose fields the schema does not know.
        Holds::Object { fields, .. } if !fields.is_empty() => {
            let mut names: Vec<String> = fields.iter().map(|field| field.name.to_owned()).collect();
            names.sort();
            out.push((way.clone(), names));
            for field in fields {
                way.push(field.name);
                objects(&field.schema, way, out);
                way.pop();
            }
        }
        _ => {}
    }
}

/// The fields that the reader knows at that place: it lists them when it is given another one.
fn known_to_the_reader(kind: &str, way: &[&str]) -> Vec<String> {
    let mut spec = way
        .iter()
        .rev()
        .fold(json!({"qqqqqqqqqqqq": {}}), |inner, name| match *name {
            "[]" => json!([inner]),
            "{}" => json!({"key": inner}),
            name => json!({ name: inner }),
        });
    if let Some(login) = spec.pointer_mut("/net/sasl") {
        // Nothing is read of a login that is not used.
        login["enable"] = json!(true);
    }
    let object = json!({
        "apiVersion": api_version(kind), "kind": kind, "metadata": {"name": "case", "namespace": "shop"}, "spec": spec,
    });
    let read = Document::of_object(&object);
    let said = read
        .problems
        .iter()
        .find(|problem| problem.path.ends_with("qqqqqqqqqqqq"));
    let said = said.unwrap_or_else(|| panic!("{kind} {way:?}: {:?}", read.problems));
    let (_, names) = said
        .message
        .split_once("there are ")
        .unwrap_or_else(|| panic!("{}", said.message));
    let names = names.split(", ").filter(|name| !ONLY_IN_FILES.contains(name));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_schema_has_the_fields_that_the_reader_knows() {
    let definitions = definitions();
    for definition in &definitions {
        let mut found = Vec::new();
        objects(&definition.spec, &mut Vec::new(), &mut found);
        assert!(found.len() > 2, "{}", definition.kind);
        // What Brokers of other classes are configured by is passed over.
        for (way, mut names) in found.into_iter().filter(|(way, _)| *way != ["config"]) {
            if definition.kind == "KafkaSource" && way == ["delivery"] {
                // It is read to be refused with a reason; as an unknown field it is stored, and so is
                // refused.
                names.insert(0, "deadLetterSink".to_owned());
                names.sort();
            }
            let kind = definition.kind;
            assert_eq!(known_to_the_reader(kind, &way), names, "{kind} {way:?}");
        }
    }
}
