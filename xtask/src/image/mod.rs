//! `image`: the container image as an archive, made without Docker.
//!
//! [`root`] gathers what is in it: the binary, the libraries that it loads, certificates and the user.
//! [`archive`] makes one layer of that, and an archive that Docker, containerd and Podman load. The same
//! files give the same bytes: names are sorted, and times and owners are fixed.

mod archive;
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use self::archive::Config;
use crate::steps::succeed;
use crate::tree;

const USAGE: &str = "\
cargo xtask image [options]

  --binary FILE   put this one into the image instead of building what is shipped
  --output FILE   where the archive goes [target/image/millrace-VERSION-ARCH.tar]
  --name NAME     the image's full name [docker.io/library/millrace:VERSION, which is `millrace:VERSION` for short]
";

/// With which the binary is built: that of what is shipped.
const PROFILE: &str = "dist";

/// Where the binary lies in the image.
const PROGRAM: &str = "usr/local/bin/millrace";

/// What is asked for.
#[derive(Debug, Default)]
struct Options {
    binary: Option<PathBuf>,
    output: Option<PathBuf>,
    name: Option<String>,
}

/// Makes the archive, and says where it is.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let Some(options) = Options::read(args)? else {
        print!("{USAGE}");
        return Ok(());
    };
    let checkout = tree::root()?;
    let work = checkout.join("target/image");
    let version = version(&checkout)?;
    let binary = match options.binary {
        Some(binary) => binary,
        None => built(&checkout)?,
    };
    let output = options
        .output
        .unwrap_or_else(|| work.join(format!("millrace-{version}-{}.tar", archive::architecture())));
    let name = options
        .name
        .unwrap_or_else(|| format!("docker.io/library/millrace:{version}"));
    make(&binary, &version, &name, &output)?;
    println!("{name}\n{}", output.display());
    Ok(())
}

/// The image `name` of this binary, as the file `output`.
fn make(binary: &Path, version: &str, name: &str, output: &Path) -> anyhow::Result<()> {
    let folder = output.parent().context("an archive lies in a folder")?;
    fs::create_dir_all(folder)?;
    // Beside the archive, which takes its place at once when it is whole.
    let work = folder.join(format!(".image.{}", std::process::id()));
    let made = make_in(&work, binary, version, name)
        .and_then(|archive| fs::rename(&archive, output).with_context(|| output.display().to_string()));
    // What is left helps nobody; the error that counts is the first one.
    let _ = fs::remove_dir_all(&work);
    made
}

fn make_in(work: &Path, binary: &Path, version: &str, name: &str) -> anyhow::Result<PathBuf> {
    let root = work.join("root");
    fs::create_dir_all(&root)?;
    root::fill(&root, binary, PROGRAM)?;
    archive::make(
        work,
        &root,
        &Config {
            program: format!("/{PROGRAM}"),
            version,
            name,
            user: root::USER,
        },
    )
}

/// Builds what is shipped.
fn built(checkout: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .current_dir(checkout)
        .args(["build", "--locked", "--profile", PROFILE, "--package", "millrace"]);
    succeed(&mut build)?;
    Ok(checkout.join("target").join(PROFILE).join("millrace"))
}

/// The version of the workspace.
pub(crate) fn version(checkout: &Path) -> anyhow::Result<String> {
    let manifest = fs::read_to_string(checkout.join("Cargo.toml"))?;
    let line = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    Ok(version
        .context("the workspace's Cargo.toml names a version")?
        .to_owned())
}

// === impl Options ===

impl Options {
    /// `None` when only help is asked for.
    fn read(args: &[String]) -> anyhow::Result<Option<Self>> {
        let mut options = Self::default();
        let mut rest = args.iter();
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--binary" => options.binary = Some(value()?.into()),
                "--output" => options.output = Some(value()?.into()),
                "--name" => options.name = Some(value()?.clone()),
                "--help" | "-h" => return Ok(None),
                _ => bail!("no such option: {flag}\n{USAGE}"),
            }
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests;
