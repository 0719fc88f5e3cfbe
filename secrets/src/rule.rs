//! What the operator opened to documents: folders, beginnings of variables' names, programs of a kubeconfig.

use std::path::{Component, Path, PathBuf};

use millrace_model::NamedFile;

use crate::error::{SecretError, shown, shown_path};

/// What documents may name. Inert data; the command line makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRule {
    /// Folders below which documents may name files.
    pub folders: Vec<Folder>,
    /// Folders below which they never may, whatever `folders` says: the data folder.
    pub data: Vec<PathBuf>,
    /// What the names of variables that documents may name begin with.
    pub env_prefixes: Vec<String>,
    /// Whether a kubeconfig may run the program that it names as `exec`.
    pub allow_kubeconfig_exec: bool,
}

/// An open folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folder {
    /// The folder in which the document lies; the root of the file system is none.
    OfDocument,
    /// This one.
    At(PathBuf),
}

/// What the names of variables begin with unless the operator says otherwise.
pub const ENV_PREFIX: &str = "MILLRACE_SECRET_";
/// Where container engines and Kubernetes mount secrets.
pub const RUN_SECRETS: &str = "/run/secrets";

/// Where Kubernetes and clouds put the tokens of a pod's own service account. `/var/run` is `/run` on most systems, and
/// `/run/secrets` is open.
const SERVICE_ACCOUNTS: &[&str] = &[
    "/run/secrets/kubernetes.io",
    "/run/secrets/eks.amazonaws.com",
    "/run/secrets/pods.eks.amazonaws.com",
    "/run/secrets/azure/tokens",
    "/run/secrets/tokens",
    "/var/run/secrets/kubernetes.io",
    "/var/run/secrets/eks.amazonaws.com",
    "/var/run/secrets/pods.eks.amazonaws.com",
    "/var/run/secrets/azure/tokens",
    "/var/run/secrets/tokens",
];
/// Where the kernel shows itself and processes as regular files.
const KERNEL: &[&str] = &["/proc", "/sys"];

// === impl SecretRule ===

impl Default for SecretRule {
    /// The document's folder and `/run/secrets`; variables that begin with [`ENV_PREFIX`]; no program.
    fn default() -> Self {
        Self {
            folders: vec![Folder::OfDocument, Folder::At(RUN_SECRETS.into())],
            data: Vec::new(),
            env_prefixes: vec![ENV_PREFIX.to_owned()],
            allow_kubeconfig_exec: false,
        }
    }
}

impl SecretRule {
    /// Whether a document may name this variable.
    pub(crate) fn judge_variable(&self, name: &str) -> Result<(), SecretError> {
        if self.env_prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            return Ok(());
        }
        Err(SecretError::Variable {
            name: shown(name),
            open: self.env_prefixes.join(", "),
        })
    }

    /// Whether a document may name a file that lies at `place`, where no link is left.
    pub(crate) fn judge_place(&self, named: &NamedFile, place: &Path) -> Result<(), SecretError> {
        if let Some(owner) = self.owner(place) {
            return Err(SecretError::Closed {
                file: leading(named, place),
                owner,
            });
        }
        let open: Vec<PathBuf> = self
            .folders
            .iter()
            .filter_map(|folder| folder.place(named))
            .collect();
        if open
            .iter()
            .any(|folder| place != folder && place.starts_with(folder))
        {
            return Ok(());
        }
        let open: Vec<String> = open.iter().map(|folder| shown_path(folder)).collect();
        Err(SecretError::Outside {
            file: leading(named, place),
            open: if open.is_empty() {
                "none is open".to_owned()
            } else {
                open.join(", ")
            },
        })
    }

    /// To whom a place belongs that is never open.
    fn owner(&self, place: &Path) -> Option<&'static str> {
        let is_below = |folder: &Path| place.starts_with(folder) || place.starts_with(real(folder));
        let any = |folders: &[&str]| folders.iter().any(|folder| is_below(Path::new(folder)));
        if self.data.iter().any(|folder| is_below(folder)) {
            Some("the data folder of Millrace")
        } else if any(SERVICE_ACCOUNTS) {
            Some("the service account of this pod")
        } else if any(KERNEL) {
            Some("the kernel")
        } else {
            None
        }
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

/// A path as written and, where links lead elsewhere, where it leads.
fn leading(named: &NamedFile, place: &Path) -> String {
    let written = shown_path(&named.path);
    if absolute(&named.path) == place {
        written
    } else {
        format!("{written} (which is {})", shown_path(place))
    }
}

/// Where a path leads, as far as it exists; the rest is taken as it is written.
pub(crate) fn real(path: &Path) -> PathBuf {
    let path = absolute(path);
    for ancestor in path.ancestors() {
        if let Ok(found) = ancestor.canonicalize() {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return plain(&found.join(rest));
        }
    }
    plain(&path)
}

fn absolute(path: &Path) -> PathBuf {
    // An empty path is the folder that Millrace was started in, as the folder of `mesh.yaml` is.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Without `..`, none of which follows a link any more.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
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
            ..SecretRule::default()
        };
        assert_eq!(verdict(&rule, "/etc/hook"), "open");
        for (path, owner) in [
            ("/var/lib/millrace/brokers/a/state.db", "the data folder"),
            (
                "/var/run/secrets/kubernetes.io/serviceaccount/token",
                "service account",
            ),
            (
                "/run/secrets/kubernetes.io/serviceaccount/..data/token",
                "service account",
            ),
            (
                "/run/secrets/eks.amazonaws.com/serviceaccount/token",
                "service account",
            ),
            ("/proc/self/environ", "the kernel"),
            ("/sys/kernel/notes", "the kernel"),
        ] {
            let said = verdict(&rule, path);
            assert!(said.contains(owner) && said.contains("no flag"), "{path}: {said}");
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
    }

    #[test]
    fn a_path_to_nothing_is_taken_as_written_from_where_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().canonicalize().expect("it is there");
        std::os::unix::fs::symlink("/usr", home.join("link")).expect("linked");
        for (path, expected) in [
            ("no/such", home.join("no/such")),
            ("no/../../such", home.parent().expect("not the root").join("such")),
            ("link/no/such", PathBuf::from("/usr/no/such")),
        ] {
            assert_eq!(real(&home.join(path)), expected, "{path}");
        }
    }
}
