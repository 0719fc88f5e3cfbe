//! The secrets as they are now. Those in files may be replaced while the source runs.

use millrace_model::Secret;
use millrace_model::source::GitWebhook;

use crate::secret::octets;

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
pub(super) async fn find(spec: &GitWebhook) -> Found {
    let secrets = spec.secrets.clone();
    if !may_change(&secrets) {
        return find_all(&secrets);
    }
    let read = tokio::task::spawn_blocking(move || find_all(&secrets)).await;
    read.unwrap_or_else(|error| Found {
        secrets: Vec::new(),
        missing: vec![format!("the secrets cannot be read: {error}")],
    })
}

fn find_all(secrets: &[Secret]) -> Found {
    let mut found = Found::default();
    for secret in secrets {
        match octets(secret) {
            Ok(secret) if secret.is_empty() => found.missing.push("a secret is empty".to_owned()),
            Ok(secret) => found.secrets.push(secret),
            Err(why) => found.missing.push(why),
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
    use super::*;

    #[test]
    fn a_secret_in_a_file_has_no_line_break_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hook");
        for (content, expected) in [("a b\n", "a b"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a")] {
            std::fs::write(&path, content).unwrap();
            let found = find_all(&[Secret::File(path.clone())]);
            assert_eq!(found.secrets, [expected.as_bytes().into()], "{content:?}");
        }
    }

    #[test]
    fn what_is_no_secret_is_told_and_the_others_count() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, large) = (folder.path().join("empty"), folder.path().join("large"));
        std::fs::write(&empty, "\n").unwrap();
        std::fs::write(&large, vec![b'x'; 65 * 1024]).unwrap();
        let found = find_all(&[
            Secret::File(empty),
            Secret::File(large),
            Secret::File(folder.path().join("gone")),
            Secret::Env("MILLRACE_TEST_NO_SUCH_VARIABLE".to_owned()),
            Secret::Missing("there is no Secret".to_owned()),
            Secret::Value(b"good".as_slice().into()),
        ]);
        assert_eq!(found.secrets, [b"good".as_slice().into()]);
        assert_eq!(found.missing.len(), 5, "{found:?}");
    }
}
