//! The manifests that are committed are those that the code makes, and are made as Kubernetes wants them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use millrace_crds::{manifests, reference};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("definitions")
}

#[test]
fn what_is_committed_is_what_the_code_makes() {
    let mut known = BTreeSet::new();
    for manifest in manifests() {
        let file = folder().join(&manifest.path);
        let committed = fs::read_to_string(&file).unwrap_or_default();
        let is_same = committed == manifest.yaml();
        assert!(
            is_same,
            "{} is not what the code makes: run `cargo run -- crds --into crds/definitions`",
            file.display()
        );
        known.insert(file);
    }
    for folder in [folder(), folder().join("policies")] {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            assert!(
                path.is_dir() || known.contains(&path),
                "{} is of no kind",
                path.display()
            );
        }
    }
}

#[test]
fn the_reference_is_that_of_the_definitions() {
    let file = folder().join("../../docs/reference/custom-resources.md");
    let page = fs::read_to_string(&file).unwrap_or_default();
    let is_same = page == reference();
    assert!(
        is_same,
        "run `cargo run -- crds --reference > docs/reference/custom-resources.md`"
    );
}

/// Calls `look` with every schema below this one, and where it stands.
fn walk(schema: &Value, path: &str, look: &mut dyn FnMut(&str, &Value)) {
    look(path, schema);
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        walk(below, &format!("{path}.{name}"), look);
    }
    for name in ["items", "additionalProperties"] {
        if schema[name].is_object() {
            walk(&schema[name], &format!("{path}[]"), look);
        }
    }
}

#[test]
fn every_field_is_described_and_bounded() {
    for manifest in manifests().iter().filter(|manifest| manifest.is_kind()) {
        let schema = &manifest.objects[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut count = 0;
        walk(schema, &manifest.path, &mut |path, schema| {
            count += 1;
            let says = schema["description"].as_str().unwrap_or_default();
            assert!(says.ends_with('.') && !says.contains('\n'), "{path}: {says}");
            let bound = match schema["type"].as_str() {
                Some("string") if schema["enum"].is_array() => return,
                Some("string") => "maxLength",
                Some("array") => "maxItems",
                Some("object") if schema["additionalProperties"].is_object() => "maxProperties",
                Some("integer") => "minimum",
                _ => return,
            };
            assert!(schema[bound].is_u64(), "{path} has no {bound}");
        });
        assert!(count > 20, "{}: {count}", manifest.path);
    }
}

#[test]
fn no_controller_has_looked_at_a_new_object() {
    for manifest in manifests().iter().filter(|manifest| manifest.is_kind()) {
        let spec = &manifest.objects[0]["spec"];
        let version = &spec["versions"][0];
        assert_eq!(version["subresources"]["status"], serde_json::json!({}));
        let default = &version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"];
        let ready = &default["conditions"][0];
        let kind = spec["names"]["kind"].as_str().expect("a kind");
        assert_eq!(
            (&ready["type"], &ready["status"]),
            (&"Ready".into(), &"Unknown".into())
        );
        assert_eq!(
            ready["message"],
            format!("no controller has looked at this {kind} yet")
        );
    }
}

#[test]
fn kinds_have_the_labels_columns_and_names_that_other_tools_look_for() {
    let all = manifests();
    let of = |path: &str| {
        let manifest = all.iter().find(|manifest| manifest.path == path);
        manifest.unwrap_or_else(|| panic!("{path}")).objects[0].clone()
    };
    let columns = |object: &Value| -> Vec<String> {
        let columns = object["spec"]["versions"][0]["additionalPrinterColumns"].as_array();
        let name = |column: &Value| column["name"].as_str().unwrap_or_default().to_owned();
        columns.into_iter().flatten().map(name).collect()
    };
    let broker = of("brokers.yaml");
    assert_eq!(broker["metadata"]["name"], "brokers.eventing.knative.dev");
    assert_eq!(columns(&broker), ["URL", "Age", "Ready", "Reason", "Class"]);
    assert_eq!(
        broker["metadata"]["labels"]["duck.knative.dev/addressable"],
        "true"
    );
    let trigger = of("triggers.yaml");
    assert_eq!(
        columns(&trigger),
        ["Broker", "Subscriber_URI", "Age", "Ready", "Reason"]
    );
    let selectable = &trigger["spec"]["versions"][0]["selectableFields"];
    assert_eq!(selectable[0]["jsonPath"], ".spec.broker");
    for kind in ["GitWebhookSource", "CronSource", "KafkaSource", "ApiServerSource"] {
        let plural = format!("{}s", kind.to_lowercase());
        let source = of(&format!("{plural}.yaml"));
        assert_eq!(
            source["metadata"]["name"],
            format!("{plural}.sources.millrace.dev")
        );
        assert_eq!(source["metadata"]["labels"]["duck.knative.dev/source"], "true");
        assert_eq!(
            source["spec"]["names"]["plural"], plural,
            "`kn source list` makes it so"
        );
    }
    let sink = of("kafkasinks.yaml");
    let labels = &sink["metadata"]["labels"];
    assert_eq!(labels["duck.knative.dev/sink"], "true");
    // It has no address: nobody but Millrace itself sends there.
    assert!(labels["duck.knative.dev/addressable"].is_null(), "{labels}");
}

#[test]
fn no_resource_can_name_a_file_a_variable_or_a_kubeconfig() {
    for manifest in manifests().iter().filter(|manifest| manifest.is_kind()) {
        let schema = &manifest.objects[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        walk(schema, &manifest.path, &mut |path, _| {
            let name = path.rsplit('.').next().unwrap_or_default();
            assert!(!["env", "file", "kubeconfig"].contains(&name), "{path}");
        });
    }
}
