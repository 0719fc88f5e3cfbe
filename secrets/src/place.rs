//! Where a path leads, even if nothing exists there.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// How many dangling links are followed, one after the other, as in the kernel.
const MAX_LINKS: usize = 40;

/// The place to which a path leads if nothing exists there, through any number of dangling links.
pub(crate) fn end(path: &Path) -> PathBuf {
    let mut path = absolute(path);
    for _ in 0..MAX_LINKS {
        let Some(next) = behind_dangling(&path) else { break };
        path = next;
    }
    real(&path)
}

/// The path with its first dangling link replaced by that link's target; `None` if there is no such link.
fn behind_dangling(path: &Path) -> Option<PathBuf> {
    for ancestor in path.ancestors() {
        let Ok(found) = ancestor.canonicalize() else {
            continue;
        };
        let mut rest = path.strip_prefix(ancestor).ok()?.components();
        // Only a link can be read.
        let target = fs::read_link(found.join(rest.next()?)).ok()?;
        return Some(found.join(target).join(rest.as_path()));
    }
    None
}

/// The place of a path: links are resolved as far as the path exists; the rest is taken as written.
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
    // An empty path means the folder in which Millrace was started, such as the folder of `mesh.yaml`.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Without `..`; no component is a link any more.
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

    #[test]
    fn links_that_lead_to_nothing_are_followed_to_their_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().canonicalize().expect("it is there");
        std::fs::create_dir(home.join("in")).expect("made");
        for (link, target) in [
            ("one", "../none"),
            ("two", "one"),
            ("three", "../in/two"),
            ("absolute", "/no/such"),
            ("round", "round"),
        ] {
            std::os::unix::fs::symlink(target, home.join("in").join(link)).expect("linked");
        }
        for (path, expected) in [
            ("in/one", home.join("none")),
            ("in/two", home.join("none")),
            ("in/three/below/it", home.join("none/below/it")),
            ("in/absolute/../it", PathBuf::from("/no/it")),
            ("in/round", home.join("in/round")),
            ("in/none", home.join("in/none")),
        ] {
            assert_eq!(end(&home.join(path)), expected, "{path}");
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
