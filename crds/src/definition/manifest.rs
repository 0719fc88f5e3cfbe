//! The manifests: what `millrace crds` prints, what lies in `crds/definitions/`, and what the chart installs.

use serde_json::Value;

use super::{definitions, policy, yaml};

/// One file of manifests.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its path below the folder of all: `brokers.yaml`, `policies/validating.yaml`.
    pub path: String,
    /// What it is for, in a sentence.
    pub says: String,
    /// Its objects, in the order in which they are applied.
    pub objects: Vec<Value>,
}

/// All manifests: first the kinds, then the policies.
pub fn manifests() -> Vec<Manifest> {
    let kinds = definitions().into_iter().map(|definition| Manifest {
        path: format!("{}.yaml", definition.plural()),
        says: format!("The kind {} of {}.", definition.kind, definition.api_version()),
        objects: vec![definition.object()],
    });
    kinds.chain(policy::manifests()).collect()
}

// === impl Manifest ===

impl Manifest {
    /// Whether it defines a kind. The others are admission policies.
    pub fn is_kind(&self) -> bool {
        !self.path.contains('/')
    }

    /// The text of the file.
    pub fn yaml(&self) -> String {
        let objects: Vec<String> = self.objects.iter().map(yaml::document).collect();
        format!(
            "# {}\n# Generated: `cargo run -- crds --into crds/definitions` writes it anew.\n{}",
            self.says,
            objects.join("---\n")
        )
    }
}
