//! Which of the events that a Broker keeps a Trigger would get that is not applied yet. The events come from
//! the admin API, the filter is evaluated here: nothing changes in the running Millrace.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use millrace_event::http::Limits;
use millrace_event::{Event, ObjectName};
use millrace_model::Trigger;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::offline::loaded;
use crate::cli::admin::{AdminApi, NotDone, segment};
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output, count};
use crate::cli::stream::Lines;

/// Events that one answer may hold; beyond that it is asked again.
const PAGE: u64 = 1_000_000;

/// The question.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) file: PathBuf,
    pub(super) over: Duration,
    /// Instead of the Trigger's own.
    pub(super) broker: Option<ObjectName>,
    pub(super) limit: usize,
}

/// A line of the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    position: Option<String>,
    accepted: Option<String>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    end: bool,
    next: Option<String>,
    error: Option<String>,
}

/// What has been found.
#[derive(Debug, Default)]
struct Matches {
    events: u64,
    matched: u64,
    /// The newest that match, at most as many as are listed: position, accepted, event, why.
    list: Vec<Value>,
}

pub(super) async fn explain(api: &AdminApi, asked: Asked, output: Output) -> anyhow::Result<Exit> {
    let Some(mesh) = loaded(std::slice::from_ref(&asked.file)) else {
        return Ok(Exit::Invalid);
    };
    let mut triggers = mesh.triggers.values();
    let (Some(trigger), None) = (triggers.next(), triggers.next()) else {
        out::remark(&format!(
            "error: {} must hold one Trigger, and holds {}",
            asked.file.display(),
            mesh.triggers.len()
        ));
        return Ok(Exit::Invalid);
    };
    let broker = asked.broker.clone().unwrap_or_else(|| trigger.broker.clone());
    let mut found = Matches::default();
    if let Err(refused) = run(api, &asked, trigger, &broker, &mut found).await {
        return Ok(refused.report());
    }
    match output {
        Output::Json => out::json(&json!({
            "trigger": trigger.name.to_string(), "broker": broker.to_string(), "seconds": asked.over.as_secs(),
            "events": found.events, "matched": found.matched, "matches": found.list,
        })),
        Output::Table => out::data(&in_words(trigger, &broker, &found)),
    }
    Ok(Exit::Ok)
}

/// Asks page by page.
async fn run(
    api: &AdminApi,
    asked: &Asked,
    trigger: &Trigger,
    broker: &ObjectName,
    found: &mut Matches,
) -> Result<(), NotDone> {
    let mut from: Option<String> = None;
    loop {
        let mut path = format!(
            "events?broker={}&seconds={}&limit={PAGE}",
            segment(&broker.to_string()),
            asked.over.as_secs()
        );
        if let Some(from) = &from {
            path.push_str(&format!("&from={}", segment(from)));
        }
        let lines = api.lines(&path).await?;
        match page(lines, trigger, asked.limit, found).await? {
            Some(next) => from = Some(next),
            None => return Ok(()),
        }
    }
}

/// Reads one answer; gives where to go on.
async fn page(
    mut lines: Lines,
    trigger: &Trigger,
    limit: usize,
    found: &mut Matches,
) -> Result<Option<String>, NotDone> {
    let broken = |error: &dyn std::fmt::Display| NotDone::Nonsense(error.to_string());
    while let Some(text) = lines.next().await.map_err(|error| broken(&error))? {
        let line: Line<'_> = serde_json::from_slice(&text).map_err(|error| broken(&error))?;
        if let Some(error) = line.error {
            return Err(NotDone::Refused {
                detail: error,
                code: None,
            });
        }
        if line.end {
            return Ok(line.next);
        }
        found.see(&line, trigger, limit)?;
    }
    Err(NotDone::Nonsense(
        "the answer ended before its last line; is Millrace stopping?".to_owned(),
    ))
}

// === impl Matches ===

impl Matches {
    fn see(&mut self, line: &Line<'_>, trigger: &Trigger, limit: usize) -> Result<(), NotDone> {
        // It was accepted once, so it is within the limits of the Broker that accepted it.
        let limits = Limits {
            event_bytes: usize::MAX,
            ..Limits::default()
        };
        let text = line.event.map_or("", RawValue::get);
        let event = millrace_event::json::decode(&Bytes::copy_from_slice(text.as_bytes()), &limits)
            .map_err(|invalid| NotDone::Nonsense(format!("an event cannot be read: {invalid}")))?;
        self.events += 1;
        if trigger.compiled.matches(&event) {
            self.matched += 1;
            let said = trigger.compiled.explain(&event);
            let because = said.decided_by.as_ref().map(|clause| clause.because.as_str());
            self.keep(line, &event, because, limit);
        }
        Ok(())
    }

    /// Keeps the newest.
    fn keep(&mut self, line: &Line<'_>, event: &Event, because: Option<&str>, limit: usize) {
        if limit == 0 {
            return;
        }
        if self.list.len() >= limit {
            self.list.remove(0);
        }
        self.list.push(json!({
            "position": line.position, "accepted": line.accepted,
            "event": {"id": event.id(), "source": event.source(), "type": event.ty()},
            "because": because,
        }));
    }
}

fn in_words(trigger: &Trigger, broker: &ObjectName, found: &Matches) -> String {
    let mut text = format!(
        "{} would get {} of the {} that {broker} keeps of that time.",
        trigger.name,
        found.matched,
        count(found.events, "event")
    );
    if found.list.is_empty() {
        return text;
    }
    let row = |one: &Value| {
        let event = &one["event"];
        [
            &one["accepted"],
            &one["position"],
            &event["id"],
            &event["source"],
            &event["type"],
            &one["because"],
        ]
        .map(crate::cli::admin::cell)
        .to_vec()
    };
    let head = ["ACCEPTED", "POSITION", "ID", "SOURCE", "TYPE", "BECAUSE"];
    text.push_str("\n\n");
    text.push_str(&out::table(
        &head,
        &found.list.iter().map(row).collect::<Vec<_>>(),
    ));
    if found.matched > found.list.len() as u64 {
        text.push_str("\n(the newest of them; --limit lists more)");
    }
    text
}
