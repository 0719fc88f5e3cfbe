//! `millrace backup`: a copy of a data folder on the same machine, also while a process is using it.

use std::path::PathBuf;

use clap::Args;
use millrace_channel::embedded;

use crate::cli::exit::Exit;
use crate::cli::out::{self, Output, count};

/// `millrace backup`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BackupArgs {
    /// The data folder to copy; a process may be using it
    #[arg(
        long,
        value_name = "DATA",
        env = "MILLRACE_DATA",
        default_value = "./millrace-data"
    )]
    data: PathBuf,
    /// The folder to make; it must not exist, or be empty. On the same file system it takes little room:
    /// files that never change are linked
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Copies the folder and prints what the copy holds.
pub(crate) fn backup(args: &BackupArgs, output: Output) -> anyhow::Result<Exit> {
    let report = embedded::backup(&args.data, &args.dir)?;
    match output {
        Output::Json => out::json(&serde_json::json!({
            "dir": args.dir.display().to_string(),
            "brokers": report.brokers,
            "linkedSegments": report.linked_segments,
            "copiedSegments": report.copied_segments,
            "copiedBytes": report.copied_bytes,
        })),
        Output::Table => out::data(&format!(
            "{}: {}, {} linked and {} copied, {} copied in all",
            args.dir.display(),
            count(report.brokers, "Broker"),
            count(report.linked_segments, "segment"),
            report.copied_segments,
            count(report.copied_bytes, "byte")
        )),
    }
    Ok(Exit::Ok)
}
