//! What suites about limits send, and how they read what is answered.

use anyhow::Context as _;
use http::Method;
use serde_json::Value;

use crate::access::{Access, ask, code};
use crate::event::Message;
use crate::{Answered, Client, Event, Mesh, wait_until};

/// Gives the token of that name a limit of its own.
///
/// # Errors
/// When there is no such token, or the file cannot be written.
pub fn limit(access: &mut Access, name: &str, limit: &str) -> anyhow::Result<()> {
    let mut lines: Vec<String> = access.entries.lines().map(str::to_owned).collect();
    let own = format!("\"name\":\"{name}\"");
    let line = lines.iter_mut().find(|line| line.contains(&own));
    let line = line.context("no such token")?;
    let entry: Value = serde_json::from_str(line.trim_start_matches([' ', '-']))?;
    let mut entry = entry.as_object().context("no entry")?.clone();
    entry.insert("limit".to_owned(), serde_saphyr::from_str(limit)?);
    *line = format!("    - {}", Value::Object(entry));
    access.entries = lines.join("\n") + "\n";
    access.write("")
}

/// A batch of so many events without data.
pub fn batch(size: usize) -> Message {
    let events: Vec<_> = (0..size)
        .map(|nth| Event::new(&nth.to_string(), "t").no_data())
        .collect();
    Event::batch(&events)
}

/// An event with so many bytes of data.
pub fn sized(bytes: usize) -> Message {
    Event::new("x", "t")
        .data("text/plain", vec![b'x'; bytes])
        .binary()
}

/// Posts to a Broker of `shop` with this token, on the connection of this client.
///
/// # Errors
/// When there is no answer.
pub async fn post(
    at: &mut Client,
    broker: &str,
    token: &str,
    mut message: Message,
) -> anyhow::Result<Answered> {
    let bearer = ("authorization".to_owned(), format!("Bearer {token}"));
    message.headers.push(bearer);
    at.post(&format!("/shop/{broker}"), &message).await
}

/// The status and the stable code.
pub fn verdict(answer: &Answered) -> (u16, String) {
    (answer.status, code(answer))
}

/// When to come back, in seconds.
///
/// # Errors
/// When the answer does not say it.
pub fn retry_after(answer: &Answered) -> anyhow::Result<u64> {
    let told = answer.headers.get("retry-after").context("no Retry-After")?;
    Ok(told.to_str()?.parse()?)
}

/// What is counted in the line that begins so; 0 without one.
///
/// # Errors
/// When the metrics cannot be had.
pub async fn metric(mesh: &Mesh, operator: &str, line: &str) -> anyhow::Result<u64> {
    let answer = ask(mesh, operator, &Method::GET, "/metrics").await?;
    let text = String::from_utf8(answer.body.to_vec())?;
    let found = text.lines().find_map(|one| one.strip_prefix(line)).unwrap_or("0");
    Ok(found.trim().parse()?)
}

/// The line that counts what a Broker of `shop` refused for that reason.
pub fn refused(broker: &str, code: &str) -> String {
    format!(
        "millrace_broker_requests_refused_total{{namespace=\"shop\",broker=\"{broker}\",code=\"{code}\"}}"
    )
}

/// Changes the access file by `change`, and waits until it was `taken` or `refused`.
///
/// # Errors
/// When it is not before the deadline.
pub async fn reread(
    mesh: &Mesh,
    operator: &str,
    outcome: &str,
    change: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let line = format!("millrace_files_reread_total{{files=\"access\",outcome=\"{outcome}\"}}");
    let before = metric(mesh, operator, &line).await?;
    change()?;
    wait_until("the file to be read again", || async {
        Ok((metric(mesh, operator, &line).await? > before).then_some(()))
    })
    .await
}
