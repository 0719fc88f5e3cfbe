//! `millrace brokers`: lists the Brokers of a running Millrace, and forgets those that are gone.

use clap::{Args, Subcommand};
use http::Method;
use millrace_event::ObjectName;
use serde_json::Value;

use crate::cli::admin::{AdminApi, NotDone, cell, members, segment};
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output};
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

/// Lists the Brokers, or shows one.
pub(crate) async fn brokers(args: BrokersArgs, admin: String, output: Output) -> anyhow::Result<Exit> {
    let api = match AdminApi::new(&admin) {
        Ok(api) => api,
        Err(exit) => return Ok(exit),
    };
    if let Some(BrokersCommand::Forget { names }) = &args.command {
        let forgotten = forget(&api, names, output).await;
        return Ok(forgotten.unwrap_or_else(|refused| refused.report()));
    }
    let path = match &args.name {
        Some(name) => path_of(name),
        None => "brokers".to_owned(),
    };
    let answer = match api.get(&path).await {
        Ok(answer) => answer,
        Err(refused) => return Ok(refused.report()),
    };
    match (output, &answer) {
        (Output::Json, _) => out::json(&answer),
        (Output::Table, Value::Array(list)) if list.is_empty() => out::remark("There are no Brokers."),
        (Output::Table, Value::Array(list)) => out::data(&table(list)),
        (Output::Table, one) => out::data(&members(one)),
    }
    Ok(Exit::Ok)
}

async fn forget(api: &AdminApi, names: &[ObjectName], output: Output) -> Result<Exit, NotDone> {
    for name in names {
        api.change(Method::DELETE, &path_of(name)).await?;
        match output {
            Output::Table => out::remark(&format!("{name} is forgotten.")),
            Output::Json => out::json(&serde_json::json!({"forgotten": name.to_string()})),
        }
    }
    Ok(Exit::Ok)
}

fn path_of(name: &ObjectName) -> String {
    format!("brokers/{}/{}", segment(name.namespace()), segment(name.name()))
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
