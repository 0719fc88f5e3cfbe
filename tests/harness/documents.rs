//! The documents of a mesh, made short: the usual Knative YAML.

use std::fmt::Write as _;

/// A delivery policy that retries soon and for ever, and waits for an answer longer than any test takes.
/// Nothing is parked.
pub const STUBBORN: &str = "{retry: 2000000000, backoffDelay: PT0.05S, backoffMax: PT0.2S, timeout: PT10M}";

/// A Broker and Triggers in one namespace, as one multi-document file.
#[derive(Clone, Debug, Default)]
pub struct Documents(String);

/// A Trigger to be written.
#[derive(Clone, Debug)]
pub struct Trigger {
    name: String,
    subscriber: String,
    broker: String,
    /// Who vouches for the subscriber, in PEM.
    authorities: String,
    annotations: Vec<(String, String)>,
    /// Lines below `spec`, in YAML's flow style.
    spec: Vec<String>,
}

/// A destination in YAML's flow style: a URL, and who vouches for it.
pub fn vouched(uri: &str, pem: &str) -> String {
    let certificates = if pem.is_empty() {
        String::new()
    } else {
        format!(", CACerts: \"{}\"", pem.escape_default())
    };
    format!("{{uri: \"{uri}\"{certificates}}}")
}

// === impl Documents ===

impl Documents {
    /// Documents of this text.
    pub fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The Broker `shop/default` without a delivery of its own.
    pub fn broker() -> Self {
        Self::default().and_broker("default", "{}")
    }

    /// The Broker `shop/default` with this `spec.delivery` in flow style.
    pub fn broker_with(delivery: &str) -> Self {
        Self::default().and_broker("default", &format!("{{delivery: {delivery}}}"))
    }

    /// The Broker `shop/default` with an annotation for each name and value.
    pub fn broker_annotated(annotations: &[(&str, &str)]) -> Self {
        let annotations: Vec<_> = annotations
            .iter()
            .map(|(name, value)| format!("{name}: \"{value}\""))
            .collect();
        let metadata = format!(
            "{{name: default, namespace: shop, annotations: {{{}}}}}",
            annotations.join(", ")
        );
        Self::default().document("Broker", &metadata, "spec: {}")
    }

    /// And another Broker in `shop`, with this `spec` in flow style.
    #[must_use]
    pub fn and_broker(self, name: &str, spec: &str) -> Self {
        self.document(
            "Broker",
            &format!("{{name: {name}, namespace: shop}}"),
            &format!("spec: {spec}"),
        )
    }

    /// Adds all documents of another file.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// Adds a GitWebhookSource `shop/<name>` with this secret for GitHub's signatures, and a Broker of `shop`
    /// as its sink.
    #[must_use]
    pub fn github(mut self, name: &str, secret: &str, broker: &str) -> Self {
        // Writing to a string cannot fail.
        let _ = write!(
            self.0,
            "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: GitWebhookSource\n\
             metadata: {{name: {name}, namespace: shop}}\nspec:\n  forge: github\n  \
             secrets: [{{secretKeyRef: {{name: {name}, key: github}}}}]\n  \
             sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: {broker}}}}}\n\
             ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: shop}}\n\
             stringData: {{github: \"{secret}\"}}\n"
        );
        self
    }

    /// And any other document: its metadata in flow style, and what follows.
    #[must_use]
    pub fn document(mut self, kind: &str, metadata: &str, rest: &str) -> Self {
        // Writing to a string cannot fail.
        let _ = write!(
            self.0,
            "---\napiVersion: eventing.knative.dev/v1\nkind: {kind}\nmetadata: {metadata}\n{rest}\n"
        );
        self
    }

    /// And a Trigger.
    #[must_use]
    pub fn trigger(self, trigger: &Trigger) -> Self {
        let annotations: Vec<_> = trigger
            .annotations
            .iter()
            .map(|(name, value)| format!("{name}: \"{value}\""))
            .collect();
        let metadata = format!(
            "{{name: {}, namespace: shop, annotations: {{{}}}}}",
            trigger.name,
            annotations.join(", ")
        );
        let mut spec = vec![format!("broker: {}", trigger.broker)];
        spec.extend(trigger.spec.iter().cloned());
        spec.push(format!(
            "subscriber: {}",
            vouched(&trigger.subscriber, &trigger.authorities)
        ));
        self.document("Trigger", &metadata, &format!("spec:\n  {}", spec.join("\n  ")))
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.0
    }
}

// === impl Trigger ===

impl Trigger {
    /// A Trigger on `shop/default` for everything.
    pub fn new(name: &str, subscriber: &str) -> Self {
        let (name, subscriber) = (name.to_owned(), subscriber.to_owned());
        Self {
            name,
            subscriber,
            broker: "default".to_owned(),
            authorities: String::new(),
            annotations: Vec::new(),
            spec: Vec::new(),
        }
    }

    /// With these `CACerts` of its subscriber.
    #[must_use]
    pub fn authorities(mut self, pem: &str) -> Self {
        pem.clone_into(&mut self.authorities);
        self
    }

    /// On another Broker of `shop`.
    #[must_use]
    pub fn on(mut self, broker: &str) -> Self {
        broker.clone_into(&mut self.broker);
        self
    }

    /// With `filter.attributes` in flow style.
    #[must_use]
    pub fn attributes(self, attributes: &str) -> Self {
        self.spec(&format!("filter: {{attributes: {attributes}}}"))
    }

    /// With `filters` in flow style.
    #[must_use]
    pub fn filters(self, filters: &str) -> Self {
        self.spec(&format!("filters: {filters}"))
    }

    /// With `delivery` in flow style.
    #[must_use]
    pub fn delivery(self, delivery: &str) -> Self {
        self.spec(&format!("delivery: {delivery}"))
    }

    /// With an annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.push((name.to_owned(), value.to_owned()));
        self
    }

    fn spec(mut self, line: &str) -> Self {
        self.spec.push(line.to_owned());
        self
    }
}
