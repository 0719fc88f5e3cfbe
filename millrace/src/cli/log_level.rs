//! `millrace log-level`: shows what a running Millrace logs, and changes it without a restart.

use clap::Args;

use crate::cli::admin::{AdminApi, NotDone, cell};
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output};
use crate::cli::reach::Reach;

/// `millrace log-level`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogLevelArgs {
    /// What is logged from now on until the process ends, as in MILLRACE_LOG: a level (off, error, warn,
    /// info, debug, trace), or one for each module: info,millrace_delivery=debug
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

/// Shows the filter, after it was changed where one is given.
pub(crate) async fn log_level(args: LogLevelArgs, reach: Reach, output: Output) -> anyhow::Result<Exit> {
    let api = match AdminApi::new(&reach) {
        Ok(api) => api,
        Err(exit) => return Ok(exit),
    };
    let shown = show(&api, args.filter, output).await;
    Ok(shown.unwrap_or_else(|refused| refused.report()))
}

async fn show(api: &AdminApi, filter: Option<String>, output: Output) -> Result<Exit, NotDone> {
    let answer = match filter {
        Some(filter) => api.put("log-level", filter).await?,
        None => api.get("log-level").await?,
    };
    match output {
        Output::Json => out::json(&answer),
        Output::Table => out::data(&cell(&answer["filter"])),
    }
    Ok(Exit::Ok)
}
