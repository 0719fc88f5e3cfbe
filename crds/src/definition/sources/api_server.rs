//! ApiServerSource. It has the rights of a service account of its namespace, and so no kubeconfig.

use serde_json::json;

use super::{SINK_URI, bound, source};
use crate::definition::Definition;
use crate::definition::parts::{NAME, filters};
use crate::definition::schema::{Schema, needed, optional};
use crate::document::source::api_server::{MAX_RESOURCES, MODES};
use crate::document::source::selector::{MAX_REQUIREMENTS, MAX_VALUES};

/// `ApiServerSource`.
pub(super) fn definition() -> Definition {
    let version = || {
        needed(
            "apiVersion",
            Schema::string("The group and version, such as v1 or apps/v1.", NAME),
        )
    };
    let kind = || needed("kind", Schema::string("The kind, such as ConfigMap.", 63));
    let watched = vec![
        version(),
        kind(),
        optional(
            "selector",
            selector("Which objects, by their labels. The default are all."),
        ),
    ];
    let watched = Schema::object("A kind of objects.", watched);
    let account = "The service account of this namespace whose rights the source has. It must be able to get, list \
                   and watch the resources.";
    let mode = "What the data of events is: the object, or a reference to it. The default is Reference.";
    let namespaces =
        "The namespaces that are watched, by their labels; {} are all. The default is that of the source.";
    let owner = "Only objects whose controller is of this kind.";
    let initial = "Whether objects that are there already are reported as added. The default is false.";
    let fields = vec![
        needed(
            "resources",
            Schema::list("The kinds that are watched.", watched, 1, bound(MAX_RESOURCES)),
        ),
        optional(
            "serviceAccountName",
            Schema::string(account, NAME).or_else(json!("default")),
        ),
        optional("mode", Schema::word(mode, MODES.to_vec())),
        optional("namespaceSelector", selector(namespaces)),
        optional("owner", Schema::object(owner, vec![version(), kind()])),
        optional(
            "filters",
            filters("Which events are wanted: every filter must hold. Without filters all are."),
        ),
        optional("initialList", Schema::truth(initial)),
    ];
    source(
        "ApiServerSource",
        "An ApiServerSource makes an event of each change of objects of Kubernetes.",
        &[SINK_URI],
        fields,
        Vec::new(),
    )
}

/// A selector of labels.
fn selector(says: &str) -> Schema {
    let values = Schema::string("A value.", 63);
    let operator = "How the label relates to the values.";
    let expression = vec![
        needed(
            "key",
            Schema::string("The label, after its domain and `/` if it has one.", NAME + 64),
        ),
        needed(
            "operator",
            Schema::word(operator, vec!["In", "NotIn", "Exists", "DoesNotExist"]),
        ),
        optional(
            "values",
            Schema::list(
                "The values, for In and NotIn.",
                values.clone(),
                0,
                bound(MAX_VALUES),
            ),
        ),
    ];
    let expression = Schema::object("A requirement.", expression);
    let fields = vec![
        optional(
            "matchLabels",
            Schema::map("Labels that must be equal.", values, bound(MAX_REQUIREMENTS)),
        ),
        optional(
            "matchExpressions",
            Schema::list(
                "Requirements that must all hold.",
                expression,
                0,
                bound(MAX_REQUIREMENTS),
            ),
        ),
    ];
    Schema::object(says, fields)
}
