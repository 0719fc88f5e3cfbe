//! ApiServerSource. It has the rights of a service account of its namespace, and so no kubeconfig.

use serde_json::json;

use super::{SINK_URI, bound, source};
use crate::definition::Definition;
use crate::definition::parts::{NAME, filters, selector};
use crate::definition::schema::{Schema, needed, optional};
use crate::document::source::api_server::{MAX_RESOURCES, MODES};

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
            selector("Which objects, by their labels. The default are all.", Vec::new()),
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
        optional("namespaceSelector", selector(namespaces, Vec::new())),
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
