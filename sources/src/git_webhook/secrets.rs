//! The secrets as they are now. Those in files may be replaced while the source runs.

use millrace_model::Secret;
use millrace_model::source::GitWebhook;
use millrace_secrets::SecretReader;

/// What was found of a source's secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Those that can be used; none is empty.
    pub(super) secrets: Vec<Box<[u8]>>,
    /// A sentence for each that cannot.
    pub(super) missing: Vec<String>,
}

/// Whether any of the secrets may be another one later.
pub(super) fn may_change(secrets: &[Secret]) -> bool {
    secrets.iter().any(|secret| matches!(secret, Secret::File(_)))
}

/// Finds the secrets of a source.
pub(super) async fn find(spec: &GitWebhook, reader: &SecretReader) -> Found {
    let mut found = Found::default();
    for secret in &spec.secrets {
        match reader.secret(secret).await {
            Ok(secret) if secret.is_empty() => found.missing.push("a secret is empty".to_owned()),
            Ok(secret) => found.secrets.push(secret),
            Err(error) => found.missing.push(error.to_string()),
        }
    }
    found
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found")
            .field("secrets", &self.secrets.len())
            .field("missing", &self.missing)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::NamedFile;
    use millrace_model::source::git_webhook::{EventFields, Forge, Mapping, Verification};
    use millrace_secrets::SecretRule;

    use super::*;

    #[tokio::test]
    async fn what_is_no_secret_is_told_and_the_others_count() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            Secret::File(NamedFile {
                path: folder.path().join(name),
                folder: folder.path().to_owned(),
            })
        };
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        let spec = GitWebhook {
            forge: Forge::Github,
            verification: Verification::Forge,
            secrets: vec![
                file("empty"),
                file("gone"),
                file("../outside"),
                Secret::Env("PATH".to_owned()),
                Secret::Missing("there is no Secret".to_owned()),
                Secret::Value(b"good".as_slice().into()),
            ],
            mapping: Mapping::default(),
            requests_per_second: 1,
            event: EventFields::default(),
        };
        let found = find(&spec, &SecretReader::new(SecretRule::default())).await;
        assert_eq!(found.secrets, [b"good".as_slice().into()]);
        assert_eq!(found.missing.len(), 5, "{found:?}");
    }
}
