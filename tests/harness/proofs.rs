//! Deliveries that prove who sends them: where that is said, and what it is made of.

use std::fs;
use std::path::Path;

use crate::Mesh;
use crate::documents::Documents;
use crate::mesh::Setup;

/// Says what a Trigger shows to its subscriber.
pub const SUBSCRIBER: &str = "millrace.dev/subscriber-auth";
/// Says what a Trigger or Broker shows to its dead-letter sink.
pub const DEAD_LETTER: &str = "millrace.dev/dead-letter-auth";

/// A mesh with these documents, which may name files of the folder.
///
/// # Errors
/// When it does not become ready.
pub async fn mesh(documents: &Documents, folder: &Path) -> anyhow::Result<Mesh> {
    let setup = Setup::new(documents.text())?.secret_dir(folder);
    setup.start().await
}

/// A file with a secret, as a document names it.
///
/// # Errors
/// When it cannot be written.
pub fn secret(folder: &Path, name: &str, value: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    fs::write(&path, value)?;
    Ok(format!("{{file: {}}}", path.display()))
}
