//! `millrace triggers`: lists the Triggers of a running Millrace, and forgets those that are gone.

use clap::{Args, Subcommand};
use millrace_event::ObjectName;
use serde_json::Value;

use crate::cli::admin::cell;
use crate::cli::exit::Exit;
use crate::cli::objects::{Asked, Kind};
use crate::cli::out::{self, Output};
use crate::cli::reach::Reach;
use crate::cli::values::parse_name;

/// `millrace triggers`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TriggersArgs {
    /// Only this one, with its settings: namespace/name
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: Option<ObjectName>,
    #[command(subcommand)]
    command: Option<TriggersCommand>,
}

/// Other actions on Triggers.
#[derive(Clone, Debug, Subcommand)]
enum TriggersCommand {
    /// Forget Triggers that are gone from the documents: their places, and what is still owed to them
    Forget {
        /// Their names: namespace/name
        #[arg(value_name = "NAME", required = true, value_parser = parse_name)]
        names: Vec<ObjectName>,
    },
}

/// The columns, and the members of the answer that stand in them.
const COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("BROKER", "broker"),
    ("STATE", "state"),
    ("BACKLOG", "backlog"),
    ("QUEUED", "queued"),
    ("DEFERRED", "deferred"),
    ("PARKED", "parked"),
    ("CURSOR", "cursor"),
];

const KIND: Kind = Kind {
    path: "triggers",
    plural: "Triggers",
    table,
};

/// Lists the Triggers, shows one, or forgets some.
pub(crate) async fn triggers(args: TriggersArgs, reach: Reach, output: Output) -> anyhow::Result<Exit> {
    let asked = match (&args.command, &args.name) {
        (Some(TriggersCommand::Forget { names }), _) => Asked::Forget(names),
        (None, Some(name)) => Asked::One(name),
        (None, None) => Asked::All,
    };
    KIND.answer(asked, &reach, output).await
}

fn table(triggers: &[Value]) -> String {
    let head: Vec<&str> = COLUMNS
        .iter()
        .map(|(head, _)| *head)
        .chain(["LAST FAILURE"])
        .collect();
    let row = |trigger: &Value| {
        let cells = COLUMNS.iter().map(|(_, member)| match *member {
            // A count of positions that the filter has not seen: it may want fewer.
            "backlog" => at_most(&trigger["backlog"]),
            member => cell(&trigger[member]),
        });
        cells.chain([last(trigger)]).collect::<Vec<String>>()
    };
    out::table(&head, &triggers.iter().map(row).collect::<Vec<_>>())
}

fn at_most(backlog: &Value) -> String {
    match backlog.as_u64() {
        Some(0) => "0".to_owned(),
        Some(backlog) => format!("<={backlog}"),
        None => String::new(),
    }
}

/// The last failure, or why the Trigger is not in order.
fn last(trigger: &Value) -> String {
    let failure = &trigger["lastFailure"];
    match (trigger["reason"].as_str(), failure["reason"].as_str()) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(reason)) => format!("{} {reason}", cell(&failure["at"])),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_shows_what_somebody_on_call_needs() {
        let list = [
            json!({"name": "shop/ship", "broker": "shop/default", "state": "live", "reason": null, "cursor": 7, "backlog": 0,
                   "queued": 1, "deferred": 2, "parked": 3, "lastFailure": {"at": "2026-11-22T10:00:00.000Z", "reason": "status 500"}}),
            json!({"name": "shop/late", "broker": null, "state": "not-ready", "reason": "there is no Broker shop/x", "cursor": 0, "backlog": 12,
                   "queued": 0, "deferred": 0, "parked": 0, "lastFailure": null}),
        ];
        assert_eq!(
            table(&list),
            "\
NAME       BROKER        STATE      BACKLOG  QUEUED  DEFERRED  PARKED  CURSOR  LAST FAILURE
shop/ship  shop/default  live       0        1       2         3       7       2026-11-22T10:00:00.000Z status 500
shop/late                not-ready  <=12     0       0         0       0       there is no Broker shop/x"
        );
    }
}
