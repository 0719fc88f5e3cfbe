//! `millrace check`: everything that is wrong with documents, as `run` would see them.

use std::path::PathBuf;

use clap::Args;
use millrace_crds::{Loaded, load, read};
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::out::{self, Output};

/// `millrace check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// A file or folder of documents; repeat it for more; `-` is the standard input
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
}

/// Checks the documents and says what is wrong with them.
pub(crate) fn check(args: &CheckArgs, output: Output) -> Exit {
    let (files, loaded) = match read(&args.files) {
        Ok(inputs) => (inputs.len(), load(&inputs)),
        Err(error) => (
            0,
            Loaded {
                problems: error.problems,
                ..Loaded::default()
            },
        ),
    };
    match output {
        Output::Table => show(files, &loaded),
        Output::Json => out::json(&json!({
            "valid": loaded.mesh.is_some(),
            "files": files,
            "brokers": loaded.mesh.as_ref().map(|mesh| mesh.brokers.len()),
            "triggers": loaded.mesh.as_ref().map(|mesh| mesh.triggers.len()),
            "sources": loaded.mesh.as_ref().map(|mesh| mesh.sources.len()),
            "problems": loaded.problems,
            "remarks": loaded.remarks,
        })),
    }
    if loaded.mesh.is_some() {
        Exit::Ok
    } else {
        Exit::Invalid
    }
}

fn show(files: usize, loaded: &Loaded) {
    for remark in &loaded.remarks {
        out::remark(&format!("{remark} (warning)"));
    }
    for problem in &loaded.problems {
        out::remark(&problem.to_string());
    }
    let Some(mesh) = &loaded.mesh else {
        out::remark(&format!(
            "{}: nothing of it is valid until they are mended",
            count(loaded.problems.len(), "problem")
        ));
        return;
    };
    if mesh.brokers.is_empty() {
        let but = if mesh.sources.is_empty() {
            ""
        } else {
            "; `millrace sources` does not"
        };
        out::remark(&format!(
            "there is no Broker in these documents: `millrace run` needs one{but} (warning)"
        ));
    }
    let mut kinds = vec![
        count(mesh.brokers.len(), "Broker"),
        count(mesh.triggers.len(), "Trigger"),
    ];
    if !mesh.sources.is_empty() {
        kinds.push(count(mesh.sources.len(), "source"));
    }
    out::data(&format!(
        "valid: {} in {}",
        kinds.join(", "),
        count(files, "file")
    ));
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
