//! The flags that say what documents may name: files, variables and programs. `run`, `sources` and `check`
//! share them.

use std::path::PathBuf;

use clap::Args;
use millrace_secrets::{Folder, SecretRule, rule};

/// What documents may name.
#[derive(Args, Clone, Debug)]
pub(crate) struct OpenedArgs {
    /// A folder below which documents may name files, instead of the default folders: the document's own
    /// folder, /run/secrets and $CREDENTIALS_DIRECTORY. Repeat it, or separate folders by commas
    #[arg(long, value_name = "DIR", env = "MILLRACE_SECRET_DIR", value_delimiter = ',')]
    secret_dir: Vec<PathBuf>,
    /// The prefix of environment variables that documents may name. Repeat it, or separate prefixes by commas
    #[arg(
        long,
        value_name = "PREFIX",
        env = "MILLRACE_SECRET_ENV_PREFIX",
        value_delimiter = ',',
        default_value = rule::ENV_PREFIX,
        value_parser = parse_prefix
    )]
    secret_env_prefix: Vec<String>,
    /// Let a kubeconfig that a document names run its credentials program (`exec`)
    #[arg(long)]
    allow_kubeconfig_exec: bool,
}

/// The variables that name files with the identity of this process in a cloud.
const IDENTITIES: &[&str] = &[
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AZURE_FEDERATED_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
];
/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

// === impl OpenedArgs ===

impl OpenedArgs {
    /// The rule from these flags; the given data folders are never open.
    pub(crate) fn rule(&self, data: Vec<PathBuf>) -> SecretRule {
        let is_given = |folder: &&PathBuf| !folder.as_os_str().is_empty();
        let given: Vec<Folder> = self
            .secret_dir
            .iter()
            .filter(is_given)
            .cloned()
            .map(Folder::At)
            .collect();
        SecretRule {
            folders: if given.is_empty() { usual() } else { given },
            data,
            identities: identities(),
            env_prefixes: self.secret_env_prefix.clone(),
            allow_kubeconfig_exec: self.allow_kubeconfig_exec,
        }
    }
}

/// The folders that are open by default.
fn usual() -> Vec<Folder> {
    let credentials = std::env::var_os(CREDENTIALS).map(PathBuf::from);
    // A relative path would depend on where Millrace is started.
    let credentials = credentials.filter(|folder| folder.is_absolute());
    SecretRule::default()
        .folders
        .into_iter()
        .chain(credentials.map(Folder::At))
        .collect()
}

/// The files with the identity of this process in a cloud. An empty variable names none.
fn identities() -> Vec<PathBuf> {
    let named = IDENTITIES.iter().filter_map(std::env::var_os);
    named.filter(|file| !file.is_empty()).map(PathBuf::from).collect()
}

/// An empty prefix would open the whole environment: refused, since a variable may be left empty by mistake.
fn parse_prefix(text: &str) -> Result<String, String> {
    let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    if text.is_empty() || !text.bytes().all(is_name) {
        return Err(
            "the beginning of a variable's name is expected, for example MILLRACE_SECRET_".to_owned(),
        );
    }
    Ok(text.to_owned())
}
