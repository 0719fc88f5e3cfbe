//! A KafkaSource as the suites set it up.

/// A KafkaSource `shop/<topic>` that reads the topic of this name from its beginning.
pub fn source(kafka: &str, topic: &str, sink: &str, more: &str) -> String {
    format!(
        "---\napiVersion: sources.millrace.dev/v1alpha1\nkind: KafkaSource\nmetadata: {{name: {topic}, namespace: shop}}\n\
         spec: {{bootstrapServers: [\"{kafka}\"], topics: [{topic}], initialOffset: earliest, sink: {sink}, {more}}}\n"
    )
}

/// The group of the source of this name.
pub fn group(source: &str) -> String {
    format!("millrace.shop.{source}")
}
