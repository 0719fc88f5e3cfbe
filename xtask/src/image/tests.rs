//! Images of a small program of this machine, unpacked again. The suite `image` runs one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Options, make};

/// The image of a small program that needs libraries.
fn image(folder: &Path) -> PathBuf {
    let output = folder.join("image.tar");
    make(
        Path::new("/bin/sh"),
        "1.2.3",
        "docker.io/library/millrace:1.2.3",
        &output,
    )
    .expect("an image");
    output
}

fn unpack(archive: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    let tar = Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(to)
        .status();
    assert!(tar.expect("tar").success());
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON")
}

/// The blob that a descriptor names, after its digest and size were checked.
fn blob(layout: &Path, described: &Value) -> PathBuf {
    let digest = described["digest"].as_str().expect("a digest");
    let file = layout.join("blobs").join(digest.replace(':', "/"));
    assert_eq!(super::archive::digest(&file).expect("a sum"), digest);
    assert_eq!(fs::metadata(&file).expect("a file").len(), described["size"]);
    file
}

#[test]
fn the_archive_is_whole_and_names_a_plain_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = folder.path().join("layout");
    unpack(&image(folder.path()), &layout);

    let index = json(&layout.join("index.json"));
    let manifest = json(&blob(&layout, &index["manifests"][0]));
    let config = json(&blob(&layout, &manifest["config"]));
    let layer = blob(&layout, &manifest["layers"][0]);
    let root = folder.path().join("root");
    unpack(&layer, &root);

    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/local/bin/millrace");
    let docker = json(&layout.join("manifest.json"));
    assert_eq!(docker[0]["RepoTags"][0], "millrace:1.2.3");
    assert!(
        layout
            .join(docker[0]["Layers"][0].as_str().expect("a layer"))
            .is_file()
    );
    let passwd = fs::read_to_string(root.join("etc/passwd")).expect("passwd");
    assert!(passwd.contains("millrace:x:65532:65532:"), "{passwd}");
    let certificates =
        fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).expect("certificates");
    assert!(certificates.contains("-----BEGIN CERTIFICATE-----"));

    let plain = fs::read(&layer).expect("the layer");
    let unzipped = folder.path().join("layer.tar");
    let mut gunzip = Command::new("gunzip");
    let out = gunzip.arg("-c").arg(&layer).output().expect("gunzip").stdout;
    assert!(out.len() > plain.len());
    fs::write(&unzipped, out).expect("written");
    let sum = super::archive::digest(&unzipped).expect("a sum");
    assert_eq!(config["rootfs"]["diff_ids"][0], sum.as_str());
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let (one, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let bytes = |folder: &Path| fs::read(image(folder)).expect("an archive");
    assert!(bytes(one.path()) == bytes(other.path()));
    let left: Vec<_> = fs::read_dir(one.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn what_is_no_program_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("absent");
    let error = make(&absent, "1", "x:1", &folder.path().join("image.tar")).expect_err("no such file");
    assert!(format!("{error:#}").contains("absent"), "{error:#}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn options_are_read_and_others_refused() {
    let read = |args: &[&str]| Options::read(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
    let options = read(&["--binary", "a", "--name", "b:1"])
        .expect("read")
        .expect("options");
    assert_eq!(options.binary.as_deref(), Some(Path::new("a")));
    assert_eq!(options.name.as_deref(), Some("b:1"));
    assert!(read(&["--help"]).expect("read").is_none());
    assert!(read(&["--binary"]).is_err() && read(&["--push"]).is_err());
}
