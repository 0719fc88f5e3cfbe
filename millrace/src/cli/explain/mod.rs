//! `millrace explain`: why a service was (not) called. Three questions, each in a file of its own: what a
//! running Millrace made of an event ([`online`]), what documents would make of one ([`offline`]), and which
//! of the events that are kept a Trigger would get that is not applied yet ([`over`]). Whether a filter
//! matches is decided by the filter itself.

mod offline;
mod online;
mod over;
mod trace;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use millrace_channel::Position;
use millrace_event::ObjectName;

use crate::cli::admin::AdminApi;
use crate::cli::exit::Exit;
use crate::cli::out::Output;
use crate::cli::reach::Reach;
use crate::cli::usage;
use crate::cli::values::{parse_duration, parse_name};

/// `millrace explain`.
#[derive(Args, Clone, Debug)]
#[command(
    group = clap::ArgGroup::new("question").args(["id", "event", "over"]).required(true),
    after_help = HELP
)]
pub(crate) struct ExplainArgs {
    /// The Broker: namespace/name [default with --id: default/default]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    broker: Option<ObjectName>,
    /// The id of the event, of which a running Millrace is asked
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    id: Option<String>,
    /// Its source, where ids alone are not unique
    #[arg(
        long,
        value_name = "SOURCE",
        requires = "id",
        conflicts_with_all = ["event", "over"],
        allow_hyphen_values = true
    )]
    source: Option<String>,
    /// Its position, where several events have that id and source
    #[arg(long, value_name = "POSITION", requires = "id", conflicts_with_all = ["event", "over"])]
    position: Option<Position>,
    /// Only this Trigger: namespace/name. With --over the file of the Trigger
    #[arg(long, value_name = "NAME|FILE")]
    trigger: Option<String>,
    /// A file or folder of documents that are to be asked, without a running Millrace; repeat it for more
    #[arg(short = 'f', long = "file", value_name = "PATH", requires = "event")]
    files: Vec<PathBuf>,
    /// The event as structured JSON, for --file; - is the standard input
    #[arg(long, value_name = "FILE", requires = "files")]
    event: Option<PathBuf>,
    /// Try the Trigger in the file --trigger on the events that are kept, so far back: 30m, 1h, 7d
    #[arg(long, value_name = "TIME", requires = "trigger", value_parser = parse_duration)]
    over: Option<Duration>,
    /// With --over: list at most this many matching events
    #[arg(long, value_name = "N", default_value_t = 20, requires = "over")]
    limit: usize,
}

const HELP: &str = "\
Examples:
  millrace explain --broker shop/default --id 4711
  millrace explain --broker shop/default --id 4711 --trigger shop/ship
  millrace explain -f mesh.yaml --event event.json
  millrace explain --trigger new.yaml --over 1h

Exit code 1: there is no such broker, trigger or event. An event that does not match is an answer: 0.";

/// Answers the question.
pub(crate) async fn explain(args: ExplainArgs, reach: Reach, output: Output) -> anyhow::Result<Exit> {
    if let (Some(over), Some(file)) = (args.over, &args.trigger) {
        let asked = over::Asked {
            file: file.into(),
            over,
            broker: args.broker,
            limit: args.limit,
        };
        return match AdminApi::new(&reach) {
            Ok(api) => over::explain(&api, asked, output).await,
            Err(exit) => Ok(exit),
        };
    }
    let trigger = match args.trigger.as_deref().map(parse_name).transpose() {
        Ok(trigger) => trigger,
        Err(message) => return Ok(usage(&format!("--trigger: {message}"))),
    };
    if let Some(event) = &args.event {
        let asked = offline::Asked {
            files: &args.files,
            event,
            broker: args.broker.as_ref(),
            trigger: trigger.as_ref(),
        };
        return offline::explain(&asked, output);
    }
    let Some(id) = args.id else {
        return Ok(usage("name the event with --id"));
    };
    let asked = online::Asked {
        broker: args.broker,
        id,
        source: args.source,
        position: args.position,
        trigger,
    };
    match AdminApi::new(&reach) {
        Ok(api) => online::explain(&api, &asked, output).await,
        Err(exit) => Ok(exit),
    }
}
