//! What documents would make of an event: nothing runs, nothing is sent.

use std::path::{Path, PathBuf};

use millrace_crds::{Loaded, load, read};
use millrace_event::http::Limits;
use millrace_event::{Event, ObjectName};
use millrace_filter::Explanation;
use millrace_model::{Mesh, Trigger};
use serde_json::{Value, json};

use super::trace;
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output};
use crate::cli::send::message;

/// The question.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) files: &'a [PathBuf],
    pub(super) event: &'a Path,
    pub(super) broker: Option<&'a ObjectName>,
    pub(super) trigger: Option<&'a ObjectName>,
}

pub(super) fn explain(asked: &Asked<'_>, output: Output) -> anyhow::Result<Exit> {
    let Some(mesh) = loaded(asked.files) else {
        return Ok(Exit::Invalid);
    };
    let text = message::read(asked.event)?;
    let event = match millrace_event::json::decode(&text, &Limits::default()) {
        Ok(event) => event,
        Err(invalid) => anyhow::bail!("{}: not a CloudEvent: {invalid}", asked.event.display()),
    };
    let triggers: Vec<&Trigger> = mesh
        .triggers
        .values()
        .map(AsRef::as_ref)
        .filter(|trigger| asked.trigger.is_none_or(|name| *name == trigger.name))
        .filter(|trigger| asked.broker.is_none_or(|broker| *broker == trigger.broker))
        .collect();
    if let Some(broker) = asked.broker.filter(|broker| !mesh.brokers.contains_key(broker)) {
        anyhow::bail!("there is no Broker {broker} in these documents");
    }
    if let (Some(name), true) = (asked.trigger, triggers.is_empty()) {
        match mesh.triggers.get(name) {
            Some(trigger) => anyhow::bail!("the Trigger {name} reads another Broker, {}", trigger.broker),
            None => anyhow::bail!("there is no Trigger {name} in these documents"),
        }
    }
    let said: Vec<_> = triggers
        .into_iter()
        .map(|trigger| (trigger, trigger.compiled.explain(&event)))
        .collect();
    match output {
        Output::Json => out::json(&as_json(&event, &said)),
        Output::Table => out::data(&in_words(&said)),
    }
    Ok(Exit::Ok)
}

/// The mesh of the documents; says what is wrong with them.
pub(super) fn loaded(files: &[PathBuf]) -> Option<Mesh> {
    let inputs = match read(files) {
        Ok(inputs) => inputs,
        Err(error) => {
            error
                .problems
                .iter()
                .for_each(|problem| out::remark(&problem.to_string()));
            return None;
        }
    };
    let Loaded { mesh, problems, .. } = load(&inputs);
    problems
        .iter()
        .for_each(|problem| out::remark(&problem.to_string()));
    mesh
}

fn as_json(event: &Event, said: &[(&Trigger, Explanation)]) -> Value {
    let triggers = said.iter().map(|(trigger, said)| {
        let mut one = trace::of(said);
        one["trigger"] = json!(trigger.name.to_string());
        one["broker"] = json!(trigger.broker.to_string());
        one["notReady"] = json!(trigger.subscriber.as_ref().err().map(ToString::to_string));
        one
    });
    json!({
        "event": {"id": event.id(), "source": event.source(), "type": event.ty()},
        "triggers": triggers.collect::<Vec<_>>(),
    })
}

fn in_words(said: &[(&Trigger, Explanation)]) -> String {
    if said.is_empty() {
        return "There are no Triggers to ask in these documents.".to_owned();
    }
    let row = |(trigger, said): &(&Trigger, Explanation)| {
        let (mut why, at) = match &said.decided_by {
            Some(clause) => (clause.because.clone(), clause.path.clone()),
            None => ("it has no filter: everything passes".to_owned(), String::new()),
        };
        if let (Err(reason), true) = (&trigger.subscriber, said.matched) {
            why.push_str(&format!("; but it is not ready: {reason}"));
        }
        let matched = if said.matched { "yes" } else { "no" };
        vec![
            trigger.name.to_string(),
            trigger.broker.to_string(),
            matched.to_owned(),
            why,
            at,
        ]
    };
    let mut text = out::table(
        &["TRIGGER", "BROKER", "MATCHES", "WHY", "DECIDED BY"],
        &said.iter().map(row).collect::<Vec<_>>(),
    );
    if let [(_, only)] = said
        && !only.clauses.is_empty()
    {
        let row = |clause: &millrace_filter::Clause| {
            vec![
                clause.path.clone(),
                clause.verdict.as_str().to_owned(),
                clause.because.clone(),
            ]
        };
        text.push_str("\n\n");
        text.push_str(&out::table(
            &["CLAUSE", "VERDICT", "BECAUSE"],
            &only.clauses.iter().map(row).collect::<Vec<_>>(),
        ));
    }
    text
}
