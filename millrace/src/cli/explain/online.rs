//! What a running Millrace made of an event: asked of its admin API, and put in words.

use millrace_channel::Position;
use millrace_event::ObjectName;
use serde_json::Value;

use crate::cli::admin::{AdminApi, NotDone, cell, read, segment};
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output};
use crate::cli::values::default_broker;

/// The question.
#[derive(Debug)]
pub(super) struct Asked {
    /// `None`: `default/default`.
    pub(super) broker: Option<ObjectName>,
    pub(super) id: String,
    pub(super) source: Option<String>,
    pub(super) position: Option<Position>,
    pub(super) trigger: Option<ObjectName>,
}

pub(super) async fn explain(api: &AdminApi, asked: &Asked, output: Output) -> anyhow::Result<Exit> {
    let text = match api.text(&path(asked)).await {
        Ok(text) => text,
        Err(refused) => return Ok(told(asked, refused).report()),
    };
    match (output, read(&text)) {
        (_, Err(refused)) => return Ok(refused.report()),
        (Output::Json, Ok(_)) => out::data(&out::pretty(&String::from_utf8_lossy(&text))),
        (Output::Table, Ok(answer)) => out::data(&describe(&answer, asked.trigger.is_some())),
    }
    Ok(Exit::Ok)
}

/// The refusal; where it is of a broker that nobody named, with how it came to be asked.
fn told(asked: &Asked, refused: NotDone) -> NotDone {
    match refused {
        NotDone::Refused { detail, code }
            if asked.broker.is_none() && code.as_deref() == Some("unknown-broker") =>
        {
            let detail = format!("without --broker, {} is asked: {detail}", default_broker());
            NotDone::Refused { detail, code }
        }
        other => other,
    }
}

fn path(asked: &Asked) -> String {
    let broker = asked.broker.clone().unwrap_or_else(default_broker);
    let mut path = format!(
        "explain?broker={}&id={}",
        segment(&broker.to_string()),
        segment(&asked.id)
    );
    let optional = [
        ("source", asked.source.clone()),
        ("trigger", asked.trigger.as_ref().map(ToString::to_string)),
        ("position", asked.position.map(|position| position.to_string())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", segment(&value)));
        }
    }
    path
}

/// The event, a table of what each trigger made of it, and the attempts of those that made some.
fn describe(answer: &Value, with_clauses: bool) -> String {
    let event = &answer["event"];
    let mut text = out::plain(&format!(
        "Event {} of {} ({}), accepted {} at position {} of {}",
        cell(&event["id"]),
        cell(&event["source"]),
        cell(&event["type"]),
        cell(&answer["accepted"]),
        cell(&answer["position"]),
        cell(&answer["broker"]),
    ));
    let triggers = list(&answer["triggers"]);
    if triggers.is_empty() {
        text.push_str("\n\nThe broker has no triggers.");
    } else {
        let rows: Vec<_> = triggers.iter().map(row).collect();
        text.push_str("\n\n");
        text.push_str(&out::table(&["TRIGGER", "MATCHED", "STATE", "WHY"], &rows));
    }
    if answer["omittedTriggers"]
        .as_u64()
        .is_some_and(|omitted| omitted > 0)
    {
        text.push_str(&format!(
            "\nand {} more; --trigger asks for one",
            cell(&answer["omittedTriggers"])
        ));
    }
    for trigger in triggers {
        if with_clauses {
            push_clauses(&mut text, trigger);
        }
        push_attempts(&mut text, trigger);
    }
    for other in list(&answer["others"]) {
        text.push_str("\n\n");
        text.push_str(&out::plain(&format!(
            "There is another event of that id, of {}, accepted {}: --position {}",
            cell(&other["event"]["source"]),
            cell(&other["accepted"]),
            cell(&other["position"])
        )));
    }
    text
}

fn row(trigger: &Value) -> Vec<String> {
    let matched = match trigger["matched"].as_bool() {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    let mut why = cell(&trigger["why"]);
    let decided = &trigger["decidedBy"]["path"];
    if trigger["state"] == "not-matched" && !decided.is_null() {
        why.push_str(&format!(" ({})", cell(decided)));
    }
    vec![
        cell(&trigger["trigger"]),
        matched.to_owned(),
        cell(&trigger["state"]),
        why,
    ]
}

fn push_clauses(text: &mut String, trigger: &Value) {
    let clauses = list(&trigger["clauses"]);
    if clauses.is_empty() {
        return;
    }
    let row = |clause: &Value| {
        ["path", "verdict", "because"]
            .map(|member| cell(&clause[member]))
            .to_vec()
    };
    let rows: Vec<_> = clauses.iter().map(row).collect();
    text.push_str(&format!(
        "\n\nThe filter of {}\n{}",
        out::plain(&cell(&trigger["trigger"])),
        out::table(&["CLAUSE", "VERDICT", "BECAUSE"], &rows)
    ));
    if trigger["omittedClauses"]
        .as_u64()
        .is_some_and(|omitted| omitted > 0)
    {
        text.push_str(&format!("\nand {} more", cell(&trigger["omittedClauses"])));
    }
}

fn push_attempts(text: &mut String, trigger: &Value) {
    let attempts = list(&trigger["attempts"]);
    let forgotten = trigger["attemptsForgotten"] == true;
    if attempts.is_empty() {
        return;
    }
    let row = |attempt: &Value| {
        let number = cell(&attempt["attempt"]);
        let members = ["status", "millis", "outcome", "reason", "answer"];
        let first = [cell(&attempt["at"]), cell(&attempt["stage"]), number];
        first
            .into_iter()
            .chain(members.map(|member| cell(&attempt[member])))
            .collect::<Vec<_>>()
    };
    let head = [
        "AT", "STAGE", "ATTEMPT", "STATUS", "MILLIS", "OUTCOME", "REASON", "ANSWER",
    ];
    let rows: Vec<_> = attempts.iter().map(row).collect();
    text.push_str(&format!(
        "\n\nThe attempts of {}\n",
        out::plain(&cell(&trigger["trigger"]))
    ));
    if forgotten {
        text.push_str("(others are not in the history)\n");
    }
    text.push_str(&out::table(&head, &rows));
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_put_in_words() {
        let answer = json!({
            "broker": "shop/default", "position": "7", "accepted": "T0", "event": {"id": "1", "source": "/s", "type": "a"},
            "triggers": [
                {"trigger": "shop/ship", "matched": true, "state": "delivered", "why": "attempt 1: 200 at T1", "clauses": [],
                 "attempts": [{"at": "T1", "stage": "subscriber", "attempt": 1, "status": 200, "millis": 3, "outcome": "delivered", "reason": null, "answer": "ok"}],
                 "attemptsForgotten": false},
                {"trigger": "shop/bill", "matched": false, "state": "not-matched", "why": "type is \"a\", not \"b\"",
                 "decidedBy": {"path": "filters[0].exact.type"}, "clauses": [], "attempts": [], "attemptsForgotten": false},
            ],
            "omittedTriggers": 0,
            "others": [{"position": "3", "accepted": "T2", "event": {"source": "/s"}}],
        });
        assert_eq!(
            describe(&answer, false),
            "\
Event 1 of /s (a), accepted T0 at position 7 of shop/default

TRIGGER    MATCHED  STATE        WHY
shop/ship  yes      delivered    attempt 1: 200 at T1
shop/bill  no       not-matched  type is \"a\", not \"b\" (filters[0].exact.type)

The attempts of shop/ship
AT  STAGE       ATTEMPT  STATUS  MILLIS  OUTCOME    REASON  ANSWER
T1  subscriber  1        200     3       delivered          ok

There is another event of that id, of /s, accepted T2: --position 3"
        );
    }
}
