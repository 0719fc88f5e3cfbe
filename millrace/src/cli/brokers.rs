//! `millrace brokers`: lists the Brokers of a running Millrace, and forgets those that are gone.

use clap::{Args, Subcommand};
use millrace_event::ObjectName;
use serde_json::Value;

use crate::cli::admin::cell;
use crate::cli::exit::Exit;
use crate::cli::objects::{Asked, Kind};
use crate::cli::out::{self, Output};
use crate::cli::reach::Reach;
use crate::cli::values::parse_name;

/// `millrace brokers`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BrokersArgs {
    /// Only this one, with its settings: namespace/name
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: Option<ObjectName>,
    #[command(subcommand)]
    command: Option<BrokersCommand>,
}

/// Other actions on Brokers.
#[derive(Clone, Debug, Subcommand)]
enum BrokersCommand {
    /// Forget Brokers that are gone from the documents, with everything that they hold: their events, what is
    /// owed to their Triggers, and parked events
    Forget {
        /// Their names: namespace/name
        #[arg(value_name = "NAME", required = true, value_parser = parse_name)]
        names: Vec<ObjectName>,
    },
}

/// The columns, and the members of the answer that stand in them.
const COLUMNS: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("STATE", "state"),
    ("OLDEST", "oldest"),
    ("HEAD", "head"),
    ("LOG BYTES", "logBytes"),
    ("PARKED", "parked"),
];

const KIND: Kind = Kind {
    path: "brokers",
    plural: "Brokers",
    table,
};

/// Lists the Brokers, shows one, or forgets some.
pub(crate) async fn brokers(args: BrokersArgs, reach: Reach, output: Output) -> anyhow::Result<Exit> {
    let asked = match (&args.command, &args.name) {
        (Some(BrokersCommand::Forget { names }), _) => Asked::Forget(names),
        (None, Some(name)) => Asked::One(name),
        (None, None) => Asked::All,
    };
    KIND.answer(asked, &reach, output).await
}

fn table(brokers: &[Value]) -> String {
    let heads = COLUMNS.iter().map(|(head, _)| *head);
    let head: Vec<&str> = heads.chain(["REASON"]).collect();
    let row = |broker: &Value| {
        let cells = COLUMNS.iter().map(|(_, member)| cell(&broker[member]));
        cells.chain([reason(broker)]).collect::<Vec<String>>()
    };
    out::table(&head, &brokers.iter().map(row).collect::<Vec<_>>())
}

/// Why the Broker is in its state, or why producers are turned away.
fn reason(broker: &Value) -> String {
    match broker["reason"].as_str() {
        Some(reason) => reason.to_owned(),
        None => cell(&broker["refusing"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_shows_what_each_broker_holds() {
        let broker = |name: &str, state: &str, parked: u64, reason: Value, refusing: Value| {
            json!({"name": name, "state": state, "oldest": 3, "head": 12, "logBytes": 4096, "parked": parked,
                   "reason": reason, "refusing": refusing, "settings": null})
        };
        let list = [
            broker(
                "shop/default",
                "ready",
                0,
                Value::Null,
                json!("the volume is full"),
            ),
            broker("shop/old", "orphaned", 2, json!("it is gone"), Value::Null),
            broker("shop/quiet", "ready", 0, Value::Null, Value::Null),
        ];
        assert_eq!(
            table(&list),
            "\
NAME          STATE     OLDEST  HEAD  LOG BYTES  PARKED  REASON
shop/default  ready     3       12    4096       0       the volume is full
shop/old      orphaned  3       12    4096       2       it is gone
shop/quiet    ready     3       12    4096       0"
        );
    }
}
