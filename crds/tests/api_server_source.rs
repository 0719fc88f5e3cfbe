//! What the documents of ApiServerSources become, and how their faults are told.

use millrace_crds::{Loaded, load_text};
use millrace_model::SourceSpec;
use millrace_model::source::ApiServer;
use millrace_model::source::api_server::{Namespaces, ObjectKind, ObjectMode, WatchedKind};

/// The fields of the `spec` are in line 4.
fn document(spec: &str) -> String {
    format!(
        "apiVersion: sources.millrace.dev/v1alpha1\nkind: ApiServerSource\nmetadata: {{name: pods, namespace: shop}}\n\
         spec: {{sink: {{uri: \"http://127.0.0.1:9001/\"}}, {spec}}}\n"
    )
}

fn read(spec: &str) -> ApiServer {
    let Loaded { mesh, problems, .. } = load_text(&document(spec));
    let mesh = mesh.unwrap_or_else(|| panic!("{problems:#?}"));
    let source = mesh.sources.values().next().expect("a source");
    match &source.spec {
        SourceSpec::ApiServer(spec) => spec.as_ref().clone(),
        other => panic!("{other:?}"),
    }
}

fn problems(spec: &str) -> Vec<String> {
    let Loaded { problems, .. } = load_text(&document(spec));
    problems.iter().map(ToString::to_string).collect()
}

fn kind(api_version: &str, kind: &str) -> ObjectKind {
    ObjectKind {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    }
}

#[test]
fn a_short_document_watches_its_own_namespace_by_reference() {
    let spec = read("resources: [{apiVersion: v1, kind: ConfigMap}]");
    let expected = WatchedKind {
        object: kind("v1", "ConfigMap"),
        selector: String::new(),
    };
    assert_eq!(spec.resources, [expected]);
    assert_eq!(
        (spec.mode, spec.namespaces, spec.owner, spec.initial_list),
        (ObjectMode::Reference, Namespaces::Own, None, false)
    );
    assert!(spec.kubeconfig.is_none() && spec.filters.is_empty());
}

#[test]
fn every_field_is_read() {
    let spec = read(
        "kubeconfig: ./kubeconfig, mode: Resource, initialList: true, owner: {apiVersion: apps/v1, kind: ReplicaSet},
         namespaceSelector: {matchLabels: {env: prod}},
         resources: [{apiVersion: example.com/v1beta1, kind: Wheel, selector: {matchLabels: {\"app.kubernetes.io/name\": mill, empty: \"\"},
           matchExpressions: [{key: a, operator: In, values: [b, c]}, {key: d, operator: NotIn, values: [e]},
             {key: f, operator: Exists}, {key: g, operator: DoesNotExist}]}}],
         filters: [{exact: {type: dev.knative.apiserver.resource.add}}]",
    );
    let kubeconfig = spec.kubeconfig.as_ref().map(|file| file.path.as_path());
    assert_eq!(kubeconfig, Some("./kubeconfig".as_ref()));
    assert_eq!((spec.mode, spec.initial_list), (ObjectMode::Resource, true));
    assert_eq!(spec.owner, Some(kind("apps/v1", "ReplicaSet")));
    assert_eq!(spec.namespaces, Namespaces::Matching("env=prod".to_owned()));
    let selector = "app.kubernetes.io/name=mill,empty=,a in (b,c),d notin (e),f,!g";
    let expected = WatchedKind {
        object: kind("example.com/v1beta1", "Wheel"),
        selector: selector.to_owned(),
    };
    assert_eq!(spec.resources, [expected]);
    assert_eq!(spec.filters.len(), 1);
}

#[test]
fn an_empty_selector_of_namespaces_selects_all() {
    let spec = read("resources: [{apiVersion: v1, kind: ConfigMap}], namespaceSelector: {}");
    assert_eq!(spec.namespaces, Namespaces::All);
}

#[test]
fn faults_are_told_with_their_field() {
    for (spec, expected) in [
        (
            "mode: Ref",
            "-:4:53: spec.mode: the modes are Reference and Resource (unknown-value)",
        ),
        (
            "mode: Refrence",
            "spec.mode: there is no such mode; did you mean `Reference`? (unknown-value)",
        ),
        (
            "mode: Resource",
            "spec.resources: this field is required (missing-field)",
        ),
        (
            "resources: []",
            "spec.resources: a source watches from 1 to 100 kinds (out-of-range)",
        ),
        (
            "resources: [{apiVersion: v1}]",
            "spec.resources[0].kind: this field is required (missing-field)",
        ),
        (
            "resources: [{apiVersion: V1, kind: ConfigMap}]",
            "spec.resources[0].apiVersion: `V1` is not as `v1` or `apps/v1` (bad-reference)",
        ),
        (
            "resources: [{apiVersion: v1, kind: config-map}]",
            "spec.resources[0].kind: `config-map` is not a kind, as `ConfigMap` is one (bad-reference)",
        ),
        (
            "resources: [{apiVersion: v1, kind: ConfigMap, selector: {matchLabels: {a: \"b,c\"}}}]",
            "spec.resources[0].selector.matchLabels.a: the value of a label has up to 63",
        ),
        (
            "resources: [{apiVersion: v1, kind: ConfigMap, selector: {matchExpressions: [{key: a, operator: In}]}}]",
            "matchExpressions[0].operator: In needs from 1 to 100 `values` (bad-selector)",
        ),
        (
            "resources: [{apiVersion: v1, kind: ConfigMap, selector: {matchExpressions: [{key: a, operator: Gt, values: [b]}]}}]",
            "the operators are In, NotIn, Exists and DoesNotExist (bad-selector)",
        ),
        (
            "resources: [{apiVersion: v1, kind: ConfigMap}], initialList: yes",
            "spec.initialList: true or false is expected, but this is a boolean (wrong-type)",
        ),
        (
            "resources: [{apiVersion: v1, kind: ConfigMap}], filters: [{exakt: {type: a}}]",
            "spec.filters[0].exakt: there is no such filter dialect; did you mean `exact`? (unknown-dialect)",
        ),
    ] {
        let problems = problems(spec);
        assert!(
            problems.iter().any(|problem| problem.contains(expected)),
            "{spec}: {problems:#?}"
        );
    }
}

#[test]
fn a_service_account_is_remarked_on() {
    let text = document("resources: [{apiVersion: v1, kind: ConfigMap}], serviceAccountName: watcher");
    let Loaded { mesh, remarks, .. } = load_text(&text);
    assert!(mesh.is_some());
    assert!(
        remarks
            .iter()
            .any(|remark| remark.to_string().contains("it is not used")),
        "{remarks:?}"
    );
}
