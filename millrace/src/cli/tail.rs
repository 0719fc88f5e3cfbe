//! `millrace tail`: what happens in a running Millrace, one line an event and one an outcome, until Ctrl-C.

use clap::Args;
use millrace_event::ObjectName;
use serde_json::Value;

use crate::cli::admin::{AdminApi, cell, segment};
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output, count};
use crate::cli::reach::Reach;
use crate::cli::values::{parse_filter, parse_name};

/// `millrace tail`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TailArgs {
    /// Only of this Broker: namespace/name
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    broker: Option<ObjectName>,
    /// Only events that pass: name=value (a * at the end or beginning of the value stands for anything), or a
    /// filter as in a Trigger's filters, e.g. '{exact: {type: order.paid}}'; repeat it, and all must hold
    #[arg(long = "filter", value_name = "FILTER", value_parser = parse_filter, allow_hyphen_values = true)]
    filters: Vec<String>,
}

/// Follows what happens.
pub(crate) async fn tail(args: TailArgs, reach: Reach, output: Output) -> anyhow::Result<Exit> {
    let api = match AdminApi::new(&reach) {
        Ok(api) => api,
        Err(exit) => return Ok(exit),
    };
    let mut path = format!("tail?whole={}", output == Output::Json);
    if let Some(broker) = &args.broker {
        path.push_str(&format!("&broker={}", segment(&broker.to_string())));
    }
    if !args.filters.is_empty() {
        let all = format!("[{}]", args.filters.join(", "));
        path.push_str(&format!("&filter={}", segment(&all)));
    }
    let mut lines = match api.lines(&path).await {
        Ok(lines) => lines,
        Err(refused) => return Ok(refused.report()),
    };
    loop {
        match lines.next().await {
            Ok(Some(line)) => match output {
                Output::Json => out::data(&String::from_utf8_lossy(&line)),
                Output::Table => show(&serde_json::from_slice(&line)?),
            },
            Ok(None) => {
                out::remark("Millrace has ended the tail; it is probably stopping.");
                return Ok(Exit::Ok);
            }
            Err(broken) => {
                out::remark(&format!("error: {broken}"));
                return Ok(Exit::Unreachable);
            }
        }
    }
}

fn show(line: &Value) {
    match line["kind"].as_str() {
        Some("following") => out::remark("Following; Ctrl-C ends."),
        Some("missed") => out::remark(&format!(
            "{} came too fast to be shown; --filter or --broker make them fewer",
            count(line["lines"].as_u64().unwrap_or_default(), "line")
        )),
        _ => out::data(&out::plain(&in_words(line))),
    }
}

/// `event    order.paid  id 1  of /shop at 7 of shop/default: shop/ship, shop/bill`.
fn in_words(line: &Value) -> String {
    if line["kind"] == "refused" {
        let who = line["who"].as_str().unwrap_or("somebody unknown");
        return format!(
            "{:<13} {who} at {} ({})",
            "refused",
            cell(&line["broker"]),
            cell(&line["code"])
        );
    }
    let event = &line["event"];
    let name = format!("{}  id {}", cell(&event["type"]), cell(&event["id"]));
    if line["kind"] == "event" {
        let triggers: Vec<String> = line["triggers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(cell)
            .collect();
        let who = if triggers.is_empty() {
            "no trigger".to_owned()
        } else {
            triggers.join(", ")
        };
        return format!(
            "{:<13} {name}  of {} in {}: {who}",
            "event",
            cell(&event["source"]),
            cell(&line["broker"])
        );
    }
    let again = match line["attempt"].as_u64() {
        None | Some(1) => String::new(),
        Some(attempt) => format!(" (attempt {attempt})"),
    };
    format!(
        "{:<13} {name}  for {}: {} from {} in {} ms{again}",
        cell(&line["outcome"]),
        cell(&line["trigger"]),
        cell(&line["said"]),
        cell(&line["target"]),
        cell(&line["millis"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_and_an_outcome_are_a_line_each() {
        let event = json!({"type": "order.paid", "id": "1", "source": "/shop"});
        let routed = json!({"kind": "event", "broker": "shop/default", "position": "7", "event": event, "triggers": ["shop/ship", "shop/bill"]});
        assert_eq!(
            in_words(&routed),
            "event         order.paid  id 1  of /shop in shop/default: shop/ship, shop/bill"
        );
        let refused = json!({"kind": "refused", "broker": "shop/default", "who": "token:till", "code": "broker-not-allowed"});
        assert_eq!(
            in_words(&refused),
            "refused       token:till at shop/default (broker-not-allowed)"
        );
        let outcome = json!({"kind": "outcome", "event": event, "trigger": "shop/ship", "attempt": 2, "target": "http://a/",
            "outcome": "failed", "said": "503 Service Unavailable", "millis": 4});
        assert_eq!(
            in_words(&outcome),
            "failed        order.paid  id 1  for shop/ship: 503 Service Unavailable from http://a/ in 4 ms (attempt 2)"
        );
    }
}
