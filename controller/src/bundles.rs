//! Trust bundles: ConfigMaps of Millrace's own namespace with a label that Knative has given them. Their
//! certificates vouch for every https target.
//!
//! As in Knative, entries of any name count, and in them each valid certificate. The rest is passed over, and
//! the log says so.
//!
//! Those of Knative's own namespace do not count beside it: who may write there would vouch for our targets,
//! and what we trust would go with Knative.

use std::collections::BTreeMap;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use millrace_crds::certificates::{Sorted, sort};
use millrace_model::{Authorities, ObjectName};
use serde_json::Value;

use crate::objects::{Standing, name_of};
use crate::watch::News;

/// The label of trust bundles, as a selector.
pub(crate) const LABEL: &str = "networking.knative.dev/trust-bundle=true";
/// The longest text that all of them make, in octets. What is beyond is passed over.
const LONGEST: usize = 4 << 20;

/// The trust bundles.
#[derive(Debug, Default)]
pub(crate) struct Bundles {
    standing: Standing,
    found: BTreeMap<ObjectName, String>,
    /// What was known when the last run ended, until they are listed.
    remembered: Option<Authorities>,
}

/// How ConfigMaps are reached.
pub(crate) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "ConfigMap"), "configmaps")
}

// === impl Bundles ===

impl Bundles {
    /// Those that the last run knew.
    pub(crate) fn remembered(remembered: Option<Authorities>) -> Self {
        Self {
            remembered,
            ..Self::default()
        }
    }

    /// Takes in what the watch says.
    pub(crate) fn see(&mut self, news: News) {
        match news {
            News::Listed(objects) => {
                self.standing = Standing::Complete;
                self.remembered = None;
                self.found = objects.iter().filter_map(read).collect();
            }
            News::Applied(object) => self.found.extend(read(&object)),
            News::Deleted(object) => {
                if let Some(name) = name_of(&object) {
                    self.found.remove(&name);
                }
            }
            News::Failed(trouble) => self.standing.fail(trouble),
            News::Reviewed(_) => {}
        }
    }

    /// Whether it is known which there are, or that this cannot be known.
    pub(crate) fn is_answered(&self) -> bool {
        self.standing != Standing::Pending
    }

    /// All certificates.
    pub(crate) fn authorities(&self) -> Option<Authorities> {
        if self.standing != Standing::Complete {
            return self.remembered.clone();
        }
        let mut all = String::new();
        for certificates in self.found.values() {
            if all.len() + certificates.len() <= LONGEST {
                all.push_str(certificates);
            }
        }
        (!all.is_empty()).then(|| Authorities::new(all))
    }
}

/// The certificates of one bundle.
fn read(bundle: &DynamicObject) -> Option<(ObjectName, String)> {
    let name = name_of(bundle)?;
    let mut all = String::new();
    let entries = bundle.data.get("data").and_then(Value::as_object);
    for (key, text) in entries.into_iter().flatten() {
        let Sorted { certificates, others } = sort(text.as_str().unwrap_or_default());
        if others > 0 {
            tracing::warn!(
                bundle = %name, key, others,
                "a trust bundle has parts that are no certificates; they are passed over"
            );
        }
        all.push_str(&certificates);
    }
    if all.len() > LONGEST {
        tracing::warn!(bundle = %name, most = LONGEST, "a trust bundle is too long; it is passed over");
    }
    Some((name, all))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::watch::Trouble;

    const CERTIFICATE: &str = include_str!("../../crds/tests/data/authority.pem");

    fn bundle(name: &str, data: &Value) -> DynamicObject {
        let bundle = json!({"metadata": {"namespace": "mill", "name": name}, "data": data});
        serde_json::from_value(bundle).expect("an object")
    }

    fn count(bundles: &Bundles) -> usize {
        let all = bundles.authorities();
        all.map_or(0, |all| all.pem().matches("BEGIN CERTIFICATE").count())
    }

    #[test]
    fn every_certificate_of_every_entry_counts_and_what_is_none_does_not() {
        let mut bundles = Bundles::default();
        let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let a = bundle(
            "a",
            &json!({"ca.crt": CERTIFICATE, "other": format!("{CERTIFICATE}{broken}")}),
        );
        let b = bundle("b", &json!({"note": "none"}));
        bundles.see(News::Listed(vec![a, b]));
        assert_eq!(count(&bundles), 2);
        bundles.see(News::Applied(Box::new(bundle("b", &json!({"x": CERTIFICATE})))));
        assert_eq!(count(&bundles), 3);
        bundles.see(News::Deleted(Box::new(bundle("a", &json!({})))));
        assert_eq!(count(&bundles), 1);
        bundles.see(News::Listed(Vec::new()));
        assert_eq!(bundles.authorities(), None);
    }

    #[test]
    fn what_the_last_run_knew_counts_until_they_are_listed() {
        let mut bundles = Bundles::remembered(Some(Authorities::new(CERTIFICATE)));
        assert!(!bundles.is_answered());
        assert_eq!(count(&bundles), 1);
        bundles.see(News::Failed(Trouble::Forbidden));
        assert!(bundles.is_answered());
        assert_eq!(count(&bundles), 1);
        bundles.see(News::Listed(Vec::new()));
        assert_eq!(count(&bundles), 0);
        // A watch that fails later changes nothing.
        bundles.see(News::Failed(Trouble::Forbidden));
        assert!(bundles.is_answered());
    }
}
