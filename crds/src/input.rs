//! The files and folders that a command names, read with bounds.
//!
//! A folder gives its `*.yaml`, `*.yml` and `*.json`, not recursively, in order of name. Names that begin
//! with a dot are passed over: Kubernetes mounts a ConfigMap through hidden folders, and editors keep their
//! drafts there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::problem::{Code, Mark, Problem};

/// The largest file.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// The most bytes of all files together.
pub const MAX_TOTAL_BYTES: u64 = 256 << 20;
/// The name that stands for the standard input.
pub const STDIN: &str = "-";

/// A text with documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// How it is called in messages.
    pub file: String,
    /// The text; empty where the file is passed over.
    pub text: String,
    /// Why the file is passed over, with a remark: it is of another tool, which is known by its name.
    pub passed_over: Option<&'static str>,
}

/// Files that cannot be read: one problem each. Its `Display` is one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The problems.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ReadError {}

/// Reads these files and folders, each file once; `-` is the standard input.
///
/// # Errors
/// Every file that cannot be read, is too large or is not UTF-8.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Input>, ReadError> {
    let mut problems = Vec::new();
    let mut inputs = Vec::new();
    let mut total = 0;
    for path in files(paths, &mut problems) {
        match read_file(&path, &mut total) {
            Ok(Some(input)) => inputs.push(input),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(inputs)
    } else {
        Err(ReadError { problems })
    }
}

/// A file to be read: named by the user, or found in a folder.
struct FoundFile {
    path: PathBuf,
    in_folder: bool,
}

fn files(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<FoundFile> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        let is_folder = path.as_os_str() != STDIN && path.is_dir();
        let listed = if is_folder {
            list(path)
        } else {
            Ok(vec![path.clone()])
        };
        match listed {
            Ok(files) => {
                let fresh = files
                    .into_iter()
                    .filter(|file| seen.insert(fs::canonicalize(file).unwrap_or(file.clone())));
                found.extend(fresh.map(|path| FoundFile {
                    path,
                    in_folder: is_folder,
                }));
            }
            Err(error) => {
                problems.push(Problem::of_file(
                    &path.to_string_lossy(),
                    Code::FileUnreadable,
                    error.to_string(),
                ));
            }
        }
    }
    found
}

/// The documents of a folder, in order of name.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let wanted = matches!(
            path.extension().and_then(OsStr::to_str),
            Some("yaml" | "yml" | "json")
        );
        // A link is followed; what is gone since it was listed, or is a folder or a pipe, is passed over.
        if !hidden && wanted && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one file; `None` when it has left its folder since it was listed.
fn read_file(found: &FoundFile, total: &mut u64) -> Result<Option<Input>, Problem> {
    let file = found.path.to_string_lossy().into_owned();
    let problem = |code, message: String| Problem::of_file(&file, code, message);
    if let Some(why) = of_another_tool(&found.path) {
        return Ok(Some(Input {
            file,
            text: String::new(),
            passed_over: Some(why),
        }));
    }
    let bytes = match read_bytes(&found.path) {
        Ok(bytes) => bytes,
        Err(error) if found.in_folder && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(problem(
                Code::FileUnreadable,
                format!("the file cannot be read: {error}"),
            ));
        }
    };
    let length = bytes.len() as u64;
    *total += length;
    if length > MAX_FILE_BYTES {
        return Err(problem(
            Code::FileTooLarge,
            format!("a file may have {} MiB, and not more", MAX_FILE_BYTES >> 20),
        ));
    }
    if *total > MAX_TOTAL_BYTES {
        let most = MAX_TOTAL_BYTES >> 20;
        return Err(problem(
            Code::FileTooLarge,
            format!("all files together may have {most} MiB, and not more"),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Input {
            file,
            text,
            passed_over: None,
        })),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let message = match error.as_bytes() {
                [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                    "the file begins with the byte order mark of UTF-16: save it as UTF-8"
                }
                _ => "here is a byte that is not UTF-8",
            };
            let message = message.to_owned();
            Err(Problem {
                at: Some(end_of(valid)),
                ..problem(Code::NotUtf8, message)
            })
        }
    }
}

/// Why a file is of Helm or Kustomize, as far as its name and its neighbours tell.
fn of_another_tool(path: &Path) -> Option<&'static str> {
    match path.file_name()?.to_str()? {
        "Chart.yaml" => Some("this is Helm's description of a chart: passed over"),
        "values.yaml" if path.with_file_name("templates").is_dir() => {
            Some("these are the values of a Helm chart: passed over")
        }
        "kustomization.yaml" | "kustomization.yml" => {
            Some("this is for Kustomize: passed over; `kubectl kustomize` prints the documents that it makes")
        }
        _ => None,
    }
}

/// At most one byte more than a file may have, so that its being too large shows.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.as_os_str() == STDIN {
        io::stdin()
            .lock()
            .take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)?;
    } else {
        File::open(path)?
            .take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The place behind a text.
fn end_of(text: &[u8]) -> Mark {
    let line = text.iter().filter(|c| **c == b'\n').count() + 1;
    let last = text.rsplit(|c| *c == b'\n').next().unwrap_or_default();
    let column = String::from_utf8_lossy(last).chars().count() + 1;
    let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Mark {
        line: narrow(line),
        column: narrow(column),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &[Input]) -> Vec<&str> {
        inputs
            .iter()
            .map(|input| input.file.rsplit('/').next().unwrap_or_default())
            .collect()
    }

    #[test]
    fn a_folder_gives_its_documents_in_order_and_nothing_hidden() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.yaml", "a.yml", "c.json", ".draft.yaml", "notes.txt", "b.yaml~"] {
            fs::write(folder.path().join(name), name).expect("written");
        }
        fs::create_dir(folder.path().join("deeper.yaml")).expect("made");
        let inputs = read(&[folder.path().to_owned(), folder.path().join("b.yaml")]).expect("readable");
        assert_eq!(names(&inputs), ["a.yml", "b.yaml", "c.json"]);
        assert_eq!(inputs[0].text, "a.yml");
    }

    #[cfg(unix)]
    #[test]
    fn a_mounted_config_map_gives_each_document_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let hidden = folder.path().join("..2026_11_22");
        fs::create_dir(&hidden).expect("made");
        fs::write(hidden.join("mesh.yaml"), "x").expect("written");
        std::os::unix::fs::symlink("..2026_11_22", folder.path().join("..data")).expect("linked");
        std::os::unix::fs::symlink("..data/mesh.yaml", folder.path().join("mesh.yaml")).expect("linked");
        assert_eq!(
            names(&read(&[folder.path().to_owned()]).expect("readable")),
            ["mesh.yaml"]
        );
    }

    #[test]
    fn files_of_other_tools_are_known_by_name_and_place() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["Chart.yaml", "kustomization.yaml", "mesh.yaml", "values.yaml"] {
            fs::write(folder.path().join(name), "{{ x").expect("written");
        }
        let passed_over = || -> Vec<String> {
            let inputs = read(&[folder.path().to_owned()]).expect("readable");
            let passed = inputs.iter().filter(|input| input.passed_over.is_some());
            passed
                .map(|input| input.file.rsplit('/').next().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(passed_over(), ["Chart.yaml", "kustomization.yaml"]);
        fs::create_dir(folder.path().join("templates")).expect("made");
        assert_eq!(passed_over(), ["Chart.yaml", "kustomization.yaml", "values.yaml"]);
    }

    #[test]
    fn what_cannot_be_read_is_said_of_every_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let latin = folder.path().join("latin.yaml");
        fs::write(&latin, b"a: 1\nb: \xe4\n").expect("written");
        let large = folder.path().join("large.yaml");
        File::create(&large)
            .and_then(|file| file.set_len(MAX_FILE_BYTES + 1))
            .expect("made");
        let missing = folder.path().join("missing.yaml");
        let problems = read(&[latin, large, missing])
            .expect_err("none is readable")
            .problems;
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (problem.code, problem.at))
            .collect();
        assert_eq!(
            found,
            [
                (Code::NotUtf8, Some(Mark { line: 2, column: 4 })),
                (Code::FileTooLarge, None),
                (Code::FileUnreadable, None)
            ]
        );
    }
}
