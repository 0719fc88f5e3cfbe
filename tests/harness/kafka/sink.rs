//! A KafkaSink as the suites set it up, and what Java's own client reads of a topic.

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Kafka, Record};
use crate::within;

/// A KafkaSink `shop/<name>` that writes to a topic; `more` are further fields of its `spec`.
pub fn sink(servers: &str, name: &str, topic: &str, more: &str) -> String {
    format!(
        "---\napiVersion: sinks.millrace.dev/v1alpha1\nkind: KafkaSink\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{bootstrapServers: [\"{servers}\"], topic: {topic}, {more}}}\n"
    )
}

/// The destination that refers to the KafkaSink of this name.
pub fn sink_ref(name: &str) -> String {
    format!("{{ref: {{apiVersion: sinks.millrace.dev/v1alpha1, kind: KafkaSink, name: {name}}}}}")
}

/// A Trigger `shop/<name>` on `shop/default` for everything, one attempt at a time, whose subscriber is the
/// KafkaSink of this name; `more` are further fields of its `spec`.
pub fn trigger_to(name: &str, sink: &str, more: &str) -> String {
    format!(
        "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\n\
         metadata: {{name: {name}, namespace: shop, annotations: {{millrace.dev/parallelism: \"1\"}}}}\n\
         spec: {{broker: default, subscriber: {}, {more}}}\n",
        sink_ref(sink)
    )
}

// === impl Kafka ===

impl Kafka {
    /// What Java's own client reads of a topic that has at least so many records, in order within each
    /// partition.
    ///
    /// # Errors
    /// When it cannot be run, or reads fewer before the deadline.
    pub async fn read_with_java(&self, topic: &str, count: usize) -> anyhow::Result<Vec<Record>> {
        const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/harness/kafka/Read.java");
        let mut java = self.java();
        java.args([PROGRAM, &self.bootstrap(), topic, &count.to_string()]);
        let output = tokio::task::spawn_blocking(move || java.output());
        let output = within("Java to read", output).await??;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "reading {topic}: {said}");
        let lines = String::from_utf8(output.stdout)?;
        lines.lines().map(record).collect()
    }
}

fn record(line: &str) -> anyhow::Result<Record> {
    let mut words = line.split(' ');
    let mut word = || words.next().context("a word is missing");
    let (partition, offset) = (word()?.parse()?, word()?.parse()?);
    let (key, value) = (octets(word()?)?, octets(word()?)?);
    let headers = words.map(|word| {
        let (name, value) = word.split_once('=').context("a header has a value")?;
        Ok((name.to_owned(), octets(value)?))
    });
    Ok(Record {
        partition: Some(partition),
        offset,
        timestamp: None,
        key,
        value,
        headers: headers.collect::<anyhow::Result<_>>()?,
    })
}

fn octets(word: &str) -> anyhow::Result<Option<Vec<u8>>> {
    Ok(match word {
        "-" => None,
        word => Some(BASE64_STANDARD.decode(word)?),
    })
}
