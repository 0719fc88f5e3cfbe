//! `load_for_cluster`: what a cluster makes of documents is said with the place of each fault, and who finds
//! it.

use millrace_crds::{Input, Loaded, load_for_cluster};

const HEAD: &str =
    "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default, namespace: shop}\n---\n";

fn judged(text: &str) -> Loaded {
    load_for_cluster(&[Input {
        file: "mesh.yaml".to_owned(),
        text: text.to_owned(),
        passed_over: None,
    }])
}

/// What is said about a Trigger `t` with this line as its `spec`, which is line 8 of the file.
fn of_trigger(spec: &str) -> Vec<String> {
    let text = format!(
        "{HEAD}apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t, namespace: shop}}\nspec: {spec}\n"
    );
    judged(&text).problems.iter().map(ToString::to_string).collect()
}

const SUBSCRIBER: &str = "broker: default, subscriber: {uri: 'http://a/'}";

#[test]
fn a_fault_that_both_find_is_told_once_in_the_words_of_check() {
    assert_eq!(
        of_trigger(&format!("{{{SUBSCRIBER}, delivery: {{retry: -1}}}}")),
        ["mesh.yaml:8:75: spec.delivery.retry: -1 is not between 0 and 2147483647 (out-of-range)"]
    );
}

#[test]
fn a_fault_that_only_the_controller_finds_says_that_it_is_stored() {
    assert_eq!(
        of_trigger(&format!("{{{SUBSCRIBER}, filters: [{{cesql: 'type ='}}]}}")),
        [
            "mesh.yaml:8:75: spec.filters[0].cesql: at column 7: a value is expected here, not the end; the API server \
             takes it, and then it is not Ready (bad-filter)"
        ]
    );
}

#[test]
fn a_fault_that_only_the_api_server_finds_says_so() {
    let many = vec!["{exact: {type: a}}"; 65].join(", ");
    assert_eq!(
        of_trigger(&format!("{{{SUBSCRIBER}, filters: [{many}]}}")),
        [
            "mesh.yaml:8:66: spec.filters: the API server refuses it: Too many: must have at most 64 items \
             (refused-by-api)"
        ]
    );
}

#[test]
fn a_field_that_the_api_server_drops_is_told_as_such() {
    let text =
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\nspec: {delivry: {}}\n";
    let said: Vec<String> = judged(text).problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "mesh.yaml:4:8: spec.delivry: there is no such field; did you mean `delivery`?; kubectl refuses it, and for \
             other clients the API server drops it (unknown-field)"
        ]
    );
}

#[test]
fn what_may_be_in_the_cluster_is_not_said_to_be_missing() {
    let text = format!(
        "{HEAD}apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t, namespace: shop}}\n\
         spec: {{broker: default, subscriber: {{ref: {{apiVersion: v1, kind: Service, name: s}}}}}}\n---\n\
         apiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\nmetadata: {{name: g, namespace: shop}}\n\
         spec: {{forge: github, secrets: [{{secretKeyRef: {{name: s, key: k}}}}], sink: {{uri: 'http://a/'}}}}\n"
    );
    let Loaded {
        problems,
        remarks,
        mesh,
        ..
    } = judged(&text);
    assert!(
        problems.is_empty() && remarks.is_empty(),
        "{problems:?} {remarks:?}"
    );
    let mesh = mesh.expect("a mesh");
    assert_eq!((mesh.triggers.len(), mesh.sources.len()), (1, 1));
}

#[test]
fn a_broker_of_another_class_is_left_to_its_owner() {
    let class = "eventing.knative.dev/broker.class";
    let text = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, annotations: {{{class}: Kafka}}}}\n"
    );
    let said: Vec<String> = judged(&text).remarks.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].ends_with("in a cluster Millrace leaves it to its owner"),
        "{said:?}"
    );
}

#[test]
fn thousands_of_documents_are_judged_alike() {
    // Schemas and patterns are made once; made for each document, this takes minutes.
    let one = |i: usize| {
        format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t{i}, namespace: shop}}\n\
             spec: {{{SUBSCRIBER}, filters: [{{exact: {{Type: a}}}}]}}\n---\n"
        )
    };
    let text: String = (0..900).map(one).collect();
    let loaded = judged(&text);
    assert_eq!(loaded.problems.len(), 900);
}

#[test]
fn filters_deeper_than_a_schema_are_judged_to_their_end() {
    let nested = |inner: &str, levels: usize| {
        let filter = format!("{}{inner}{}", "{not: ".repeat(levels), "}".repeat(levels));
        of_trigger(&format!("{{{SUBSCRIBER}, filters: [{filter}]}}"))
    };
    for levels in [0, 1, 2, 3, 20] {
        assert_eq!(nested("{exact: {type: a}}", levels), [""; 0], "{levels}");
        let said = nested("{exact: {Type: a}}", levels);
        assert_eq!(said.len(), 1, "{levels}: {said:?}");
        let is_stored = said[0].contains("the API server takes it");
        assert_eq!(
            is_stored,
            levels >= 2,
            "two levels are checked by the API server: {said:?}"
        );
    }
}

#[test]
fn where_a_broker_keeps_its_channel_is_judged_as_a_cluster_would() {
    let broker = |namespace: &str| {
        format!(
            "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, namespace: shop}}\n\
             spec: {{config: {{apiVersion: v1, kind: ConfigMap, name: c, namespace: {namespace}}}}}\n---\n"
        )
    };
    let config = |data: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c, namespace: shop}}\ndata: {data}\n")
    };
    let elsewhere = judged(&broker("knative-eventing"));
    assert_eq!(
        elsewhere
            .remarks
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "mesh.yaml:4:16: spec.config: the ConfigMap knative-eventing/c is in another namespace: it is not read, and the \
             channel is on the local disk"
        ]
    );
    // It may be in the cluster.
    let alone = judged(&broker("shop"));
    assert!(alone.remarks.is_empty() && alone.problems.is_empty(), "{alone:?}");
    let right = config("{backend: jetstream, servers: 'nats://a:4222'}");
    let right = judged(&format!("{}{right}", broker("shop")));
    assert!(right.problems.is_empty(), "{right:?}");
    let mesh = right.mesh.expect("valid");
    assert!(
        mesh.brokers
            .values()
            .all(|broker| broker.backend.as_str() == "jetstream")
    );
    let wrong = judged(&format!("{}{}", broker("shop"), config("{backend: nats}")));
    assert_eq!(wrong.problems.len(), 1, "{wrong:?}");
    assert_eq!(wrong.problems[0].path, "data.backend");
}
