//! `millrace parked`: the events that were given up on, and what becomes of them.

use clap::{Args, Subcommand};
use http::Method;
use millrace_event::ObjectName;
use millrace_filter::value;
use serde_json::{Value, json};

use crate::cli::admin::{AdminApi, NotDone, cell, segment};
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output};
use crate::cli::reach::Reach;
use crate::cli::values::parse_name;

/// `millrace parked ...`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// List parked events, oldest first
    List(ListArgs),
    /// Show one parked event with its failures
    Show {
        /// Its id, as `list` shows it
        id: String,
    },
    /// Give parked events back to their subscribers, as if they had just come
    Redrive(Selection),
    /// Drop parked events for good
    Drop(Selection),
}

/// `millrace parked list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Only of this Trigger: namespace/name
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    trigger: Option<ObjectName>,
    /// List at most this many
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Which parked events a command is about.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Selection {
    /// Their ids, as `list` shows them
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All of this Trigger: namespace/name
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    trigger: Option<ObjectName>,
    /// All there are
    #[arg(long)]
    all: bool,
}

/// What is done with parked events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Redrive,
    Drop,
}

/// The most that one request lists.
const PAGE: usize = 1000;

/// Runs one of the commands.
pub(crate) async fn parked(command: ParkedCommand, reach: Reach, output: Output) -> anyhow::Result<Exit> {
    let api = match AdminApi::new(&reach) {
        Ok(api) => api,
        Err(exit) => return Ok(exit),
    };
    let ended = match command {
        ParkedCommand::List(args) => list(&api, &args, output).await,
        ParkedCommand::Show { id } => show(&api, &id, output).await,
        ParkedCommand::Redrive(selection) => act(&api, Deed::Redrive, &selection, output).await,
        ParkedCommand::Drop(selection) => act(&api, Deed::Drop, &selection, output).await,
    };
    Ok(ended.unwrap_or_else(|refused| refused.report()))
}

async fn list(api: &AdminApi, args: &ListArgs, output: Output) -> Result<Exit, NotDone> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let rows = rows(api, args.trigger.as_ref(), limit).await?;
    if rows.len() == limit {
        out::remark(&format!(
            "There may be more than these {limit}; --limit raises the number."
        ));
    }
    match output {
        Output::Json => out::json(&rows),
        Output::Table if rows.is_empty() => out::remark("No events are parked."),
        Output::Table => out::data(&table(&rows)),
    }
    Ok(Exit::Ok)
}

/// The first rows, asked for page by page.
async fn rows(api: &AdminApi, trigger: Option<&ObjectName>, limit: usize) -> Result<Vec<Value>, NotDone> {
    let mut rows: Vec<Value> = Vec::new();
    while rows.len() < limit {
        let asked = PAGE.min(limit - rows.len());
        let mut path = format!("parked?limit={asked}");
        if let Some(trigger) = trigger {
            path.push_str(&format!("&trigger={}", segment(&trigger.to_string())));
        }
        if let Some(last) = rows.last().and_then(|row| row["id"].as_str()) {
            path.push_str(&format!("&after={}", segment(last)));
        }
        let page = api.list(&path).await?;
        let ended = page.len() < asked;
        rows.extend(page);
        if ended {
            break;
        }
    }
    Ok(rows)
}

fn table(rows: &[Value]) -> String {
    let row = |row: &Value| {
        let event = &row["event"];
        let members = [
            &row["id"],
            &row["trigger"],
            &row["since"],
            &row["attempts"],
            &event["type"],
            &event["id"],
            &row["reason"],
        ];
        members.into_iter().map(cell).collect::<Vec<String>>()
    };
    let head = [
        "ID",
        "TRIGGER",
        "SINCE",
        "ATTEMPTS",
        "EVENT TYPE",
        "EVENT ID",
        "REASON",
    ];
    out::table(&head, &rows.iter().map(row).collect::<Vec<_>>())
}

async fn show(api: &AdminApi, id: &str, output: Output) -> Result<Exit, NotDone> {
    let text = api.text(&format!("parked/{}", segment(id))).await?;
    let parked = value::read(&text).map_err(|error| NotDone::Nonsense(error.to_string()))?;
    match output {
        Output::Json => out::data(&out::pretty(&String::from_utf8_lossy(&text))),
        Output::Table => out::data(&describe(&parked)),
    }
    Ok(Exit::Ok)
}

/// Everything of one parked event: what it is, and a table of its failures.
fn describe(parked: &value::Value<'_>) -> String {
    let mut rows = Vec::new();
    flatten("", parked, &mut rows);
    let mut text = out::table(&["FIELD", "VALUE"], &rows);
    let failures = parked.get("failures").and_then(value::Value::as_array);
    let row = |failure: &value::Value<'_>| {
        let members = ["at", "stage", "attempt", "target", "status", "reason", "body"];
        members
            .map(|member| failure.get(member).map_or_else(String::new, plain))
            .to_vec()
    };
    let failures: Vec<_> = failures.into_iter().flatten().map(row).collect();
    if !failures.is_empty() {
        let head = ["AT", "STAGE", "ATTEMPT", "TARGET", "STATUS", "REASON", "ANSWER"];
        text.push_str("\n\n");
        text.push_str(&out::table(&head, &failures));
    }
    text
}

/// The members of an object and of nested objects, as rows of path and value; the failures have a table of
/// their own.
fn flatten(path: &str, value: &value::Value<'_>, rows: &mut Vec<Vec<String>>) {
    let value::Value::Object(members) = value else {
        if *value != value::Value::Null {
            rows.push(vec![path.to_owned(), plain(value)]);
        }
        return;
    };
    for (name, member) in members.iter() {
        match (path, name) {
            ("", "failures") => {}
            ("", name) => flatten(name, member, rows),
            (path, name) => flatten(&format!("{path}.{name}"), member, rows),
        }
    }
}

/// A string without quotes, nothing for null, and anything else as JSON.
fn plain(value: &value::Value<'_>) -> String {
    match value {
        value::Value::Null => String::new(),
        value::Value::String(text) => text.to_string(),
        other => other.to_string(),
    }
}

/// Does it to each, and says what became of each.
async fn act(api: &AdminApi, deed: Deed, selection: &Selection, output: Output) -> Result<Exit, NotDone> {
    let ids = match selection.ids.as_slice() {
        // All ids first: a redriven event may come back, and must not be redriven for ever.
        [] => {
            let rows = rows(api, selection.trigger.as_ref(), usize::MAX).await?;
            rows.iter()
                .filter_map(|row| row["id"].as_str().map(str::to_owned))
                .collect()
        }
        ids => ids.to_vec(),
    };
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for id in ids {
        match deed.request(api, &id).await {
            Ok(()) => {
                if output == Output::Table {
                    out::data(&format!("{} {}", deed.done(), out::plain(&id)));
                }
                done.push(id);
            }
            Err(NotDone::NoAnswer(error)) => return Err(NotDone::NoAnswer(error)),
            Err(refused) => {
                out::remark(&format!("error: {}: {refused}", out::plain(&id)));
                let code = match &refused {
                    NotDone::Refused { code, .. } => code.as_deref(),
                    NotDone::NoAnswer(_) | NotDone::Nonsense(_) => None,
                };
                failed.push(json!({"id": id, "code": code, "reason": refused.to_string()}));
            }
        }
    }
    match output {
        Output::Json => out::json(&json!({deed.done(): done, "failed": failed})),
        Output::Table if done.is_empty() && failed.is_empty() => out::remark("No events are parked."),
        Output::Table => {}
    }
    Ok(if failed.is_empty() { Exit::Ok } else { Exit::Failed })
}

// === impl Deed ===

impl Deed {
    async fn request(self, api: &AdminApi, id: &str) -> Result<(), NotDone> {
        let id = segment(id);
        match self {
            Self::Redrive => api.change(Method::POST, &format!("parked/{id}/redrive")).await,
            Self::Drop => api.change(Method::DELETE, &format!("parked/{id}")).await,
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Redrive => "redriven",
            Self::Drop => "dropped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_event_is_shown_with_its_failures() {
        let parked = json!({
            "id": "x1", "trigger": "shop/ship", "reason": "status 500 after 2 attempts", "attempts": 2,
            "event": {"id": "1", "type": "a", "source": "/s", "data": {"b": [1]}},
            "failures": [{"at": "t0", "stage": "subscriber", "attempt": 1, "target": "http://a/", "status": 500, "reason": "status 500", "millis": 3}],
        });
        let json = parked.to_string().replace("[1]", "[1e400,1.10]");
        let text = describe(&value::read(json.as_bytes()).expect("JSON"));
        assert!(text.contains("event.data.b  [1e400,1.10]"), "{text}");
        assert!(
            text.ends_with("t0  subscriber  1        http://a/  500     status 500"),
            "{text}"
        );
        assert!(
            table(&[parked])
                .lines()
                .nth(1)
                .is_some_and(|line| line.starts_with("x1  shop/ship"))
        );
    }
}
