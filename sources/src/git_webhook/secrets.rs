//! The secrets as they are now. Those in files may be replaced while the source runs.

use millrace_model::source::GitWebhook;
use millrace_model::{Octets, Secret};
use millrace_secrets::SecretReader;

use super::flaw::secret_flaw;

/// What was found of a source's secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct FoundSecrets {
    /// Each secret of the document, if it can be used; none of them is empty.
    each: Vec<Option<Octets>>,
    /// A sentence for each secret that cannot be used, or whose earlier value is used.
    pub(super) missing: Vec<String>,
}

/// Whether any of the secrets may be another one later.
pub(super) fn may_change(secrets: &[Secret]) -> bool {
    secrets.iter().any(|secret| matches!(secret, Secret::File(_)))
}

// === impl FoundSecrets ===

impl FoundSecrets {
    /// The secrets that can be used.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Octets> {
        self.each.iter().flatten()
    }
}

/// Finds the secrets of a source. One that cannot be read now keeps its value from `before`: if a genuine
/// call were refused as forged, the forge would not repeat it.
pub(super) async fn find(spec: &GitWebhook, reader: &SecretReader, before: &FoundSecrets) -> FoundSecrets {
    let mut found = FoundSecrets::default();
    for (index, secret) in spec.secrets.iter().enumerate() {
        let secret = match reader.secret(secret).await {
            Ok(secret) if secret.is_empty() => Err("a secret is empty".to_owned()),
            Ok(secret) => match secret_flaw(spec.forge, &spec.verification, &secret) {
                Some(flaw) => Err(flaw.to_owned()),
                None => Ok(secret),
            },
            Err(error) => match before.each.get(index) {
                Some(Some(known)) if error.is_passing() => {
                    found
                        .missing
                        .push(format!("{error}; it is used as it was read before"));
                    Ok(known.clone())
                }
                _ => Err(error.to_string()),
            },
        };
        found
            .each
            .push(secret.map_err(|why| found.missing.push(why)).ok());
    }
    found
}

impl std::fmt::Debug for FoundSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundSecrets")
            .field("secrets", &self.secrets().count())
            .field("missing", &self.missing)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use millrace_model::source::git_webhook::{EventFields, Forge, Mapping, Verification};
    use millrace_model::{MissingSecret, NamedFile, NoSecret, ObjectName};
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
        let spec = spec(vec![
            file("empty"),
            file("gone"),
            file("../outside"),
            Secret::Env("PATH".to_owned()),
            Secret::Missing(MissingSecret {
                secret: ObjectName::new("shop", "s"),
                key: "k".to_owned(),
                why: NoSecret::NotFound,
            }),
            Secret::Value(b"good".as_slice().into()),
        ]);
        let found = find(
            &spec,
            &SecretReader::new(SecretRule::default()),
            &FoundSecrets::default(),
        )
        .await;
        assert_eq!(octets(&found), [b"good"]);
        assert_eq!(found.missing.len(), 5, "{found:?}");
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_now_stays_what_it_was_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| {
            Secret::File(NamedFile {
                path: folder.path().join(name),
                folder: folder.path().to_owned(),
            })
        };
        let path = folder.path().join("old");
        let spec = spec(vec![named("old"), named("new")]);
        let reader = SecretReader::new(SecretRule::default());
        fs::write(&path, "old").unwrap();
        fs::write(folder.path().join("new"), "new").unwrap();
        let found = find(&spec, &reader, &FoundSecrets::default()).await;
        assert_eq!(octets(&found), [b"old", b"new"]);

        // A name too long for the file system tells nothing about the file: it is neither refused nor
        // missing.
        fs::remove_file(&path).unwrap();
        symlink("x".repeat(300), &path).unwrap();
        let unreadable = find(&spec, &reader, &found).await;
        assert_eq!(octets(&unreadable), [b"old", b"new"]);
        assert!(
            unreadable.missing[0].ends_with("as it was read before"),
            "{unreadable:?}"
        );
        assert_eq!(
            octets(&find(&spec, &reader, &FoundSecrets::default()).await),
            [b"new"]
        );

        // First it is gone, then it is refused.
        fs::remove_file(&path).unwrap();
        for refused in [false, true] {
            if refused {
                symlink("/etc/passwd", &path).unwrap();
            }
            let gone = find(&spec, &reader, &unreadable).await;
            assert_eq!(octets(&gone), [b"new"], "{gone:?}");
            assert_eq!(gone.missing.len(), 1, "{gone:?}");
        }
    }

    fn octets(found: &FoundSecrets) -> Vec<&[u8]> {
        found.secrets().map(|secret| &**secret).collect()
    }

    fn spec(secrets: Vec<Secret>) -> GitWebhook {
        GitWebhook {
            forge: Forge::Github,
            verification: Verification::Forge,
            secrets,
            mapping: Mapping::default(),
            requests_per_second: 1,
            event: EventFields::default(),
        }
    }
}
