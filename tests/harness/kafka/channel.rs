//! A Broker whose channel is on the broker.

use super::Kafka;
use crate::documents::Documents;

// === impl Kafka ===

impl Kafka {
    /// The ConfigMap `shop/on-kafka` for it, and the Broker `shop/default` that names it, with this
    /// `spec.delivery` in flow style. `more` are further lines of the ConfigMap's data.
    pub fn broker(&self, delivery: &str, more: &[&str]) -> Documents {
        Self::broker_at(&self.bootstrap(), delivery, more)
    }

    /// The same at this address.
    pub fn broker_at(servers: &str, delivery: &str, more: &[&str]) -> Documents {
        let mut data = vec!["backend: kafka".to_owned(), format!("servers: \"{servers}\"")];
        data.extend(more.iter().map(ToString::to_string));
        let config = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: on-kafka, namespace: shop}}\ndata:\n  {}\n",
            data.join("\n  ")
        );
        let config = Documents::of(&config);
        let named = "{apiVersion: v1, kind: ConfigMap, name: on-kafka}";
        config.and_broker("default", &format!("{{config: {named}, delivery: {delivery}}}"))
    }
}
