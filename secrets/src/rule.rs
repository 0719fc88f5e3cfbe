//! What the operator opened to documents: folders, prefixes of variables, and programs of a kubeconfig.

use std::path::{Path, PathBuf};

use millrace_model::NamedFile;

use crate::closed::{Closed, data_around};
use crate::error::{SecretError, shown, shown_path};
use crate::place::real;

/// What documents may name. Inert data; the command line makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRule {
    /// Folders below which documents may name files.
    pub folders: Vec<Folder>,
    /// Folders below which documents may never name files, whatever `folders` says: the data folder.
    pub data: Vec<PathBuf>,
    /// Files that documents may never name: those with the identity of this process in a cloud.
    pub identities: Vec<PathBuf>,
    /// Prefixes of the environment variables that documents may name.
    pub env_prefixes: Vec<String>,
    /// Whether a kubeconfig may run the program that it names as `exec`.
    pub allow_kubeconfig_exec: bool,
}

/// An open folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folder {
    /// The folder in which the document lies, unless that is the root of the file system.
    OfDocument,
    /// This one.
    At(PathBuf),
}

/// The prefix of variables unless the operator sets another one.
pub const ENV_PREFIX: &str = "MILLRACE_SECRET_";
/// Where container engines and Kubernetes mount secrets.
pub const RUN_SECRETS: &str = "/run/secrets";

/// The variables by which the operator says what is open.
const FLAGS: &[&str] = &["MILLRACE_SECRET_DIR", "MILLRACE_SECRET_ENV_PREFIX"];

// === impl SecretRule ===

impl Default for SecretRule {
    /// The document's folder and `/run/secrets`; variables that begin with [`ENV_PREFIX`]; no program.
    fn default() -> Self {
        Self {
            folders: vec![Folder::OfDocument, Folder::At(RUN_SECRETS.into())],
            data: Vec::new(),
            identities: Vec::new(),
            env_prefixes: vec![ENV_PREFIX.to_owned()],
            allow_kubeconfig_exec: false,
        }
    }
}

impl SecretRule {
    /// Whether a document may name this variable.
    pub(crate) fn judge_variable(&self, name: &str) -> Result<(), SecretError> {
        if FLAGS.contains(&name) {
            return Err(SecretError::Flag(shown(name)));
        }
        if self.env_prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            return Ok(());
        }
        Err(SecretError::Variable {
            name: shown(name),
            open: self.env_prefixes.join(", "),
        })
    }

    /// Whether a document may name a file at `place`, a path without links.
    pub(crate) fn judge_place(&self, named: &NamedFile, place: &Path) -> Result<(), SecretError> {
        let closed = |owner| SecretError::Closed {
            file: shown_path(&named.path),
            owner,
        };
        if let Some(owner) = (Closed { rule: self }).owner_of(named, place) {
            return Err(closed(owner));
        }
        let open: Vec<PathBuf> = self
            .folders
            .iter()
            .filter_map(|folder| folder.place(named))
            .collect();
        let is_open = |folder: &PathBuf| place != folder && place.starts_with(folder);
        if open.iter().any(is_open) {
            // Looked at only in open places: elsewhere the result would reveal what exists there.
            return data_around(place).map_or(Ok(()), |owner| Err(closed(owner)));
        }
        let open: Vec<String> = open.iter().map(|folder| shown_path(folder)).collect();
        Err(SecretError::Outside {
            file: shown_path(&named.path),
            open: if open.is_empty() {
                "none is open".to_owned()
            } else {
                open.join(", ")
            },
        })
    }
}

// === impl Folder ===

impl Folder {
    /// Where it is now, without links.
    fn place(&self, named: &NamedFile) -> Option<PathBuf> {
        match self {
            Self::At(folder) => Some(real(folder)),
            Self::OfDocument => Some(real(&named.folder)).filter(|folder| folder.parent().is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> NamedFile {
        NamedFile {
            path: path.into(),
            folder: "/etc/millrace".into(),
        }
    }

    fn verdict(rule: &SecretRule, path: &str) -> String {
        match rule.judge_place(&named(path), Path::new(path)) {
            Ok(()) => "open".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_lies_below_an_open_folder_is_open_and_nothing_beside_it() {
        let rule = SecretRule::default();
        for (path, is_open) in [
            ("/etc/millrace/hook", true),
            ("/etc/millrace/deep/er/hook", true),
            ("/run/secrets/hook", true),
            ("/etc/millrace", false),
            ("/etc/millrace-other/hook", false),
            ("/etc/hook", false),
            ("/run/secretsx/hook", false),
            ("/", false),
            ("pipe:[123]", false),
        ] {
            let said = verdict(&rule, path);
            assert_eq!(said == "open", is_open, "{path}: {said}");
            assert!(is_open || said.contains("--secret-dir"), "{said}");
        }
    }

    #[test]
    fn some_places_are_never_open() {
        let rule = SecretRule {
            folders: vec![Folder::At("/".into())],
            data: vec!["/var/lib/millrace".into()],
            identities: vec!["/etc/cloud/token".into()],
            ..SecretRule::default()
        };
        for path in [
            "/etc/hook",
            "/run/secrets/hook",
            "/run/secrets/deep/hook",
            "/etc/cloud/hook",
        ] {
            assert_eq!(verdict(&rule, path), "open", "{path}");
        }
        for (path, owner) in [
            ("/var/lib/millrace/brokers/a/state.db", "the data folder"),
            ("/proc/self/environ", "the kernel"),
            ("/sys/kernel/notes", "the kernel"),
            ("/etc/cloud/token", "an identity of this process"),
        ] {
            let said = verdict(&rule, path);
            assert!(said.contains(owner) && said.contains("no flag"), "{path}: {said}");
        }
        for below in [
            "kubernetes.io/serviceaccount/token",
            "kubernetes.io/serviceaccount/..data/token",
            "eks.amazonaws.com/serviceaccount/token",
            "openshift/serviceaccount/token",
            "sts.googleapis.com/serviceaccount/token",
            "serviceaccount/token",
            "workload-spiffe-credentials/private_key.pem",
            "azure/tokens/azure-identity-token",
            "tokens/istio-token",
            "etc-pki-entitlement/1-key.pem",
        ] {
            for root in ["/run/secrets", "/var/run/secrets"] {
                let said = verdict(&rule, &format!("{root}/{below}"));
                assert!(
                    said.contains("belongs to") && said.contains("no flag"),
                    "{below}: {said}"
                );
            }
        }
    }

    #[test]
    fn the_data_folder_of_another_role_is_not_open_either() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().canonicalize().expect("it is there");
        for (below, format) in [
            ("data/brokers/a", "millrace data 1\n"),
            ("other", "millrace nothing\n"),
        ] {
            std::fs::create_dir_all(home.join(below)).expect("made");
            let top = Path::new(below).components().next().expect("one");
            std::fs::write(home.join(top).join("FORMAT"), format).expect("written");
        }
        let rule = SecretRule::default();
        let verdict = |path: &str| {
            let named = NamedFile {
                path: home.join(path),
                folder: home.clone(),
            };
            rule.judge_place(&named, &named.path)
                .map_err(|error| error.to_string())
        };
        for path in [
            "data/FORMAT",
            "data/state.db",
            "data/brokers/a/state.db",
            "data/none",
        ] {
            let error = verdict(path).expect_err(path);
            assert!(error.contains("the data folder of Millrace"), "{path}: {error}");
        }
        for path in ["hook", "other/hook", "other/FORMAT"] {
            assert_eq!(verdict(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn the_root_of_the_file_system_is_no_documents_folder() {
        let named = NamedFile {
            path: "/etc/passwd".into(),
            folder: "/".into(),
        };
        let error = SecretRule::default()
            .judge_place(&named, Path::new("/etc/passwd"))
            .expect_err("a document in / does not open everything");
        assert!(error.to_string().contains("(/run/secrets)"), "{error}");
    }

    #[test]
    fn a_variable_is_open_by_its_beginning() {
        let rule = SecretRule::default();
        assert!(rule.judge_variable("MILLRACE_SECRET_HOOK").is_ok());
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "millrace_secret_hook",
            "XMILLRACE_SECRET_A",
            "",
        ] {
            let error = rule.judge_variable(name).expect_err(name).to_string();
            assert!(
                error.contains("--secret-env-prefix") && error.contains("MILLRACE_SECRET_"),
                "{error}"
            );
        }
        for name in FLAGS {
            let error = rule.judge_variable(name).expect_err(name);
            assert!(
                error.is_refusal() && error.to_string().contains("a flag of Millrace"),
                "{error}"
            );
        }
    }
}
