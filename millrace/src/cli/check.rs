//! `millrace check`: everything that is wrong with documents, as `run` would see them.

use std::path::PathBuf;

use clap::Args;
use millrace_crds::{Loaded, Named, Reference, load, read};
use millrace_secrets::SecretReader;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::opened::OpenedArgs;
use crate::cli::out::{self, Output, count};

/// `millrace check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// A file or folder of documents; repeat it for more; `-` is the standard input
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    opened: OpenedArgs,
}

/// The result of looking at something that a document names.
enum Looked {
    /// A source can use it, or could on another machine that has it.
    Fine,
    /// No source on any machine may or can use it.
    Refused(String),
    /// It does not exist on this machine.
    NotHere(String),
}

/// Checks the documents and says what is wrong with them.
pub(crate) async fn check(args: &CheckArgs, output: Output) -> Exit {
    let (files, mut loaded) = match read(&args.files) {
        Ok(inputs) => (inputs.len(), load(&inputs)),
        Err(error) => (
            0,
            Loaded {
                problems: error.problems,
                ..Loaded::default()
            },
        ),
    };
    look_at_references(&mut loaded, &SecretReader::new(args.opened.rule(Vec::new()))).await;
    let valid = loaded.mesh.as_ref().filter(|_| loaded.problems.is_empty());
    match output {
        Output::Table => show(files, &loaded),
        Output::Json => out::json(&json!({
            "valid": valid.is_some(),
            "files": files,
            "brokers": valid.map(|mesh| mesh.brokers.len()),
            "triggers": valid.map(|mesh| mesh.triggers.len()),
            "sources": valid.map(|mesh| mesh.sources.len()),
            "problems": loaded.problems,
            "remarks": loaded.remarks,
        })),
    }
    if valid.is_some() { Exit::Ok } else { Exit::Invalid }
}

/// Adds what is wrong with the files and variables that the documents name. `run` does not refuse documents
/// for that: only the source that names them does not run.
async fn look_at_references(loaded: &mut Loaded, secrets: &SecretReader) {
    for reference in std::mem::take(&mut loaded.references) {
        match look(&reference, secrets).await {
            Looked::Fine => {}
            Looked::Refused(why) => loaded.problems.push(reference.refused(why)),
            Looked::NotHere(why) => loaded.remarks.push(reference.remark(why)),
        }
    }
}

async fn look(reference: &Reference, secrets: &SecretReader) -> Looked {
    let (why, is_refusal) = match &reference.named {
        Named::Secret(secret) => match secrets.judge(secret).await {
            Ok(()) => return Looked::Fine,
            Err(error) => (error.to_string(), error.is_refusal()),
        },
        #[cfg(feature = "kubernetes")]
        Named::Kubeconfig(file) => match millrace_sources::check_kubeconfig(file, secrets).await {
            Ok(()) => return Looked::Fine,
            Err(error) => (error.to_string(), error.is_refusal()),
        },
        #[cfg(not(feature = "kubernetes"))]
        Named::Kubeconfig(_) => return Looked::Fine,
    };
    if is_refusal {
        Looked::Refused(why)
    } else {
        Looked::NotHere(why)
    }
}

fn show(files: usize, loaded: &Loaded) {
    for remark in &loaded.remarks {
        out::remark(&format!("{remark} (warning)"));
    }
    for problem in &loaded.problems {
        out::remark(&problem.to_string());
    }
    let Some(mesh) = loaded.mesh.as_ref().filter(|_| loaded.problems.is_empty()) else {
        let problems = count(loaded.problems.len() as u64, "problem");
        out::remark(&match loaded.mesh {
            None => format!("{problems}: nothing of it is valid until they are mended"),
            Some(_) => format!("{problems}: the rest would be served, but not the sources named here"),
        });
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
        count(mesh.brokers.len() as u64, "Broker"),
        count(mesh.triggers.len() as u64, "Trigger"),
    ];
    if !mesh.sources.is_empty() {
        kinds.push(count(mesh.sources.len() as u64, "source"));
    }
    out::data(&format!(
        "valid: {} in {}",
        kinds.join(", "),
        count(files as u64, "file")
    ));
}
