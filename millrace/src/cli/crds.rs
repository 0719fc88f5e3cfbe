//! `millrace crds`: the custom resource definitions and admission policies of this version, to be applied to
//! a cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use millrace_crds::{Manifest, manifests, reference};
use serde_json::json;

use super::usage;
use crate::cli::exit::Exit;
use crate::cli::out::{self, Output, count};

/// `millrace crds`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CrdsArgs {
    /// The manifests to print: the plural of a kind, or `policies/NAME`; all kinds if there is none
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Write each manifest to a file below this folder, which is created; all of them if none is named
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Print the reference of all fields instead, as Markdown
    #[arg(long, conflicts_with_all = ["names", "into"])]
    reference: bool,
}

/// Prints or writes manifests.
pub(crate) fn crds(args: &CrdsArgs, output: Output) -> anyhow::Result<Exit> {
    if args.reference {
        out::data(reference().trim_end());
        return Ok(Exit::Ok);
    }
    let all = manifests();
    let is_known = |name: &&String| all.iter().any(|manifest| self::name(manifest) == **name);
    if let Some(strange) = args.names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = all.iter().map(name).collect();
        return Ok(usage(&format!(
            "there is no manifest `{strange}`; there are {}",
            known.join(", ")
        )));
    }
    let is_wanted = |manifest: &&Manifest| match &args.names[..] {
        [] => args.into.is_some() || manifest.is_kind(),
        names => names.iter().any(|name| self::name(manifest) == name),
    };
    let wanted: Vec<&Manifest> = all.iter().filter(is_wanted).collect();
    match &args.into {
        Some(folder) => write(folder, &wanted)?,
        None => print(&wanted, output),
    }
    Ok(Exit::Ok)
}

/// How a manifest is called on the command line.
fn name(manifest: &Manifest) -> &str {
    manifest.path.strip_suffix(".yaml").unwrap_or(&manifest.path)
}

fn print(manifests: &[&Manifest], output: Output) {
    match output {
        Output::Table => {
            let texts: Vec<String> = manifests.iter().map(|manifest| manifest.yaml()).collect();
            out::data(texts.join("---\n").trim_end());
        }
        Output::Json => {
            let objects: Vec<_> = manifests.iter().flat_map(|manifest| &manifest.objects).collect();
            out::json(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
        }
    }
}

fn write(folder: &Path, manifests: &[&Manifest]) -> anyhow::Result<()> {
    for manifest in manifests {
        let file = folder.join(&manifest.path);
        let at = || file.display().to_string();
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(at)?;
        }
        fs::write(&file, manifest.yaml()).with_context(at)?;
    }
    out::remark(&format!(
        "wrote {} to {}",
        count(manifests.len(), "file"),
        folder.display()
    ));
    Ok(())
}
