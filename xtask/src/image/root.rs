//! What is in the image: the binary, the libraries that the loader finds for it here, certificates, and the
//! one user. No shell, no package manager.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Who runs the program: a plain user, known by this number to clusters that ask for one.
pub(super) const USER: &str = "65532:65532";

/// Where machines keep the certificates of public authorities, as one file.
const CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// Small files, with their contents.
const FILES: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/:/sbin/nologin\nmillrace:x:65532:65532:Millrace:/:/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nmillrace:x:65532:\n"),
    // libc asks DNS alone when nothing is said.
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
];

/// Fills the empty folder `root`; `program` is the place of the binary in it.
pub(super) fn fill(root: &Path, binary: &Path, program: &str) -> anyhow::Result<()> {
    put(
        root,
        program,
        &fs::read(binary).with_context(|| binary.display().to_string())?,
        0o755,
    )?;
    for library in libraries(binary)? {
        let place = library
            .strip_prefix("/")
            .context("the loader gives whole paths")?;
        let content = fs::read(&library).with_context(|| library.display().to_string())?;
        put(root, &place.to_string_lossy(), &content, 0o755)?;
    }
    for (file, content) in FILES {
        put(root, file, content.as_bytes(), 0o644)?;
    }
    let certificates = CERTIFICATES.iter().find(|file| Path::new(file).is_file());
    let certificates = certificates.context("no certificates are here (the package ca-certificates)")?;
    put(
        root,
        "etc/ssl/certs/ca-certificates.crt",
        &fs::read(certificates)?,
        0o644,
    )
}

/// Writes a file, and makes the folders above it.
fn put(root: &Path, file: &str, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let place = root.join(file);
    let above = place.ancestors().skip(1).take_while(|folder| *folder != root);
    let above: Vec<&Path> = above.collect();
    for folder in above.into_iter().rev() {
        fs::create_dir_all(folder)?;
        // Whatever the umask is here.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    fs::write(&place, content).with_context(|| place.display().to_string())?;
    Ok(fs::set_permissions(&place, fs::Permissions::from_mode(mode))?)
}

/// The libraries of a program and its loader, by the paths at which they are looked for.
fn libraries(binary: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(binary)
        .env("LC_ALL", "C")
        .output()
        .context("starting ldd")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let refused = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() && !refused.contains("not a dynamic executable") {
        bail!("ldd {}: {}", binary.display(), refused.trim());
    }
    said.lines().filter_map(library).collect()
}

/// What a line of `ldd` names; `None` for what is in no file.
fn library(line: &str) -> Option<anyhow::Result<PathBuf>> {
    let line = line.trim();
    let (name, found) = line.split_once(" => ").unwrap_or((line, line));
    if found.starts_with("not found") {
        return Some(Err(anyhow::anyhow!("the library {name} is not here")));
    }
    let path = found.split(" (0x").next()?;
    path.starts_with('/').then(|| Ok(PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ldd_name_libraries_the_loader_and_what_is_in_no_file() {
        let named = |line| library(line).map(|found| found.map_err(|error| error.to_string()));
        for (line, expected) in [
            (
                "\tlibm.so.6 => /lib/x/libm.so.6 (0x00007f3e)",
                Some(Ok("/lib/x/libm.so.6")),
            ),
            (
                "\t/lib64/ld-linux-x86-64.so.2 (0x00007f3e)",
                Some(Ok("/lib64/ld-linux-x86-64.so.2")),
            ),
            ("\tlinux-vdso.so.1 (0x00007ffd)", None),
            ("\tstatically linked", None),
            (
                "\tlibx.so.1 => not found",
                Some(Err("the library libx.so.1 is not here")),
            ),
        ] {
            let expected = expected.map(|found| found.map(PathBuf::from).map_err(str::to_owned));
            assert_eq!(named(line), expected, "{line}");
        }
    }
}
